//! Whether a store keeps the promises that everything here rests on: of several that put an object of
//! one name, exactly one does; what was put is read back, also a part of it; it is listed before
//! long; and what was removed is gone.
//!
//! A race that a store decides wrongly only now and then can pass, so there are several rounds of
//! several racers, over both clients. What is found here was so in these seconds; a store that is
//! changed later is not asked again before the next `prepare`.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orrery_blob::Put;
use orrery_journal::carrier::CarrierError;

use crate::error::unavailable;
use crate::lane::Lane;
use crate::name::PROBE;

const ROUNDS: u32 = 8;
/// Racers of a round on each client.
const RACERS: usize = 3;
/// As long may a listing be behind. Nothing here needs it to be fresh, only to show things at all.
const LISTED_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// Longer than what one request of a race carries, so that requests overlap.
const CONTENT_BYTES: usize = 16 << 10;
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);

/// Tries it out below a name of its own, and cleans up.
pub(crate) fn probe(lanes: [&Lane; 2]) -> Result<(), CarrierError> {
    let folder = format!("{PROBE}/{:016x}", rand::random::<u64>());
    let name = |round| format!("{folder}/{round}");
    let result = (0..ROUNDS).try_for_each(|round| race(lanes, &name(round))).and_then(|()| {
        let names: Vec<String> = (0..ROUNDS).map(name).collect();
        listed(lanes[0], &folder, &names)
    });
    // A store without conditions has them all the same, once.
    let removed = lanes[0].delete((0..ROUNDS).map(name).collect(), REMOVAL_LIMIT);
    result?;
    removed?;
    match lanes[1].get(&name(0), CONTENT_BYTES as u64)? {
        None => Ok(()),
        Some(_) => Err(unusable("what was removed is still there")),
    }
}

fn unusable(reason: &str) -> CarrierError {
    CarrierError::Unusable { reason: format!("of this store, {reason}") }
}

fn race(lanes: [&Lane; 2], name: &str) -> Result<(), CarrierError> {
    let content = |racer: usize| Bytes::from(vec![racer as u8 + 1; CONTENT_BYTES]);
    let racers = 0..RACERS * lanes.len();
    let pending: Vec<_> = racers
        .map(|racer| lanes[racer % lanes.len()].begin_put_new(name, &content(racer)))
        .collect();
    let mut winners = vec![];
    let mut unanswered = None;
    for (racer, put) in pending.into_iter().enumerate() {
        match put.wait() {
            Ok(Put::Created) => winners.push(racer),
            Ok(Put::Exists) => {}
            Err(error) if error.is_passing() => unanswered = Some(error),
            Err(error) => return Err(error),
        }
    }
    if winners.len() > 1 {
        return Err(unusable(
            "conditional writes are not conditional: several requests to put an object only if it is \
             not there succeeded for one name. Use a store whose PUT with `If-None-Match: *` is \
             atomic, also over several of its servers",
        ));
    }
    // An answer that was lost may have been that of the winner.
    if let Some(error) = unanswered {
        return Err(error);
    }
    let found = lanes[0].get(name, CONTENT_BYTES as u64)?;
    match (winners.first(), found) {
        (Some(winner), Some(found)) if found == content(*winner) => {}
        (None, _) => return Err(unavailable("nobody could put an object")),
        (Some(_), None) => return Err(unusable("what was put cannot be read back")),
        (Some(_), Some(_)) => return Err(unusable("what is read is not what was put")),
    }
    let part = lanes[1].begin_get(name, 3, 0).wait()?;
    if part.is_none_or(|part| part.content.len() != 3 || part.total != CONTENT_BYTES as u64) {
        return Err(unusable("a part of an object cannot be read"));
    }
    match lanes[1].put_new(name, &content(racers_all(lanes)))? {
        Put::Exists => Ok(()),
        Put::Created => Err(unusable(
            "conditional writes are not conditional: an object was put only if it is not there, and \
             replaced one that was",
        )),
    }
}

/// The number of somebody who did not race.
fn racers_all(lanes: [&Lane; 2]) -> usize {
    RACERS * lanes.len()
}

fn listed(lane: &Lane, folder: &str, names: &[String]) -> Result<(), CarrierError> {
    let started = Instant::now();
    loop {
        let found = lane.list(folder, "")?;
        if names.iter().all(|name| found.iter().any(|entry| entry.name == *name)) {
            return Ok(());
        }
        if started.elapsed() > LISTED_WITHIN {
            return Err(unusable("what was put is not listed"));
        }
        thread::sleep(POLL);
    }
}
