//! Owners that write and take over from each other, what was acknowledged to them, and whether it is
//! all there.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::{Carrier, CarrierError, Epoch, Group, Owner, Position, Record};

use crate::broker::SHARD;

/// How long a broker that does not answer is asked again.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub fn owner(epoch: u64) -> Owner {
    Owner { epoch: Epoch(epoch), token: epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
}

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
        let groups = again(|| carrier.read(after, 1 << 20)).unwrap();
        if groups.is_empty() {
            return found;
        }
        for entry in groups.iter().flat_map(Group::entries) {
            let entry = entry.unwrap();
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
    pub over: AtomicBool,
}

impl History {
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
                let bodies: Vec<Vec<u8>> = (0..=number % 3)
                    .map(|part| format!("{epoch}/{number}/{part}").into_bytes())
                    .collect();
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
                let mut acknowledged = self.acknowledged.lock().unwrap();
                for body in bodies {
                    last += 1;
                    let before = acknowledged.insert(last, body);
                    assert_eq!(before, None, "position {last} was acknowledged twice");
                }
            }
        }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Everything acknowledged is there in its place, nothing is there twice, epochs do not fall.
    pub fn check(&self, carrier: &dyn Carrier) {
        let found = records(carrier);
        for (position, body) in &*self.acknowledged.lock().unwrap() {
            let at = found.get(*position as usize - 1).map(|(_, body)| body);
            assert_eq!(at, Some(body), "at {position}");
        }
        let bodies: HashSet<&Vec<u8>> = found.iter().map(|(_, body)| body).collect();
        assert_eq!(bodies.len(), found.len(), "nothing is there twice");
        assert!(found.is_sorted_by(|one, next| one.0 <= next.0), "epochs do not fall");
        let carried = again(|| carrier.look()).unwrap();
        assert_eq!(carried.last.0, found.len() as u64);
    }
}
