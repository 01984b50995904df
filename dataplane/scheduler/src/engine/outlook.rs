//! What a change of a Schedule does to its runs, said by whoever has only the objects.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use orrery_api::scheduler::DeclaredSchedule;
use orrery_operand::v1::DeclaredObject;
use orrery_recurrence::Zones;

use super::check::Refusal;
use super::explain::{follows_in_words, times_of};
use super::rows::{Expansion, object_of, refusal_of};
use super::what_if::{WhatIf, compare, listed};
use super::{Engine, EngineError};

/// Objects of one set whose changes are put into words; of more, nobody reads them.
const CHANGES_MAX: usize = 100;

/// Rows of one object in one partition of which it is read what they were: one that is still there
/// speaks for all.
const ROWS_READ_MAX: usize = 100;

/// What an object was.
#[derive(Debug, Default)]
struct Before {
    /// Its jobs.
    jobs: HashSet<String>,
    /// What some of them were; its only one, where no rows make them.
    known: Vec<(String, DeclaredSchedule)>,
    /// It is of the same generation: nothing is said of rows that come and go, which its status counts.
    is_same: bool,
}

impl Before {
    fn of(name: &str, declared: DeclaredSchedule) -> Result<Self, Refusal> {
        let known = match Expansion::of(name, &declared)? {
            Some(expansion) => expansion.jobs().collect::<Result<Vec<_>, _>>()?,
            None => vec![(name.to_owned(), declared)],
        };
        let jobs = known.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { jobs, known, is_same: false })
    }

    fn take(&mut self, job: &str) -> Option<DeclaredSchedule> {
        let index = self.known.iter().position(|(name, _)| name == job)?;
        Some(self.known.swap_remove(index).1)
    }
}

/// Says what an object of this name brings, or what its change from `old` does: what was refused counts
/// as nothing.
///
/// # Errors
/// When the new one cannot be a job for what its rule says.
pub fn outlook(
    name: &str,
    old: Option<DeclaredSchedule>,
    new: &DeclaredSchedule,
    zones: &Zones,
    now: i64,
) -> Result<Vec<String>, Refusal> {
    let expansion = Expansion::of(name, new)?;
    for job in expansion.iter().flat_map(Expansion::jobs) {
        let (job, declared) = job?;
        times_of(zones, &job, declared).map_err(|refusal| refusal_of(&job, refusal))?;
    }
    let before = old.and_then(|old| Before::of(name, old).ok()).unwrap_or_default();
    in_words(name, before, new, expansion.as_ref(), zones, now)
}

/// What changes, in sentences without a full stop; `expansion` is that of `new`.
fn in_words(
    name: &str,
    mut before: Before,
    new: &DeclaredSchedule,
    expansion: Option<&Expansion<'_>>,
    zones: &Zones,
    now: i64,
) -> Result<Vec<String>, Refusal> {
    let Some(expansion) = expansion else {
        let mut said = vec![];
        before.jobs.remove(name);
        said.extend(jobs_in_words("removes", before.jobs.iter().map(String::as_str).collect()));
        let old = before.take(name);
        let is_new = old.is_none();
        let new = new.clone();
        said.extend(job(name.to_owned(), old, new, zones, now)?.in_words(is_new));
        return Ok(said);
    };
    let names: HashSet<String> = expansion.names().collect();
    let mut said = vec![];
    let verb = if before.jobs.is_empty() { "makes" } else { "adds" };
    for (verb, some, others) in [(verb, &names, &before.jobs), ("removes", &before.jobs, &names)] {
        let named = some.iter().filter(|name| !others.contains(*name)).map(String::as_str);
        said.extend(jobs_in_words(verb, named.collect()));
    }
    if names.is_empty() && said.is_empty() {
        said.push("its file has no rows: it makes no jobs".to_owned());
    }
    // One speaks for all: they differ in what their rows say.
    let mut of = before.known.iter().filter(|(name, _)| names.contains(name));
    let of = of.next().map(|(name, _)| name.clone());
    let mut jobs = expansion.jobs();
    let found = jobs
        .find(|job| job.as_ref().is_ok_and(|(name, _)| of.as_ref().is_none_or(|of| of == name)));
    if let Some(Ok((name, new))) = found {
        let old = before.take(&name);
        let is_new = old.is_none();
        let lines = job(name.clone(), old, new, zones, now)?.in_words(is_new);
        said.extend(lines.into_iter().map(|line| format!("{name} {line}")));
    }
    Ok(said)
}

