//! Makes partitions fit together that were not archived up to the same moment.
//!
//! | one partition | the other | what is done |
//! |---|---|---|
//! | has taken what it was told | does not know that it told it | those sequences are not used again, or what is told under them would be passed by |
//! | knows that what it told was taken | has not taken it | it is told again: the ledger has what it was |
//!
//! Cut at one moment they fit, unless the clock was set back: then nothing is done.
//!
//! Must not: take anything away.

use std::time::{Duration, Instant};

use orrery_archiving::fill::FillError;
use orrery_journal::Record;

use crate::engine::partition_of;
use crate::ledger::Fact;
use crate::machine::Effect;
use crate::partition::{Recovered, TURN};

/// Longest wait for the disk.
const DISK: Duration = Duration::from_mins(1);

/// An end of a run that is to be told again.
struct Lost {
    id: u64,
    run: u64,
    sequence: u64,
    follower: Box<str>,
    nominal: i64,
    ended_ms: i64,
}

/// `all` are the partitions in the order of their numbers.
pub(super) fn mend(all: &mut [Recovered]) -> Result<(), FillError> {
    let newest_ms = all.iter().map(|one| one.last_ms).max().unwrap_or(0);
    for index in 0..all.len() {
        let taken: Vec<u64> =
            all.iter().map(|other| other.state.links().taken(index as u16)).collect();
        let one = &mut all[index];
        let used = taken.iter().copied().max().unwrap_or(0);
        let lost = lost(one, &taken)?;
        let mut effects = vec![];
        if used > one.state.links().newest() {
            effects.push(Effect::UsedUp { sequence: used });
        }
        effects.extend(lost.iter().map(|lost| Effect::Again {
            id: lost.id,
            run: lost.run,
            sequence: lost.sequence,
            follower: &lost.follower,
            nominal: lost.nominal,
            ended_ms: lost.ended_ms,
        }));
        if !effects.is_empty() {
            tracing::warn!(
                partition = index,
                again = lost.len(),
                used,
                "partitions were archived up to different moments: what they told each other is mended"
            );
            write(one, newest_ms, &effects)?;
        }
    }
    Ok(())
}

fn failed(error: &dyn std::fmt::Display) -> FillError {
    FillError::Engine(error.to_string())
}

/// What a partition told, and counts as taken, although the partition of the follower has not.
fn lost(of: &Recovered, taken: &[u64]) -> Result<Vec<Lost>, FillError> {
    let links = of.state.links();
    let mut lost = vec![];
    if links.newest() == 0 {
        return Ok(lost);
    }
    let scanned = of.ledger.view().scan(0, |_, entry| {
        if let Fact::Triggered { run, sequence, follower, nominal } = entry.fact {
            let to = usize::from(partition_of(follower, taken.len() as u16));
            // A leader that is gone has no followers.
            let is_known = of.state.job(entry.job).is_some();
            if sequence > taken[to] && links.waiting(sequence).is_none() && is_known {
                let (id, ended_ms, follower) = (entry.job, entry.at_ms, follower.into());
                lost.push(Lost { id, run, sequence, follower, nominal, ended_ms });
            }
        }
        true
    });
    scanned.map_err(|error| failed(&error))?;
    Ok(lost)
}

/// Carries effects out, as a record of the journal.
fn write(into: &mut Recovered, at_ms: i64, effects: &[Effect<'_>]) -> Result<(), FillError> {
    let (mut body, mut entries) = (vec![], vec![]);
    for effect in effects {
        effect.encode(&mut body);
        let applied = into.state.apply(at_ms, effect, &mut entries);
        applied.map_err(|error| failed(&error))?;
    }
    into.ledger.append(&entries).map_err(|error| failed(&error))?;
    let time_us = at_ms.saturating_mul(1000);
    let record = Record { stream: 0, kind: TURN, time_us, body: &body };
    into.journal.append(record)?;
    into.journal.flush();
    into.journal.wait_durable_until(into.journal.last(), Instant::now() + DISK)?;
    Ok(())
}
