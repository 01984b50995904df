//! Owners that write and take over from each other, what was acknowledged to them, and whether it is
//! all there. For tests that do something to an engine meanwhile.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::SHARD;
use crate::carrier::{Carrier, CarrierError, Group, Owner};
use crate::{Epoch, Position, Record};

/// How long an engine that does not answer is asked again.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Of a record that some engines keep in two pieces.
const LARGE: usize = 1 << 20;

/// The owner of an epoch.
#[must_use]
pub fn owner(epoch: u64) -> Owner {
    Owner { epoch: Epoch(epoch), token: epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
}

/// A group of a record for each body.
#[must_use]
pub fn group(epoch: u64, first: u64, bodies: &[&[u8]]) -> Group {
    let record = |body| Record { stream: 0, kind: 1, time_us: 5, body };
    let records: Vec<Record<'_>> = bodies.iter().copied().map(record).collect();
    Group::of(SHARD, Epoch(epoch), Position(first), &records)
}

/// Asks until there is an answer.
pub fn again<T>(mut ask: impl FnMut() -> Result<T, CarrierError>) -> Result<T, CarrierError> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(error) if error.is_passing() && started.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

/// All records: epoch and body, from position 1 on.
pub fn records(carrier: &dyn Carrier) -> Vec<(u64, Vec<u8>)> {
    let mut found = vec![];
    loop {
        let after = Position(found.len() as u64);
        let groups = again(|| carrier.read(after, 1 << 20)).expect("they are there");
        if groups.is_empty() {
            return found;
        }
        for entry in groups.iter().flat_map(Group::entries) {
            let entry = entry.expect("intact");
            assert_eq!(entry.position.0, found.len() as u64 + 1, "in order, once");
            found.push((entry.epoch.0, entry.body.to_vec()));
        }
    }
}

/// What was acknowledged, and who owns next.
#[derive(Debug, Default)]
pub struct History {
    epoch: AtomicU64,
    acknowledged: Mutex<BTreeMap<u64, Vec<u8>>>,
    /// Each fifth group is large.
    has_large: bool,
    /// Whoever writes ends.
    pub over: AtomicBool,
}

impl History {
    /// One whose owners write large groups as well.
    #[must_use]
    pub fn with_large_groups() -> Self {
        Self { has_large: true, ..Self::default() }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over and writes, again and again, until it is over. Groups have one to three records.
    pub fn write(&self, carrier: &dyn Carrier, writes: u64) {
        while !self.over.load(Ordering::Acquire) {
            let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
            let mut last = match again(|| carrier.take_over(owner(epoch))) {
                Ok(found) => found.last.0,
                Err(CarrierError::Fenced { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            for number in 0..writes {
                if self.over.load(Ordering::Acquire) {
                    return;
                }
                let bodies = self.bodies(epoch, number);
                let slices: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
                let group = group(epoch, last + 1, &slices);
                match again(|| carrier.append(owner(epoch), &group)) {
                    Ok(()) => {}
                    Err(CarrierError::Fenced { held }) => {
                        assert!(held.0 > epoch);
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
                let mut acknowledged = self.entries();
                for body in bodies {
                    last += 1;
                    let before = acknowledged.insert(last, body);
                    assert_eq!(before, None, "position {last} was acknowledged twice");
                }
            }
        }
    }

    fn bodies(&self, epoch: u64, number: u64) -> Vec<Vec<u8>> {
        let body = |part| format!("{epoch}/{number}/{part}").into_bytes();
        let mut bodies: Vec<Vec<u8>> = (0..=number % 3).map(body).collect();
        if self.has_large && number % 5 == 4 {
            bodies[0].resize(LARGE, b'.');
        }
        bodies
    }

    /// How many records were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.entries().len()
    }

    /// Waits until so many more are; panics when there are none for too long.
    pub fn await_more(&self, more: usize) {
        let (mut seen, mut since) = (self.acknowledged(), Instant::now());
        let wanted = seen + more;
        while seen < wanted {
            thread::sleep(Duration::from_millis(1));
            let now = self.acknowledged();
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < 2 * PATIENCE, "nothing is acknowledged");
        }
    }

    /// Everything acknowledged is there in its place, nothing is there twice, epochs do not fall.
    pub fn check(&self, carrier: &dyn Carrier) {
        let found = records(carrier);
        for (position, body) in &*self.entries() {
            let at = found.get(*position as usize - 1).map(|(_, body)| body);
            assert!(at == Some(body), "at {position}");
        }
        let bodies: HashSet<&Vec<u8>> = found.iter().map(|(_, body)| body).collect();
        assert_eq!(bodies.len(), found.len(), "nothing is there twice");
        assert!(found.is_sorted_by(|one, next| one.0 <= next.0), "epochs do not fall");
        let carried = again(|| carrier.look()).expect("it answers");
        assert_eq!(carried.last.0, found.len() as u64);
    }
}
