//! Where jobs lie: at numbered slots in chunks of a fixed size, so that a million of them are no million
//! allocations, and growing never copies them.

use crate::machine::job::Job;

/// Slots of a chunk: as many as leave a block of 64 KiB, which allocators have a class for, hardly empty.
const CHUNK: usize = (64 << 10) / size_of::<Slot>();

/// A place for one job at a time.
#[derive(Debug)]
enum Slot {
    /// How many jobs lay here before.
    Free(u32),
    Taken(Job),
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::machine) struct Slots {
    /// All but the last are full.
    chunks: Vec<Vec<Slot>>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)
    }

    /// The same, made if it is not there.
    fn grown(&mut self, slot: u32) -> &mut Slot {
        while self.len() <= slot as usize {
            if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
                self.chunks.push(Vec::with_capacity(CHUNK));
            }
            if let Some(last) = self.chunks.last_mut() {
                last.push(Slot::Free(0));
            }
        }
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    pub(super) fn job(&self, slot: u32) -> Option<&Job> {
        match self.slot(slot)? {
            Slot::Taken(job) => Some(job),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn job_mut(&mut self, slot: u32) -> Option<&mut Job> {
        match self.slot_mut(slot)? {
            Slot::Taken(job) => Some(job),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.chunks.iter().flatten().filter_map(|slot| match slot {
            Slot::Taken(job) => Some(job),
            Slot::Free(_) => None,
        })
    }

    pub(in crate::machine) fn jobs_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.chunks.iter_mut().flatten().filter_map(|slot| match slot {
            Slot::Taken(job) => Some(job),
            Slot::Free(_) => None,
        })
    }

    /// How many jobs lay at a slot before the one that lies there, or the one that comes next.
    pub(super) fn incarnation(&self, slot: u32) -> u32 {
        match self.slot(slot) {
            None => 0,
            Some(Slot::Free(before)) => *before,
            Some(Slot::Taken(job)) => (job.id >> 32) as u32 - 1,
        }
    }

    /// Places a job at the slot of its id.
    pub(super) fn place(&mut self, job: Job) {
        let slot = job.slot();
        *self.grown(slot) = Slot::Taken(job);
    }

    /// Says how many jobs lay at a free slot.
    pub(super) fn vacate(&mut self, slot: u32, before: u32) {
        *self.grown(slot) = Slot::Free(before);
    }

    /// Takes a job from its slot.
    pub(super) fn take(&mut self, slot: u32) -> Option<Job> {
        let before = self.incarnation(slot);
        let found = self.slot_mut(slot).filter(|slot| matches!(slot, Slot::Taken(_)))?;
        match std::mem::replace(found, Slot::Free(before + 1)) {
            Slot::Taken(job) => Some(job),
            Slot::Free(_) => None,
        }
    }
}
