//! What stands on a carrier in these tests: a state that is the list of all records, so that every
//! snapshot and every replay can be compared with every other.

use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use orrery_blob::Store;
use orrery_journal::carrier::suite::SHARD;
use orrery_journal::carrier::{Carrier, CarrierError, Group, Owner, Saved};
use orrery_journal::{Epoch, Position, Record};
use orrery_journal_objects::ObjectCarrier;

const LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// Another client of the journal in these objects.
pub(super) fn client(objects: &Arc<dyn ObjectStore>) -> ObjectCarrier {
    client_with(objects, LIMIT)
}

/// The same, that waits for each request as long as that.
pub(super) fn client_with(objects: &Arc<dyn ObjectStore>, limit: Duration) -> ObjectCarrier {
    let store = Store::of(Arc::clone(objects), "test://");
    ObjectCarrier::in_store(SHARD, &store, limit).expect("a thread can be started")
}

pub(super) fn owner(epoch: u64) -> Owner {
    Owner { epoch: Epoch(epoch), token: epoch * 7919 }
}

pub(super) fn group(epoch: u64, first: u64, bodies: &[&str]) -> Group {
    let records: Vec<Record<'_>> = bodies
        .iter()
        .map(|body| Record { stream: 0, kind: 1, time_us: 5, body: body.as_bytes() })
        .collect();
    Group::of(SHARD, Epoch(epoch), Position(first), &records)
}

/// Asks until there is an answer.
pub(super) fn again<T>(
    mut ask: impl FnMut() -> Result<T, CarrierError>,
) -> Result<T, CarrierError> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(error) if error.is_passing() && started.elapsed() < PATIENCE => thread::yield_now(),
            other => return other,
        }
    }
}

/// The state: body and epoch of every record, from the first one on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History(pub(super) Vec<(u64, String)>);

impl History {
    pub(super) fn last(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn body(&self, position: u64) -> Option<&str> {
        let (_, body) = self.0.get(position.checked_sub(1)? as usize)?;
        Some(body)
    }

    fn last_epoch(&self) -> u64 {
        self.0.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// The state after the record at `at`.
    pub(super) fn snapshot(&self, at: u64) -> (Saved, Vec<u8>) {
        let part = History(self.0[..at as usize].to_vec());
        let lines = part.0.iter().map(|(epoch, body)| format!("{epoch} {body}\n"));
        let content = lines.collect::<String>().into_bytes();
        let (at, epoch) = (Position(at), Epoch(part.last_epoch()));
        (Saved { at, epoch, bytes: content.len() as u64 }, content)
    }

    fn restore(content: &[u8]) -> Self {
        let lines = std::str::from_utf8(content).expect("text").lines();
        let record = |line: &str| {
            let (epoch, body) = line.split_once(' ').expect("two words");
            (epoch.parse().expect("a number"), body.to_owned())
        };
        Self(lines.map(record).collect())
    }

    pub(super) fn is_prefix_of(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Takes what is behind, from a snapshot if it must be; `false` if it cannot be had now.
    pub(super) fn follow(
        &mut self,
        carrier: &dyn Carrier,
        bytes_max: usize,
    ) -> Result<(), CarrierError> {
        loop {
            match carrier.read(Position(self.last()), bytes_max) {
                Ok(groups) if groups.is_empty() => return Ok(()),
                Ok(groups) => groups.iter().for_each(|group| self.take(group)),
                Err(CarrierError::Trimmed { oldest, .. }) => {
                    assert!(oldest.0 > self.last() + 1, "{oldest} is not behind {}", self.last());
                    self.load(carrier)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn load(&mut self, carrier: &dyn Carrier) -> Result<(), CarrierError> {
        let unavailable = |reason: String| CarrierError::Unavailable { reason };
        let saved = carrier.look()?.snapshot.expect("what is trimmed is in a snapshot");
        let mut content = vec![];
        let mut from = match carrier.load(saved.at) {
            Err(CarrierError::NoSnapshot { at }) => {
                return Err(unavailable(format!("the snapshot at {at} is gone")));
            }
            other => other?,
        };
        if let Err(error) = from.read_to_end(&mut content) {
            let reason = error.to_string();
            let is_corrupt = reason.contains("corrupt");
            let corrupt = CarrierError::Corrupt { position: saved.at, reason: reason.clone() };
            return Err(if is_corrupt { corrupt } else { unavailable(reason) });
        }
        assert_eq!(content.len() as u64, saved.bytes);
        let loaded = Self::restore(&content);
        assert_eq!((loaded.last(), loaded.last_epoch()), (saved.at.0, saved.epoch.0));
        assert!(self.is_prefix_of(&loaded), "a snapshot contradicts what was read");
        *self = loaded;
        Ok(())
    }

    fn take(&mut self, group: &Group) {
        for entry in group.entries() {
            let entry = entry.expect("intact");
            if entry.position.0 <= self.last() {
                continue;
            }
            assert_eq!(entry.position.0, self.last() + 1, "in order");
            assert!(entry.epoch.0 >= self.last_epoch(), "epochs do not fall");
            let body = String::from_utf8(entry.body.to_vec()).expect("text");
            self.0.push((entry.epoch.0, body));
        }
    }
}

/// All that is there, from the newest snapshot on.
pub(super) fn recover(carrier: &dyn Carrier) -> Result<History, CarrierError> {
    let mut history = History::default();
    if again(|| carrier.look())?.snapshot.is_some() {
        again(|| history.load(carrier))?;
    }
    again(|| history.follow(carrier, 1 << 20))?;
    Ok(history)
}

/// An owner with its state.
pub(super) struct Machine {
    pub(super) carrier: ObjectCarrier,
    pub(super) owner: Owner,
    pub(super) history: History,
}

impl Machine {
    /// Takes over, and recovers.
    pub(super) fn begin(carrier: ObjectCarrier, epoch: u64) -> Result<Self, CarrierError> {
        let owner = owner(epoch);
        let carried = again(|| carrier.take_over(owner))?;
        let history = recover(&carrier)?;
        assert!(carried.last.0 <= history.last(), "less than was said: {carried:?}");
        Ok(Self { carrier, owner, history })
    }

    /// Appends one group, asked until there is an answer.
    pub(super) fn append(&mut self, bodies: &[&str]) -> Result<(), CarrierError> {
        let epoch = self.owner.epoch.0;
        let group = group(epoch, self.history.last() + 1, bodies);
        again(|| self.carrier.append(self.owner, &group))?;
        self.history.take(&group);
        Ok(())
    }

    pub(super) fn save(&self, at: u64) -> Result<(), CarrierError> {
        let (saved, content) = self.history.snapshot(at);
        again(|| self.carrier.save(self.owner, saved, &mut content.as_slice()))
    }

    pub(super) fn trim(&self, upto: u64) -> Result<(), CarrierError> {
        again(|| self.carrier.trim(self.owner, Position(upto)))
    }
}
