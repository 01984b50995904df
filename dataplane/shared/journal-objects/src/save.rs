//! Saving a snapshot: its pieces under a name that nobody else uses, then the control entry that makes
//! it whole. An attempt that ends before that is garbage, whoever made it and however late its pieces
//! come; it is removed once a snapshot behind it is whole.

use std::collections::VecDeque;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use orrery_blob::Put;
use orrery_journal::carrier::{CarrierError, Owner, Saved};

use crate::control::{Control, Image, Reason};
use crate::lane::Pending;
use crate::log::Log;
use crate::{name, piece};

/// Pieces that are under way together: they are in memory, 8 MiB each.
const PIECES_IN_FLIGHT: usize = 3;
/// Longest snapshot: the number of a piece has six digits.
const SNAPSHOT_BYTES_MAX: u64 = piece::PIECE_BYTES * 1_000_000;
/// How long garbage is removed; what is left the next one removes.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);

/// See [`orrery_journal::Carrier::save`].
pub(crate) fn save(
    log: &Log<'_>,
    owner: Owner,
    saved: Saved,
    content: &mut dyn Read,
) -> Result<(), CarrierError> {
    let mut control = log.chain().of(owner)?;
    let mut known_to = log.known.lock().end.map_or(0, |end| end.last);
    if saved.at.0 > known_to {
        let view = log.view(false)?;
        view.control.check_owner(owner)?;
        (control, known_to) = (view.control.clone(), view.last());
    }
    orrery_journal::carrier::check_saved(saved, known_to)?;
    if saved.bytes > SNAPSHOT_BYTES_MAX {
        let reason = format!("a snapshot of {} bytes, more than {SNAPSHOT_BYTES_MAX}", saved.bytes);
        return Err(CarrierError::Invalid(reason));
    }
    if !is_wanted(&control, saved) {
        return Ok(());
    }
    let (at, epoch) = (saved.at.0, saved.epoch.0);
    let image = Image { at, epoch, bytes: saved.bytes, attempt: rand::random() };
    put_pieces(log, &image, content)?;
    let control = log.chain().change(|last| {
        last.check_owner(owner)?;
        if !is_wanted(last, saved) {
            return Ok(None);
        }
        let mut next = last.next(Reason::Snapshot, 0);
        next.add(image);
        Ok(Some(next))
    })?;
    remove_garbage(log, &control);
    Ok(())
}

/// Whether there is neither this very snapshot nor a later one.
fn is_wanted(control: &Control, saved: Saved) -> bool {
    control.newest().is_none_or(|newest| newest != saved && newest.at <= saved.at)
}

fn put_pieces(log: &Log<'_>, image: &Image, content: &mut dyn Read) -> Result<(), CarrierError> {
    let mut pending: VecDeque<Pending<Put>> = VecDeque::new();
    for index in 0..piece::count(image.bytes) {
        let mut bytes = vec![0; piece::content_bytes(image, index) as usize];
        content.read_exact(&mut bytes).map_err(|error| unreadable(&error))?;
        if pending.len() == PIECES_IN_FLIGHT
            && let Some(oldest) = pending.pop_front()
        {
            oldest.wait()?;
        }
        let object: Bytes = piece::encode(log.shard, image, index, &bytes);
        // Nobody else knows the name: what exists is this piece.
        pending.push_back(log.lane.begin_put_new(&name::piece(image, index), &object));
    }
    for put in pending {
        put.wait()?;
    }
    match content.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(CarrierError::Invalid(format!("it has more than {} bytes", image.bytes))),
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &std::io::Error) -> CarrierError {
    CarrierError::Invalid(format!("failed to read it to its length: {error}"))
}

/// Removes the pieces of all snapshots and attempts before those that are kept. An attempt that is
/// under way at such a position is of no use any more. It is no failure if this fails: the snapshot
/// counts, and the next one removes the same.
fn remove_garbage(log: &Log<'_>, control: &Control) {
    let Some(oldest) = control.images.last() else { return };
    let is_garbage = |name: &String| name::piece_position(name).is_some_and(|at| at < oldest.at);
    let removed = log.lane.list(name::PIECES, "").and_then(|listed| {
        let names = listed.into_iter().map(|entry| entry.name).filter(is_garbage).collect();
        log.lane.delete(names, REMOVAL_LIMIT)
    });
    if let Err(error) = removed {
        tracing::warn!(%error, "failed to remove pieces of old snapshots");
    }
}
