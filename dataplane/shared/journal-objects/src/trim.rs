//! Removing the beginning of the log: first the control entry that says where it begins, then what
//! lies before.
//!
//! Never removed are fences, which keep a session that was overtaken from writing, and the last
//! object. What is put before the floor by a request that comes late means nothing, and the next trim
//! removes it.

use std::time::Duration;

use orrery_blob::Entry;
use orrery_journal::Position;
use orrery_journal::carrier::{CarrierError, Owner};

use crate::control::Reason;
use crate::error::unavailable;
use crate::log::{Log, Trouble};
use crate::name;
use crate::slot::HEADER_BYTES;

/// How long objects are removed; what is left the next one removes.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);
/// The log may be trimmed so often by others of this owner meanwhile.
const ATTEMPTS_MAX: u32 = 16;

/// See [`orrery_journal::Carrier::trim`].
pub(crate) fn trim(log: &Log<'_>, owner: Owner, upto: Position) -> Result<(), CarrierError> {
    for _ in 0..ATTEMPTS_MAX {
        match set_floor(log, owner, upto) {
            Ok(floor) => return remove(log, floor),
            Err(Trouble::Moved) => {}
            Err(Trouble::Other(error)) => return Err(error),
        }
    }
    Err(unavailable("others of this owner trim all the time"))
}

/// Says where the log begins from now on; gives the slot.
fn set_floor(log: &Log<'_>, owner: Owner, upto: Position) -> Result<u64, Trouble> {
    let view = log.view(false)?;
    view.control.check_owner(owner)?;
    // Without the snapshot that the caller says there is, records would be gone for good.
    let saved = view.control.newest().map_or(0, |newest| newest.at.0);
    let upto = upto.0.min(saved);
    let Some(end) = view.end else { return Ok(view.control.floor) };
    if upto < view.control.oldest {
        return Ok(view.control.floor);
    }
    let floor =
        if upto < end.last { log.there(&view.control, log.locate(&view, upto + 1)?)? } else { end };
    let control = log.chain().change(|last| {
        last.check_owner(owner)?;
        if last.floor >= floor.number {
            return Ok(None);
        }
        let mut next = last.next(Reason::Trim, end.number);
        (next.floor, next.oldest) = (floor.number, floor.first);
        Ok(Some(next))
    })?;
    Ok(control.floor)
}

fn remove(log: &Log<'_>, floor: u64) -> Result<(), CarrierError> {
    let is_garbage = |entry: &Entry| {
        let slot = name::number(&entry.name);
        entry.bytes > HEADER_BYTES as u64 && slot.is_some_and(|slot| slot < floor)
    };
    let listed = log.lane.list(name::LOG, "")?;
    let names = listed.into_iter().filter(is_garbage).map(|entry| entry.name).collect();
    let removed = log.lane.delete(names, REMOVAL_LIMIT)?;
    tracing::debug!(removed, floor, "trimmed the log");
    Ok(())
}