/// Nothing of no jobs.
fn jobs_in_words(verb: &str, mut names: Vec<&str>) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    names.sort_unstable();
    let count = names.len();
    let jobs = if count == 1 { "job" } else { "jobs" };
    Some(format!("{verb} {count} {jobs}: {}", listed(names.into_iter())))
}

/// Compares what a job was with what it is to be.
fn job(
    name: String,
    old: Option<DeclaredSchedule>,
    new: DeclaredSchedule,
    zones: &Zones,
    now: i64,
) -> Result<WhatIf, Refusal> {
    let fires = |declared: &DeclaredSchedule| !declared.spec.suspend;
    let old = old.filter(fires).and_then(|old| times_of(zones, &name, old).ok()?.1);
    let is_suspended = new.spec.suspend;
    let follows = new.spec.when.after.as_ref().map(follows_in_words);
    let (zone, new) = times_of(zones, &name, new)?;
    let new = new.filter(|_| !is_suspended);
    Ok(compare(name, 0, old.as_deref(), new.as_deref(), &zone, follows, now))
}

impl Engine {
    /// The changes that `objects` bring to the jobs that are there, in words, by name.
    pub(super) async fn changes_in_words(
        &self,
        objects: &[DeclaredObject],
        now: i64,
    ) -> Result<HashMap<String, String>, EngineError> {
        let wanted = objects.iter().map(|object| (object.name.clone(), object.generation.max(1)));
        let wanted: Arc<HashMap<String, i64>> = Arc::new(wanted.collect());
        let mut known: HashMap<String, Before> = HashMap::default();
        for handle in self.handles() {
            let wanted = Arc::clone(&wanted);
            let looked = handle.look(move |state, _| {
                let mut read: HashMap<&str, usize> = HashMap::default();
                let jobs = state.jobs().filter(|job| job.is_declared());
                let found = jobs.filter_map(|job| {
                    let object = object_of(&job.name);
                    let is_same = *wanted.get(object)? == job.generation();
                    let read = read.entry(object).or_default();
                    let declared = if is_same || *read == ROWS_READ_MAX {
                        None
                    } else {
                        *read += 1;
                        Some(job.definition.declared().ok()?)
                    };
                    Some((job.name.to_string(), is_same, declared))
                });
                found.collect::<Vec<_>>()
            });
            for (job, is_same, declared) in looked.await? {
                let before = known
                    .entry(object_of(&job).to_owned())
                    .or_insert_with(|| Before { is_same: true, ..Before::default() });
                before.is_same &= is_same;
                before.known.extend(declared.map(|declared| (job.clone(), declared)));
                before.jobs.insert(job);
            }
        }
        let changed: Vec<(String, Before, Vec<u8>)> = objects
            .iter()
            .filter_map(|object| {
                let before = known.remove(&object.name).unwrap_or_default();
                (!before.is_same).then(|| (object.name.clone(), before, object.spec.clone()))
            })
            .take(CHANGES_MAX)
            .collect();
        let zones = self.zones.clone();
        let said = tokio::task::spawn_blocking(move || {
            let words = |(name, before, spec): (String, Before, Vec<u8>)| {
                let new: DeclaredSchedule = serde_json::from_slice(&spec).ok()?;
                let expansion = Expansion::of(&name, &new).ok()?;
                let said = in_words(&name, before, &new, expansion.as_ref(), &zones, now).ok()?;
                Some((name, said.join("; ")))
            };
            changed.into_iter().filter_map(words).collect()
        });
        Ok(said.await?)
    }
}
