//! What a change of a job would change: the runs it adds and those it leaves out.

use std::sync::Arc;

use orrery_api::scheduler::DeclaredSchedule;
use orrery_recurrence::{Occurrences, Zone};
use serde::Serialize;

use super::details::shown;
use super::explain::{follows_in_words, in_words, local, times_of};
use super::{Engine, EngineError, Moment};

/// How far it is looked ahead: a year and a day.
const AHEAD_SECONDS: i64 = 366 * 86_400;
/// Runs of each side that are compared.
const RUNS_MAX: usize = 100;
/// Runs to come that are named whatever changes.
const NEXT: usize = 3;
/// Notes that are named at most.
const NOTES_MAX: usize = 20;
/// Runs, and notes, that a sentence names.
const NAMED: usize = 3;

/// What a change would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIf {
    pub job: String,
    /// The revision it is compared with.
    pub revision: u32,
    /// Up to here both were compared.
    pub until: String,
    /// Runs that come in.
    pub added: Vec<Moment>,
    /// Runs that go out.
    pub skipped: Vec<Moment>,
    /// Runs that both have.
    pub kept: usize,
    /// The next runs after the change.
    pub next: Vec<Moment>,
    /// What changes of the clock do to the new rule within a year; or which runs it follows.
    pub notes: Vec<String>,
}

impl Engine {
    /// Compares a job with what it would be.
    pub async fn what_if(
        &self,
        name: &str,
        declared: DeclaredSchedule,
        now: i64,
    ) -> Result<WhatIf, EngineError> {
        let owned = name.to_owned();
        let look = move |state: &crate::machine::State, _: &crate::ledger::LedgerView| {
            let job = state.named(&owned)?;
            Some((job.revision, job.times().cloned().filter(|_| job.fires())))
        };
        let found = self.handle(name).look(look).await?;
        let (revision, old) = found.ok_or_else(|| EngineError::NoJob(name.to_owned()))?;
        let is_suspended = declared.spec.suspend;
        let follows = declared.spec.when.after.as_ref().map(follows_in_words);
        let refused = EngineError::Refused;
        self.check(name, declared.clone(), 0, now).map_err(refused)?;
        let (zone, new) = times_of(&self.zones, name, declared).map_err(refused)?;
        let name = name.to_owned();
        let compared = tokio::task::spawn_blocking(move || {
            let new = new.filter(|_| !is_suspended);
            compare(name, revision, old.as_deref(), new.as_deref(), &zone, follows, now)
        });
        Ok(compared.await?)
    }
}

/// Compares the times a job has with those it would have; none where it does not fire by itself. `zone`
/// is the one that local times are shown in; `follows` says after which job it would run.
pub(super) fn compare(
    job: String,
    revision: u32,
    old: Option<&Occurrences>,
    new: Option<&Occurrences>,
    zone: &Arc<Zone>,
    follows: Option<String>,
    now: i64,
) -> WhatIf {
    let moment = |at: &i64| Moment { at: shown(*at), local: local(zone, *at) };
    let (until, before, after) = within(old, new, now);
    let added: Vec<&i64> = only(&after, &before);
    let skipped: Vec<&i64> = only(&before, &after);
    let notes = new.iter().flat_map(|new| new.rule.zone_notes(now, now + AHEAD_SECONDS));
    WhatIf {
        job,
        revision,
        until: shown(until),
        kept: after.len() - added.len(),
        added: added.into_iter().map(moment).collect(),
        skipped: skipped.into_iter().map(moment).collect(),
        next: after.iter().take(NEXT).map(moment).collect(),
        notes: notes
            .map(|note| in_words(&note, zone))
            .chain(follows.map(|follows| format!("it runs {follows}")))
            .take(NOTES_MAX)
            .collect(),
    }
}

impl WhatIf {
    /// What changes, in sentences without a full stop: of a job that `is_new` only what is to come.
    pub fn in_words(&self, is_new: bool) -> Vec<String> {
        let mut lines = vec![];
        if !is_new {
            lines = self.differences_in_words();
            lines.push(if lines.is_empty() {
                "changes no run".to_owned()
            } else {
                format!("compared until {}", self.until)
            });
        }
        lines.push(match &*self.next {
            [] => "it does not fire by itself".to_owned(),
            next => format!("next at {}", moments_listed(next)),
        });
        let more = self.notes.len().saturating_sub(NAMED);
        lines.extend(self.notes.iter().take(NAMED).cloned());
        if more > 0 {
            lines.push(format!("and {more} more changes of the clock within a year"));
        }
        lines
    }

    /// The runs that come in and those that go out, each side in a sentence; nothing where none do.
    pub(super) fn differences_in_words(&self) -> Vec<String> {
        let runs = |count: usize| if count == 1 { "run" } else { "runs" };
        let mut lines = vec![];
        for (verb, moments) in [("adds", &self.added), ("leaves out", &self.skipped)] {
            if !moments.is_empty() {
                let count = moments.len();
                lines.push(format!("{verb} {count} {}: {}", runs(count), moments_listed(moments)));
            }
        }
        lines
    }
}

fn moments_listed(moments: &[Moment]) -> String {
    listed(moments.iter().map(|moment| &*moment.local))
}

/// The first of these, and how many more there are.
pub(super) fn listed<'a>(all: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    all.take(NAMED).collect::<Vec<_>>().join(", ") + &more
}

/// The runs of both within the time that both are known for, and its end.
fn within(
    old: Option<&Occurrences>,
    new: Option<&Occurrences>,
    now: i64,
) -> (i64, Vec<i64>, Vec<i64>) {
    let mut until = now + AHEAD_SECONDS;
    let mut runs = |times: Option<&Occurrences>| {
        let Some(times) = times else { return vec![] };
        let runs: Vec<i64> =
            times.iter_after(now).take_while(|at| *at <= until).take(RUNS_MAX).collect();
        if let Some(last) = runs.last().filter(|_| runs.len() == RUNS_MAX) {
            until = *last;
        }
        runs
    };
    let (mut before, mut after) = (runs(old), runs(new));
    before.retain(|at| *at <= until);
    after.retain(|at| *at <= until);
    (until, before, after)
}

/// Those of `all` that `others` lacks; both are sorted.
fn only<'a>(all: &'a [i64], others: &[i64]) -> Vec<&'a i64> {
    all.iter().filter(|at| others.binary_search(at).is_err()).collect()
}
