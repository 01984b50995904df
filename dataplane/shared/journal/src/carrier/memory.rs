//! A carrier in memory, which fails as remote engines do: the measure for the others, and the engine
//! of simulations.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Carried, Carrier, CarrierError, Group, Owner, Saved};
use crate::sim::Random;
use crate::{Epoch, Position};

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is not done.
    Refused,
    /// It is done, and the answer is lost.
    Unanswered,
}

#[derive(Debug, Default)]
struct State {
    owner: Option<Owner>,
    last: u64,
    last_epoch: u64,
    groups: BTreeMap<u64, Group>,
    snapshots: BTreeMap<u64, (Saved, Arc<[u8]>)>,
    planned: VecDeque<Trouble>,
    chances: Option<(Random, u64)>,
}

/// The journal of one shard in memory. Clones are the same journal.
#[derive(Clone, Debug, Default)]
pub struct MemoryCarrier {
    shard: u32,
    state: Arc<Mutex<State>>,
}

impl MemoryCarrier {
    /// An empty journal of `shard`.
    pub fn new(shard: u32) -> Self {
        Self { shard, state: Arc::default() }
    }

    /// Makes the next calls that change something go wrong, one after the other.
    pub fn plan(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.lock().planned.extend(troubles);
    }

    /// Makes calls that change something go wrong, so many in 1,000, by chance from `seed`.
    pub fn set_chances(&self, seed: u64, in_thousand: u64) {
        self.lock().chances = Some((Random::new(seed), in_thousand));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what changes something, unless it goes wrong.
    fn change<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, CarrierError>,
    ) -> Result<T, CarrierError> {
        let state = &mut *self.lock();
        let lost = |reason: &str| CarrierError::Unavailable { reason: reason.to_owned() };
        match state.next_trouble() {
            None => work(state),
            Some(Trouble::Refused) => Err(lost("the request was lost")),
            Some(Trouble::Unanswered) => {
                work(state)?;
                Err(lost("the answer was lost"))
            }
        }
    }
}

impl State {
    fn next_trouble(&mut self) -> Option<Trouble> {
        if let Some(planned) = self.planned.pop_front() {
            return Some(planned);
        }
        let (random, in_thousand) = self.chances.as_mut()?;
        let is_done = random.chance(1, 2);
        let trouble = if is_done { Trouble::Unanswered } else { Trouble::Refused };
        random.chance(*in_thousand, 1000).then_some(trouble)
    }

    fn check(&self, owner: Owner) -> Result<(), CarrierError> {
        if self.owner == Some(owner) {
            return Ok(());
        }
        Err(CarrierError::Fenced { held: self.owner.map_or(Epoch(0), |owner| owner.epoch) })
    }

    fn carried(&self) -> Carried {
        let oldest = self.groups.keys().next().copied().unwrap_or(self.last + 1);
        Carried {
            epoch: self.owner.map_or(Epoch(0), |owner| owner.epoch),
            last: Position(self.last),
            last_epoch: Epoch(self.last_epoch),
            oldest: Position(oldest),
            snapshot: self.snapshots.values().next_back().map(|(saved, _)| *saved),
        }
    }
}

impl Carrier for MemoryCarrier {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn prepare(&self) -> Result<(), CarrierError> {
        Ok(())
    }

    fn take_over(&self, owner: Owner) -> Result<Carried, CarrierError> {
        self.change(|state| {
            if state.owner != Some(owner) {
                let held = state.owner.map_or(Epoch(0), |held| held.epoch);
                if owner.epoch <= held {
                    return Err(CarrierError::Fenced { held });
                }
                state.owner = Some(owner);
            }
            Ok(state.carried())
        })
    }

    fn look(&self) -> Result<Carried, CarrierError> {
        Ok(self.lock().carried())
    }

    fn append(&self, owner: Owner, group: &Group) -> Result<(), CarrierError> {
        super::check_group(group)?;
        self.change(|state| {
            state.check(owner)?;
            if state.groups.get(&group.first().0) == Some(group) {
                return Ok(());
            }
            if group.first().0 != state.last + 1 {
                let (last, first) = (Position(state.last), group.first());
                return Err(CarrierError::OutOfPlace { last, first });
            }
            (state.last, state.last_epoch) = (group.last().0, group.epoch().0);
            state.groups.insert(group.first().0, group.clone());
            Ok(())
        })
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Group>, CarrierError> {
        let state = self.lock();
        let oldest = state.carried().oldest;
        if after.0 + 1 < oldest.0 {
            return Err(CarrierError::Trimmed { after, oldest });
        }
        let mut groups = vec![];
        let mut bytes = 0;
        for group in state.groups.values().filter(|group| group.last() > after) {
            if bytes > 0 && bytes + group.bytes().len() > bytes_max {
                break;
            }
            bytes += group.bytes().len();
            groups.push(Group::open(group.bytes().to_vec(), self.shard, group.first())?);
        }
        Ok(groups)
    }

    fn save(&self, owner: Owner, saved: Saved, content: &mut dyn Read) -> Result<(), CarrierError> {
        let mut bytes = vec![];
        let read = content.take(saved.bytes + 1).read_to_end(&mut bytes);
        read.map_err(|error| CarrierError::Invalid(format!("failed to read it: {error}")))?;
        if bytes.len() as u64 != saved.bytes {
            return Err(CarrierError::Invalid("it has another length".to_owned()));
        }
        self.change(|state| {
            state.check(owner)?;
            super::check_saved(saved, state.last)?;
            state.snapshots.insert(saved.at.0, (saved, bytes.into()));
            while state.snapshots.len() > 2 {
                state.snapshots.pop_first();
            }
            Ok(())
        })
    }

    fn load(&self, at: Position) -> Result<Box<dyn Read + Send>, CarrierError> {
        let state = self.lock();
        let (_, content) = state.snapshots.get(&at.0).ok_or(CarrierError::NoSnapshot { at })?;
        Ok(Box::new(Cursor::new(Content(Arc::clone(content)))))
    }

    fn trim(&self, owner: Owner, upto: Position) -> Result<(), CarrierError> {
        self.change(|state| {
            state.check(owner)?;
            state.groups.retain(|_, group| group.last() > upto);
            Ok(())
        })
    }
}

#[derive(Debug)]
struct Content(Arc<[u8]>);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
