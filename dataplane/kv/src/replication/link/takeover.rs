//! Taking a shard over whose journal is carried elsewhere: fences whoever had it, then reads what is
//! carried and not here.
//!
//! What an earlier owner acknowledged is carried, so after `take_over` the end of what is carried is
//! known and final: the link has done its part when the loop has everything up to there.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use orrery_journal::carrier::Carried;
use orrery_journal::{Carrier, CarrierError, Entry, Group, Owner, Position};

use super::session::SessionError;
use super::{Event, Runner};
use crate::replication::copy::Copying;
use crate::replication::wire::{CopyPlan, PIECE_BYTES, Record};

/// Records are read and handed over in batches of about this size.
const BATCH_BYTES: usize = 4 << 20;

/// From where a shard is taken over, and on whose behalf.
#[derive(Debug, Clone)]
pub(crate) struct TakeOver {
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) owner: Owner,
}

fn record_of(entry: &Entry<'_>) -> Record {
    Record {
        position: entry.position.0,
        epoch: entry.epoch.0,
        time_us: entry.time_us,
        stream: entry.stream,
        kind: entry.kind,
        body: entry.body.to_vec(),
    }
}

/// Takes over; `Ok` when this link has done its part.
pub(super) fn run(runner: &mut Runner, from: &TakeOver) -> Result<(), SessionError> {
    let carrier = &*from.carrier;
    carrier.prepare()?;
    let carried = match carrier.take_over(from.owner) {
        Err(CarrierError::Fenced { held }) => {
            tracing::warn!(epoch = from.owner.epoch.0, held = held.0, "another owner was faster");
            runner.send(Event::Fenced { held: held.0 })?;
            return Ok(());
        }
        carried => carried?,
    };
    let shared = Arc::clone(&runner.shared);
    shared.heard_ms.store(shared.now_ms(), Ordering::Release);
    shared.primary_position.store(carried.last.0, Ordering::Release);
    shared.up.store(true, Ordering::Release);
    shared.tell_trouble("");
    let here = runner.plan.position;
    if here > carried.last.0 {
        return Err(SessionError::Ahead { here, carried: carried.last.0 });
    }
    let is_other_line = |epoch: u64| runner.plan.position_epoch != epoch;
    if here > 0 && here == carried.last.0 && is_other_line(carried.last_epoch.0) {
        return copy(runner, from, &carried, 0);
    }
    // The record that is here already, to see that it is the same one.
    let mut after = here.saturating_sub(1);
    while runner.plan.position < carried.last.0 {
        if shared.is_stopped() {
            return Err(SessionError::Dropped);
        }
        let groups = match carrier.read(Position(after), BATCH_BYTES) {
            Ok(groups) => groups,
            Err(CarrierError::Trimmed { .. }) => return copy(runner, from, &carried, here),
            Err(error) => return Err(error.into()),
        };
        let mut batch = vec![];
        for entry in groups.iter().flat_map(Group::entries) {
            let entry = entry?;
            let (position, epoch) = (entry.position.0, entry.epoch.0);
            if position == here && runner.plan.position_epoch != epoch {
                return copy(runner, from, &carried, 0);
            }
            if position == runner.plan.position + 1 {
                batch.push(record_of(&entry));
                runner.plan.position = position;
            }
        }
        if batch.is_empty() {
            return Err(SessionError::Unexpected("no records behind what is here"));
        }
        after = runner.plan.position;
        runner.plan.position_epoch = batch.last().map_or(0, |record| record.epoch);
        runner.send(Event::Records(batch))?;
    }
    runner.send(Event::Arrived)?;
    Ok(())
}

/// Makes a copy of all that is carried, to take the place of what is here, which agrees with it up to
/// `common`.
fn copy(
    runner: &mut Runner,
    from: &TakeOver,
    carried: &Carried,
    common: u64,
) -> Result<(), SessionError> {
    let (carrier, shared) = (&*from.carrier, Arc::clone(&runner.shared));
    let saved = carried.snapshot;
    let plan = CopyPlan {
        at: saved.map_or(0, |saved| saved.at.0),
        at_epoch: saved.map_or(0, |saved| saved.epoch.0),
        target: carried.last.0,
        common,
        image_bytes: saved.map_or(0, |saved| saved.bytes),
    };
    let mut copy = Copying::begin(&runner.plan, plan, from.owner.epoch.0)?;
    shared.copy_percent.store(0, Ordering::Release);
    runner.send(Event::Copying)?;
    if let Some(saved) = saved {
        let mut image = carrier.load(saved.at)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = image.read(&mut piece)?;
            if read == 0 {
                break;
            }
            copy.take_piece(&piece[..read])?;
            shared.copy_percent.store(copy.percent(), Ordering::Release);
            if shared.is_stopped() {
                return Err(SessionError::Dropped);
            }
        }
    }
    copy.end_image()?;
    let mut last = plan.at;
    while last < plan.target {
        let before = last;
        for entry in carrier.read(Position(last), BATCH_BYTES)?.iter().flat_map(Group::entries) {
            let entry = entry?;
            if entry.position.0 == last + 1 {
                copy.take_record(&record_of(&entry))?;
                last += 1;
            }
        }
        if last == before {
            return Err(SessionError::Unexpected("no records behind the snapshot"));
        }
        if shared.is_stopped() {
            return Err(SessionError::Dropped);
        }
    }
    copy.finish()?;
    runner.send(Event::Copied)?;
    Ok(())
}
