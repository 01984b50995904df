//! Reading groups: several objects at once, given in order.
//!
//! How many are asked for together depends on what they had so far, and on how far the log is known
//! to reach: at its end a reader that polls asks for one object, not for many that are not there. Of
//! each the first [`FIRST_BYTES`] are asked for, so memory is bounded also when a large one follows
//! small ones.

use orrery_blob::Part;
use orrery_journal::Position;
use orrery_journal::carrier::{CarrierError, GROUP_BYTES_MAX, Group};

use crate::control::Control;
use crate::error::{corrupt, unavailable};
use crate::lane::IN_FLIGHT_MAX;
use crate::log::{Log, Trouble, View};
use crate::name;
use crate::slot::{HEADER_BYTES, Slot};

/// Of an object that is read with others; longer ones are read to their end on their own.
const FIRST_BYTES: u64 = 1 << 20;
/// The longest object of the log.
pub(crate) const OBJECT_BYTES_MAX: u64 = (GROUP_BYTES_MAX + HEADER_BYTES) as u64;
/// The log may be trimmed so often while it is read.
const ATTEMPTS_MAX: u32 = 16;

impl Log<'_> {
    /// The groups that hold records behind `after`; see [`orrery_journal::Carrier::read`].
    pub(crate) fn read(
        &self,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<Group>, CarrierError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.try_read(after.0, bytes_max) {
                Ok(groups) => return Ok(groups),
                Err(Trouble::Moved) => {}
                Err(Trouble::Other(error)) => return Err(error),
            }
        }
        Err(unavailable("the log is trimmed faster than it can be read"))
    }

    fn try_read(&self, after: u64, bytes_max: usize) -> Result<Vec<Group>, Trouble> {
        let view = self.remembered()?;
        let control = &view.control;
        let begin = if after < view.last() {
            check_floor(control, after)?;
            self.locate(&view, after + 1)?
        } else {
            view.slot() + 1
        };
        let groups = self.run(&view, begin, after, bytes_max)?;
        // What was read counts if it is not before the floor; and that nothing is there means
        // something only if the floor is not behind it.
        if self.chain().last()?.floor > begin {
            return Err(Trouble::Moved);
        }
        if groups.is_empty() && self.known.lock().is_check_due() {
            self.view(true)?;
        }
        Ok(groups)
    }

    /// What there is as far as it is remembered; asks only if nothing is.
    fn remembered(&self) -> Result<View, CarrierError> {
        let view = {
            let memory = self.known.lock();
            View { control: memory.control.clone(), end: memory.end }
        };
        let reaches = view.slot() >= view.control.floor.max(view.control.seen);
        if view.control.number > 0 && reaches { Ok(view) } else { self.view(true) }
    }

    /// The groups from slot `begin` on.
    fn run(
        &self,
        view: &View,
        begin: u64,
        after: u64,
        bytes_max: usize,
    ) -> Result<Vec<Group>, Trouble> {
        let mut groups: Vec<Group> = vec![];
        let mut bytes = 0;
        // The object before `begin` is known only at the end of the log.
        let mut before = view.end.filter(|end| end.number + 1 == begin);
        let mut slot = begin;
        loop {
            let known_to = view.slot();
            let width = self.width(bytes_max - bytes.min(bytes_max));
            let width = width.min(if slot <= known_to {
                known_to - slot + 1
            } else {
                // As many again as were found behind what was known.
                (slot - known_to - 1).max(1)
            });
            let pending: Vec<_> = (slot..slot + width)
                .map(|slot| self.lane.begin_get(&name::slot(slot), FIRST_BYTES, FIRST_BYTES))
                .collect();
            for part in pending {
                let Some(part) = part.wait()? else {
                    let is_end = slot > known_to;
                    return if is_end {
                        Ok(groups)
                    } else {
                        Err(self.missing(&view.control, slot))
                    };
                };
                let read = self.open(slot, part, before.as_ref(), after);
                let read = read.map_err(|error| self.damage(&view.control, error))?;
                let Some((header, group)) = read else {
                    // It was removed between two requests for its parts.
                    return Err(self.missing(&view.control, slot));
                };
                if let Some(group) = group {
                    if !groups.is_empty() && bytes + group.bytes().len() > bytes_max {
                        return Ok(groups);
                    }
                    bytes += group.bytes().len();
                    groups.push(group);
                }
                self.learn(&header);
                before = Some(header);
                slot += 1;
            }
            if !groups.is_empty() && bytes >= bytes_max {
                return Ok(groups);
            }
        }
    }

    /// How many objects are likely to have so many bytes together.
    fn width(&self, bytes: usize) -> u64 {
        let each = self.known.lock().object_bytes.max(1);
        (bytes as u64 / each).clamp(1, IN_FLIGHT_MAX as u64)
    }

    fn learn(&self, header: &Slot) {
        let mut memory = self.known.lock();
        memory.learn_slot(header);
        if !header.is_fence {
            memory.object_bytes = (memory.object_bytes * 7 + u64::from(header.body_bytes)) / 8;
        }
    }

    /// Reads an object, all of it if it holds records behind `after`; none if it is gone.
    fn open(
        &self,
        slot: u64,
        part: Part,
        before: Option<&Slot>,
        after: u64,
    ) -> Result<Option<(Slot, Option<Group>)>, CarrierError> {
        let position = before.map_or(after, |before| before.last) + 1;
        let name = name::slot(slot);
        let header = Slot::decode(&part.content, part.total, self.shard, slot)
            .map_err(|reason| corrupt(position, &name, reason))?;
        if let Some(reason) = before.and_then(|before| header.contradiction(before)) {
            return Err(header.corrupt(reason));
        }
        if header.is_fence || header.last <= after {
            return Ok(Some((header, None)));
        }
        if before.is_none() && header.first > after + 1 {
            return Err(header.corrupt("the records before it are missing"));
        }
        let whole = if part.content.len() as u64 == part.total {
            Some(part.content)
        } else {
            self.lane.get(&name, OBJECT_BYTES_MAX)?
        };
        let Some(whole) = whole else { return Ok(None) };
        Ok(Some((header, Some(header.group(&whole, self.shard)?))))
    }
}

/// `Trimmed` if the record behind `after` is gone.
fn check_floor(control: &Control, after: u64) -> Result<(), CarrierError> {
    if after + 1 >= control.oldest {
        return Ok(());
    }
    let (after, oldest) = (Position(after), Position(control.oldest));
    Err(CarrierError::Trimmed { after, oldest })
}
