//! What a change of a Schedule does to its runs, said by whoever has only the objects.

use std::sync::Arc;

use foldhash::HashMap;
use orrery_api::scheduler::DeclaredSchedule;
use orrery_operand::v1::DeclaredObject;
use orrery_recurrence::Zones;

use super::check::Refusal;
use super::explain::{follows_in_words, times_of};
use super::what_if::{WhatIf, compare};
use super::{Engine, EngineError};

/// Objects of one set whose changes are put into words; of more, nobody reads them.
const CHANGES_MAX: usize = 100;

/// Compares what a job of this name was with what it is to be; what was refused counts as nothing.
///
/// # Errors
/// When the new one cannot be a job for what its rule says.
pub fn outlook(
    name: &str,
    old: Option<DeclaredSchedule>,
    new: DeclaredSchedule,
    zones: &Zones,
    now: i64,
) -> Result<WhatIf, Refusal> {
    let fires = |declared: &DeclaredSchedule| !declared.spec.suspend;
    let old = old.filter(fires).and_then(|old| times_of(zones, name, old).ok()?.1);
    let is_suspended = new.spec.suspend;
    let follows = new.spec.when.after.as_ref().map(follows_in_words);
    let (zone, new) = times_of(zones, name, new)?;
    let new = new.filter(|_| !is_suspended);
    Ok(compare(name.to_owned(), 0, old.as_deref(), new.as_deref(), &zone, follows, now))
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
        // What is there of each; nothing of one whose generation is there.
        let mut known: HashMap<String, Option<DeclaredSchedule>> = HashMap::default();
        for handle in self.handles() {
            let wanted = Arc::clone(&wanted);
            let looked = handle.look(move |state, _| {
                let jobs = state.jobs().filter(|job| job.is_declared());
                let read = jobs.filter_map(|job| {
                    let is_new = *wanted.get(&*job.name)? != job.generation();
                    let declared =
                        if is_new { Some(job.definition.declared().ok()?) } else { None };
                    Some((job.name.to_string(), declared))
                });
                read.collect::<Vec<_>>()
            });
            known.extend(looked.await?);
        }
        let changed: Vec<(String, Option<DeclaredSchedule>, Vec<u8>)> = objects
            .iter()
            .filter_map(|object| match known.remove(&object.name) {
                Some(None) => None,
                known => Some((object.name.clone(), known.flatten(), object.spec.clone())),
            })
            .take(CHANGES_MAX)
            .collect();
        let zones = self.zones.clone();
        let said = tokio::task::spawn_blocking(move || {
            let words = |(name, old, spec): (String, Option<DeclaredSchedule>, Vec<u8>)| {
                let new = serde_json::from_slice(&spec).ok()?;
                let is_new = old.is_none();
                let said = outlook(&name, old, new, &zones, now).ok()?.in_words(is_new);
                Some((name, said.join("; ")))
            };
            changed.into_iter().filter_map(words).collect()
        });
        Ok(said.await?)
    }
}
