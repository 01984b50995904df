//! The seat: a carried journal beside those of the partitions that says who owns all of them, what the
//! engine is called in keys of runs, and whether the last owner left in order.
//!
//! It is taken before any partition, so whoever still owns it owns every partition.
//!
//! Must not: keep anything on disk. It has a few records, and is read anew by each process.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::{Carrier, CarrierError, Epoch, Group, Owner, Position, Record};
use orrery_kit::env::Env;

/// Number of its journal, above that of any partition.
pub(crate) const SHARD: u32 = 256;
/// Kinds of its records; numbers are part of the format.
const NAMED: u8 = 1;
const LEFT: u8 = 2;
/// Records are read in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
/// How long a record is offered to an engine that does not answer, and the pause between.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Seat {
    carrier: Arc<dyn Carrier>,
    last: Position,
    name: Option<String>,
    /// The highest epoch whose owner left in order.
    left: u64,
    /// The epoch that holds it.
    held: u64,
}

impl Seat {
    pub(crate) fn new(carrier: Arc<dyn Carrier>) -> Self {
        Self { carrier, last: Position(0), name: None, left: 0, held: 0 }
    }

    /// The epoch that holds it, as far as is known.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// The highest epoch whose owner left in order.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Learns what is new.
    pub(crate) fn look(&mut self) -> Result<(), CarrierError> {
        self.carrier.prepare()?;
        self.held = self.held.max(self.carrier.look()?.epoch.0);
        self.read()
    }

    fn read(&mut self) -> Result<(), CarrierError> {
        loop {
            let before = self.last;
            for group in self.carrier.read(before, PIECE_BYTES)? {
                for entry in group.entries() {
                    let entry = entry?;
                    if entry.position <= self.last {
                        continue;
                    }
                    self.last = entry.position;
                    match entry.kind {
                        NAMED => self.name = Some(String::from_utf8_lossy(entry.body).into_owned()),
                        LEFT => self.left = self.left.max(entry.epoch.0),
                        kind => {
                            let reason = format!("a newer release wrote a record of kind {kind}");
                            return Err(CarrierError::Unusable { reason });
                        }
                    }
                }
            }
            if self.last == before {
                return Ok(());
            }
        }
    }

    /// Takes it. Gives the name of the engine, which the first owner draws, and whether the owner before
    /// may still be sending: it did not leave in order.
    pub(crate) fn take(
        &mut self,
        owner: Owner,
        env: &dyn Env,
    ) -> Result<(String, bool), CarrierError> {
        self.carrier.prepare()?;
        self.look()?;
        let before = self.held;
        self.carrier.take_over(owner)?;
        self.held = owner.epoch.0;
        self.read()?;
        if self.name.is_none() {
            let name = format!("{:08x}", env.random() as u32);
            self.append(owner, NAMED, name.as_bytes())?;
        }
        let may_send = before != 0 && self.left < before && before != owner.epoch.0;
        Ok((self.name.clone().unwrap_or_default(), may_send))
    }

    /// Says that this owner launches and sends nothing more.
    pub(crate) fn leave(&mut self, owner: Owner) -> Result<(), CarrierError> {
        self.append(owner, LEFT, b"")
    }

    fn append(&mut self, owner: Owner, kind: u8, body: &[u8]) -> Result<(), CarrierError> {
        let record = Record { stream: 0, kind, time_us: 0, body };
        let first = Position(self.last.0 + 1);
        let group = Group::of(SHARD, owner.epoch, first, &[record]);
        let until = Instant::now() + PATIENCE;
        loop {
            match self.carrier.append(owner, &group) {
                Err(error) if error.is_passing() && Instant::now() < until => thread::sleep(PAUSE),
                appended => {
                    appended?;
                    return self.read();
                }
            }
        }
    }

    /// Asks who holds it: the epoch, at a moment after the question.
    pub(crate) fn ask(carrier: &dyn Carrier) -> Result<Epoch, CarrierError> {
        Ok(carrier.look()?.epoch)
    }
}

#[cfg(test)]
mod tests {
    use orrery_journal::carrier::MemoryCarrier;
    use orrery_kit::env::TestEnv;

    use super::*;

    fn owner(epoch: u64) -> Owner {
        Owner { epoch: Epoch(epoch), token: epoch }
    }

    #[test]
    fn the_name_stays_and_an_end_in_order_is_told() {
        let carrier: Arc<dyn Carrier> = Arc::new(MemoryCarrier::new(SHARD));
        let seat = || Seat::new(Arc::clone(&carrier));
        let (mut first, mut second, mut third) = (seat(), seat(), seat());
        let (name, may_send) = first.take(owner(1), &TestEnv::new(1, 0)).unwrap();
        assert!(!may_send, "nobody was before");
        let (same, may_send) = second.take(owner(2), &TestEnv::new(2, 0)).unwrap();
        assert_eq!((same, may_send), (name.clone(), true));
        let fenced = first.leave(owner(1));
        assert!(matches!(fenced, Err(CarrierError::Fenced { held: Epoch(2) })), "{fenced:?}");
        second.leave(owner(2)).unwrap();
        third.look().unwrap();
        assert_eq!((third.held(), third.left()), (2, 2));
        assert_eq!(third.take(owner(3), &TestEnv::new(3, 0)).unwrap(), (name, false));
        let other = Owner { token: 7, ..owner(3) };
        assert!(second.take(other, &TestEnv::new(4, 0)).is_err(), "the epoch is used up");
    }
}
