//! The log: where it ends, and in which slot a record is.
//!
//! All slots from the floor of the last control entry to the end are in use. What is said of a slot
//! at or behind the floor holds only as long as the floor stays, so whoever finds one missing or odd
//! looks at the control chain once more before it is called damage: see [`Log::damage`].

use std::time::Instant;

use orrery_journal::carrier::CarrierError;

use crate::chain::Chain;
use crate::control::Control;
use crate::error::{corrupt, unavailable};
use crate::known::Known;
use crate::lane::Lane;
use crate::slot::{HEADER_BYTES, Slot};
use crate::{name, search};

/// The log may be trimmed, and may grow, so often while its end is looked for.
const ATTEMPTS_MAX: u32 = 64;

/// The log of one shard, over one lane.
#[derive(Clone, Copy)]
pub(crate) struct Log<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) known: &'a Known,
    pub(crate) shard: u32,
}

/// What there is of a shard at a moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) control: Control,
    /// The last object of the log, none before the first.
    pub(crate) end: Option<Slot>,
}

impl View {
    pub(crate) fn slot(&self) -> u64 {
        self.end.map_or(0, |end| end.number)
    }

    pub(crate) fn last(&self) -> u64 {
        self.end.map_or(0, |end| end.last)
    }

    pub(crate) fn last_epoch(&self) -> u64 {
        self.end.map_or(0, |end| end.last_epoch)
    }
}

/// Why something could not be found.
pub(crate) enum Trouble {
    /// Slots before the floor were asked for: look at the control chain, and ask again.
    Moved,
    /// Anything else.
    Other(CarrierError),
}

impl From<CarrierError> for Trouble {
    fn from(error: CarrierError) -> Self {
        Self::Other(error)
    }
}

impl<'a> Log<'a> {
    pub(crate) fn chain(self) -> Chain<'a> {
        Chain { lane: self.lane, known: self.known, shard: self.shard }
    }

    /// The last control entry, and the end of the log. With `is_thorough`, what lies behind a hole is
    /// looked for as well.
    pub(crate) fn view(&self, is_thorough: bool) -> Result<View, CarrierError> {
        for _ in 0..ATTEMPTS_MAX {
            let control = self.chain().last()?;
            match self.end(&control, is_thorough) {
                Ok(end) => {
                    if is_thorough {
                        self.known.lock().log_checked = Some(Instant::now());
                    }
                    return Ok(View { control, end });
                }
                Err(Trouble::Moved) => {}
                Err(Trouble::Other(error)) => return Err(error),
            }
        }
        Err(unavailable("the log changes faster than it can be looked at"))
    }

    fn end(&self, control: &Control, is_thorough: bool) -> Result<Option<Slot>, Trouble> {
        let remembered = self.known.lock().end;
        let mut end = match remembered.filter(|end| end.number >= control.floor.max(control.seen)) {
            Some(end) => Some(end),
            // It was in use when the entry was written, and is not trimmed.
            None if control.seen > 0 => Some(self.there(control, control.seen)?),
            None => None,
        };
        loop {
            let begin = end.map_or(0, |end| end.number);
            search::last_in_use(begin, |slot| {
                let found = self.header(slot)?;
                let is_there = found.is_some();
                end = found.filter(|found| end.is_none_or(|end| end.number < found.number)).or(end);
                Ok(is_there)
            })
            .map_err(|error| self.damage(control, error))?;
            let slot = end.map_or(0, |end| end.number);
            if !is_thorough || !self.is_listed_behind(slot)? {
                break;
            }
            // Somebody may have put it just now.
            if self.header(slot + 1)?.is_none() {
                let reason = "it is missing, and later ones are there";
                let position = end.map_or(0, |end| end.last) + 1;
                let error = corrupt(position, &name::slot(slot + 1), reason);
                return Err(self.damage(control, error));
            }
        }
        if let Some(end) = &end {
            if end.control > control.number {
                // The writer knew a later entry than we do: so there is one, or there was.
                let reason = "it knows a control entry that is missing";
                return Err(self.damage(control, end.corrupt(reason)));
            }
            self.known.lock().learn_slot(end);
        }
        Ok(end)
    }

    /// A listing that is behind shows nothing, which proves nothing; what it shows is there.
    fn is_listed_behind(&self, slot: u64) -> Result<bool, CarrierError> {
        let listed = self.lane.list(name::LOG, &name::slot(slot))?;
        let is_behind = |name: &str| name::number(name).is_some_and(|at| at > slot);
        Ok(listed.iter().any(|entry| is_behind(&entry.name)))
    }

    /// The header of an object, none if there is none.
    pub(crate) fn header(&self, slot: u64) -> Result<Option<Slot>, CarrierError> {
        let name = name::slot(slot);
        let part = self.lane.begin_get(&name, HEADER_BYTES as u64, 0).wait()?;
        let Some(part) = part else { return Ok(None) };
        let header = Slot::decode(&part.content, part.total, self.shard, slot);
        header.map(Some).map_err(|reason| corrupt(1, &name, reason))
    }

    /// The header of an object that must be there.
    pub(crate) fn there(&self, control: &Control, slot: u64) -> Result<Slot, Trouble> {
        match self.header(slot) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(self.missing(control, slot)),
            Err(error) => Err(self.damage(control, error)),
        }
    }

    /// What it means that a slot is empty that should not be.
    pub(crate) fn missing(&self, control: &Control, slot: u64) -> Trouble {
        let name = name::slot(slot);
        self.damage(control, corrupt(control.oldest, &name, "it is missing"))
    }

    /// What it means that something looks damaged where `control` was the last entry: nothing, if it
    /// is not the last one any more. What is before the floor may be anything.
    pub(crate) fn damage(&self, control: &Control, error: CarrierError) -> Trouble {
        if !matches!(error, CarrierError::Corrupt { .. }) {
            return Trouble::Other(error);
        }
        match self.chain().last() {
            Ok(last) if last.number != control.number => Trouble::Moved,
            Ok(_) => Trouble::Other(error),
            Err(other) => Trouble::Other(other),
        }
    }

    /// The first slot whose last position is at or behind `position`, where the log of `view` reaches
    /// that far.
    pub(crate) fn locate(&self, view: &View, position: u64) -> Result<u64, Trouble> {
        let mut slots = view.control.floor..view.slot() + 1;
        slots = self.known.lock().narrow(slots, position);
        // Of the slots in `slots` the last one reaches `position`, and none before them does.
        while slots.end - slots.start > 1 {
            let middle = slots.start + (slots.end - slots.start) / 2 - 1;
            let found = self.there(&view.control, middle)?;
            self.known.lock().learn_slot(&found);
            if found.last >= position {
                slots.end = middle + 1;
            } else {
                slots.start = middle + 1;
            }
        }
        Ok(slots.start)
    }
}
