//! The whole state as bytes. Definitions are written once however many jobs share them.
//!
//! Layout: version, next run, end of the ledger; zones; definitions; jobs; free slots; runs; what goes on
//! at jobs; since version 2 followers, outbox, what was taken,
//! and changes of rules of time zones; since version 3 overdue runs to tell of. Lists have their length before them.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use orrery_recurrence::Zone;

use super::definition::Definition;
use super::effect::{Cause, Ended, Pause};
use super::job::{Job, LastRun, Own, Run, Waiting};
use super::links::Links;
use super::notice;
use super::state::{State, StateError};
use super::zones::Rules;
use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_u64};

const VERSION: u8 = 3;
/// The oldest version that is read.
const VERSION_MIN: u8 = 1;

/// Bytes of a piece, about.
const PIECE_BYTES: usize = 1 << 20;

/// A snapshot while it is made: in pieces, so that it is never copied to grow, and whoever writes it
/// frees each piece once it is written.
#[derive(Debug, Default)]
struct Pieces {
    done: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Pieces {
    /// Where the next thing goes.
    fn next(&mut self) -> &mut Vec<u8> {
        if self.open.len() >= PIECE_BYTES {
            self.done.push(std::mem::take(&mut self.open));
        }
        if self.open.capacity() == 0 {
            // What is put at once is rarely larger.
            self.open.reserve_exact(PIECE_BYTES + PIECE_BYTES / 8);
        }
        &mut self.open
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.done.push(self.open);
        self.done
    }
}

impl State {
    /// The state as bytes, in pieces.
    pub fn to_snapshot(&self) -> Vec<Vec<u8>> {
        let mut out = vec![VERSION];
        put_u64(&mut out, self.next_run);
        put_u64(&mut out, self.ledger_end);
        put_u64(&mut out, self.zones.len() as u64);
        for zone in &self.zones {
            put_bytes(&mut out, zone.name().as_bytes());
            put_bytes(&mut out, zone.tzif());
        }
        let mut indexes: HashMap<*const Definition, u64> = HashMap::new();
        put_u64(&mut out, self.definitions.len() as u64);
        for (index, definition) in self.definitions.all().enumerate() {
            indexes.insert(Arc::as_ptr(definition), index as u64);
            put_bytes(&mut out, definition.text.as_bytes());
            put_u64(&mut out, u64::from(definition.zone));
        }
        put_u64(&mut out, self.len() as u64);
        let mut pieces = Pieces { done: vec![out], open: vec![] };
        for job in self.jobs() {
            let index = indexes.get(&Arc::as_ptr(&job.definition)).copied().unwrap_or(u64::MAX);
            put_job(pieces.next(), job, index);
        }
        self.put_rest(pieces.next());
        pieces.finish()
    }

    /// What is behind the jobs.
    fn put_rest(&self, out: &mut Vec<u8>) {
        let free: Vec<_> = self.free().collect();
        put_u64(out, free.len() as u64);
        for (slot, incarnation) in free {
            put_u64(out, u64::from(slot));
            put_u64(out, u64::from(incarnation));
        }
        put_u64(out, self.runs.len() as u64);
        for (number, run) in &self.runs {
            put_run(out, *number, run);
        }
        put_u64(out, self.active.len() as u64);
        for (slot, activity) in &self.active {
            put_u64(out, u64::from(*slot));
            put_u64(out, activity.runs.len() as u64);
            activity.runs.iter().for_each(|run| put_u64(out, *run));
            put_u64(out, activity.waiting.len() as u64);
            for waiting in &activity.waiting {
                put_i64(out, waiting.nominal);
                out.push(waiting.cause as u8);
            }
        }
        self.links.encode(out);
        put_u64(out, self.rules.len() as u64);
        for Rules { from, to, after } in &self.rules {
            put_u64(out, u64::from(*from));
            put_u64(out, u64::from(*to));
            put_i64(out, *after);
        }
        notice::encode(&self.notices, out);
    }

    /// The state that [`Self::to_snapshot`] wrote, its pieces one behind the other.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, StateError> {
        let mut from = Reader::new(bytes);
        let version = from.u8("snapshot")?;
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(Malformed { what: "version of the snapshot" }.into());
        }
        let mut state = Self::default();
        state.next_run = from.u64("snapshot")?;
        state.ledger_end = from.u64("snapshot")?;
        for _ in 0..from.u64("zones")? {
            let (name, tzif) = (from.text("zone")?, from.bytes("zone")?);
            let zone = Zone::from_tzif(name, tzif);
            state.zones.push(zone.map_err(|error| StateError::Zone {
                name: name.to_owned(),
                message: error.to_string(),
            })?);
        }
        let mut definitions = vec![];
        for _ in 0..from.u64("definitions")? {
            let (text, zone) = (from.text("definition")?, from.u32("definition")?);
            let known = state.zones.get(zone as usize).ok_or(StateError::NoZone { zone })?;
            let known = Arc::clone(known);
            let definition = state.definitions.get(text, zone, &known);
            let name = || text.chars().take(80).collect();
            definitions.push(
                definition.map_err(|source| StateError::Definition { name: name(), source })?,
            );
        }
        for _ in 0..from.u64("jobs")? {
            let job = read_job(&mut from, &definitions, state.zones())?;
            state.insert(job);
        }
        let mut free = vec![];
        for _ in 0..from.u64("free slots")? {
            free.push((from.u32("free slot")?, from.u32("free slot")?));
        }
        state.restore_free(&free, free.iter().map(|(slot, _)| *slot).collect());
        for _ in 0..from.u64("runs")? {
            let (number, run) = read_run(&mut from)?;
            state.runs.insert(number, run);
        }
        for _ in 0..from.u64("activities")? {
            let slot = from.u32("activity")?;
            let activity = state.active.entry(slot).or_default();
            for _ in 0..from.u64("activity")? {
                activity.runs.push(from.u64("activity")?);
            }
            for _ in 0..from.u64("activity")? {
                let nominal = from.i64("waiting")?;
                let cause = Cause::read_in(&mut from)?;
                activity.waiting.push_back(Waiting { nominal, cause });
            }
        }
        if version >= 2 {
            state.links = Links::read(&mut from)?;
            for _ in 0..from.u64("rules")? {
                let (old, to, after) = (from.u32("rules")?, from.u32("rules")?, from.i64("rules")?);
                state.rules.push(Rules { from: old, to, after });
            }
        }
        if version >= 3 {
            state.notices = notice::read(&mut from)?;
        }
        state.count_declared();
        Ok(state)
    }
}

