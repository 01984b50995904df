//! What new rules of a time zone did to the runs of jobs, in words.
//!
//! Everything is derived from the changes of rules that a partition keeps, so that it is the same after
//! a restart. It is said of a job until the job itself is changed.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use orrery_api::Time;
use orrery_api::scheduler::ZoneChange;
use orrery_recurrence::{Occurrences, Zone};

use super::details::shown;
use super::what_if::compare;
use super::{Engine, EngineError};
use crate::machine::{Definition, Job, State};

/// How far a difference between old and new rules is looked for: a year and a day.
const AHEAD_SECONDS: i64 = 366 * 86_400;

/// What was found for declared jobs, by name: for which revision and second, and the words, where runs
/// moved.
pub(super) type Moved = HashMap<String, (u32, i64, Option<String>)>;

/// A job that went over to other rules.
#[derive(Debug)]
pub(super) struct RulesOver {
    job: String,
    revision: u32,
    /// Of the definition: who held that itself would keep it in the partition.
    text: String,
    old: Arc<Zone>,
    new: Arc<Zone>,
    /// The last second of the old rules.
    since: i64,
    fires: bool,
}

impl RulesOver {
    /// Of a job that was there when the rules changed.
    pub(super) fn of(state: &State, job: &Job) -> Option<Self> {
        let rules = state.rules_over(job)?;
        let zone = |index: u32| state.zones().get(index as usize).cloned();
        Some(Self {
            job: job.name.to_string(),
            revision: job.revision,
            text: job.definition.text.to_string(),
            old: zone(rules.from)?,
            new: zone(rules.to)?,
            since: rules.after,
            fires: job.fires(),
        })
    }

    /// That there are other rules.
    pub(super) fn note(&self) -> String {
        format!("time zone {} has other rules since {}", self.new.name(), shown(self.since))
    }

    /// The same, and the runs that moved; none where none do within a year.
    pub(super) fn moved(&self) -> Option<String> {
        let differ = self.old.first_difference(&self.new, self.since).filter(|_| self.fires)?;
        if differ > self.since.saturating_add(AHEAD_SECONDS) {
            return None;
        }
        let (old, new) = (self.times(&self.old), self.times(&self.new)?);
        let from = (differ - 1).max(self.since);
        let found = compare(
            self.job.clone(),
            self.revision,
            old.as_deref(),
            Some(&*new),
            &self.new,
            None,
            from,
        );
        let moved = found.differences_in_words();
        (!moved.is_empty()).then(|| format!("{}: {}", self.note(), moved.join("; ")))
    }

    fn times(&self, zone: &Arc<Zone>) -> Option<Arc<Occurrences>> {
        Definition::compile(&self.text, 0, zone).ok()?.times_of(&self.job, zone).ok()?
    }
}

impl Engine {
    /// What new rules of time zones moved of declared jobs, by name. Each is worked out once.
    pub(super) async fn zone_changes(
        &self,
        moved: &mut Moved,
    ) -> Result<Vec<(String, ZoneChange)>, EngineError> {
        let mut known = std::mem::replace(moved, HashMap::new());
        let seen =
            known.iter().map(|(name, (revision, since, _))| (name.clone(), (*revision, *since)));
        let seen: Arc<HashMap<String, (u32, i64)>> = Arc::new(seen.collect());
        for handle in self.handles() {
            let seen = Arc::clone(&seen);
            let looked = handle.look(move |state, _| {
                if state.rules().is_empty() {
                    return (vec![], vec![]);
                }
                let (mut old, mut new) = (vec![], vec![]);
                for job in state.jobs().filter(|job| job.is_declared() && job.fires()) {
                    let Some(since) = state.rules_since(job) else { continue };
                    if seen.get(&*job.name) == Some(&(job.revision, since)) {
                        old.push(job.name.to_string());
                    } else {
                        new.extend(RulesOver::of(state, job));
                    }
                }
                (old, new)
            });
            let (old, new) = looked.await?;
            moved.extend(old.into_iter().filter_map(|name| known.remove_entry(&name)));
            let words = tokio::task::spawn_blocking(move || {
                let words = |rules: RulesOver| {
                    let words = rules.moved();
                    (rules.job, (rules.revision, rules.since, words))
                };
                new.into_iter().map(words).collect::<Vec<_>>()
            });
            moved.extend(words.await?);
        }
        let changes = moved.iter().filter_map(|(name, (_, since, words))| {
            let since = Time::new(jiff::Timestamp::from_second(*since).ok()?);
            Some((name.clone(), ZoneChange { since, message: words.clone()? }))
        });
        Ok(changes.collect())
    }
}