fn put_job(out: &mut Vec<u8>, job: &Job, definition: u64) {
    put_u64(out, job.id);
    put_bytes(out, job.name.as_bytes());
    put_u64(out, definition);
    match job.payload() {
        None => out.push(0),
        Some(payload) => {
            out.push(1);
            put_bytes(out, payload);
        }
    }
    put_u64(out, u64::from(job.revision));
    out.push(job.pause as u8);
    out.push(u8::from(job.overdue));
    put_u64(out, u64::from(job.failures));
    put_i64(out, job.generation());
    put_i64(out, job.since);
    put_i64(out, job.after);
    put_u64(out, u64::from(job.started));
    put_u64(out, job.chain);
    match job.last() {
        None => out.push(0),
        Some(last) => {
            out.push(if last.ended().is_some() { 2 } else { 1 });
            put_i64(out, last.nominal);
            put_i64(out, last.started_ms);
            if let Some((at_ms, ended)) = last.ended() {
                put_i64(out, at_ms);
                out.push(ended as u8);
            }
        }
    }
}

fn read_job(
    from: &mut Reader<'_>,
    definitions: &[Arc<Definition>],
    zones: &[Arc<Zone>],
) -> Result<Job, StateError> {
    let id = from.u64("job")?;
    let name = from.text("job")?;
    let index = from.u64("job")? as usize;
    let definition = definitions.get(index).ok_or(Malformed { what: "definition of a job" })?;
    let definition = Arc::clone(definition);
    let zone = definition.zone;
    let zone = zones.get(zone as usize).ok_or(StateError::NoZone { zone })?;
    let unreadable = |source| StateError::Definition { name: name.to_owned(), source };
    let times = definition.own_times(name, zone).map_err(unreadable)?;
    let payload = match from.u8("job")? {
        0 => None,
        _ => Some(Box::from(from.bytes("job")?)),
    };
    let (revision, pause) = (from.u32("job")?, Pause::read(from.u8("job")?)?);
    let (overdue, failures) = (from.u8("job")? > 0, from.u32("job")?);
    let own = Own { times, payload, generation: from.i64("job")? };
    let mut job = Job::new(id, name, definition, own);
    (job.revision, job.pause, job.overdue, job.failures) = (revision, pause, overdue, failures);
    (job.since, job.after) = (from.i64("job")?, from.i64("job")?);
    job.started = u32::try_from(from.u64("job")?).unwrap_or(u32::MAX);
    job.chain = from.u64("job")?;
    let last = from.u8("last run")?;
    if last > 0 {
        let (nominal, started_ms) = (from.i64("last run")?, from.i64("last run")?);
        let ended = match last {
            1 => None,
            _ => Some((from.i64("last run")?, Ended::read(from.u8("last run")?)?)),
        };
        job.set_last(Some(LastRun::new(nominal, started_ms, ended)));
    }
    job.follow();
    Ok(job)
}

fn put_run(out: &mut Vec<u8>, number: u64, run: &Run) {
    put_u64(out, number);
    put_u64(out, run.job);
    put_u64(out, u64::from(run.revision));
    out.push(run.cause as u8);
    put_i64(out, run.nominal);
    put_i64(out, run.planned_ms);
    put_i64(out, run.launched_ms);
    put_u64(out, u64::from(run.attempt));
    put_bytes(out, run.target.as_bytes());
    put_i64(out, run.retry_at_ms.unwrap_or(i64::MIN));
    out.push(u8::from(run.overdue) | u8::from(run.started) << 1);
}

fn read_run(from: &mut Reader<'_>) -> Result<(u64, Run), Malformed> {
    let number = from.u64("run")?;
    let mut run = Run {
        job: from.u64("run")?,
        revision: from.u32("run")?,
        cause: Cause::read_in(from)?,
        nominal: from.i64("run")?,
        planned_ms: from.i64("run")?,
        launched_ms: from.i64("run")?,
        attempt: from.u32("run")?,
        target: from.text("run")?.into(),
        retry_at_ms: Some(from.i64("run")?).filter(|at| *at != i64::MIN),
        overdue: false,
        started: false,
    };
    let flags = from.u8("run")?;
    (run.overdue, run.started) = (flags & 1 > 0, flags & 2 > 0);
    Ok((number, run))
}
