//! Other rules for a time zone: jobs go over to them at one second, all at once.
//!
//! What was decided stays decided. Up to a second, [`Rules::after`], the old rules held, behind it the
//! new ones; that is one effect however many jobs there are, and the proof derives each side by its own
//! rules. A job always is under the newest rules of its zone that its rule can be compiled with.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use orrery_recurrence::{Seconds, Zone};

use super::decide::Turn;
use super::definition::Definition;
use super::edit::Settle;
use super::effect::Effect;
use super::job::NEVER;
use super::state::{State, StateError};
use crate::ledger::entry::Fact;

/// Jobs under the rules of one index went over to those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub from: u32,
    pub to: u32,
    /// The last second of the old rules.
    pub after: Seconds,
}

impl State {
    /// Every time that rules changed, in order.
    pub fn rules(&self) -> &[Rules] {
        &self.rules
    }

    /// The index of the rules that jobs are under which were under those of `zone`.
    pub(super) fn newest_rules(&self, zone: u32) -> u32 {
        let next = |zone, rules: &Rules| if rules.from == zone { rules.to } else { zone };
        self.rules.iter().fold(zone, next)
    }

    /// The rules that jobs of a zone are under, if there ever were such jobs.
    pub fn current_rules(&self, name: &str) -> Option<&Arc<Zone>> {
        let known = self.zones.iter().rposition(|zone| zone.name() == name)?;
        self.zones.get(self.newest_rules(known as u32) as usize)
    }

    /// Zones that jobs are in, by the index of their rules.
    pub fn zones_in_use(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.definitions.all().map(|definition| definition.zone).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// When the rules changed that a job is under, if it was there before.
    pub fn rules_since(&self, job: &super::Job) -> Option<Seconds> {
        self.rules_over(job).map(|rules| rules.after)
    }

    /// The newest change of the rules that a job is under, if it was there before.
    pub fn rules_over(&self, job: &super::Job) -> Option<Rules> {
        let of_zone = |rules: &&Rules| rules.to == job.definition.zone;
        let newest = self.rules.iter().rfind(of_zone)?;
        Some(*newest).filter(|rules| job.since < rules.after)
    }

    pub(super) fn change_rules(
        &mut self,
        at_ms: i64,
        rules: Rules,
        ledger: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        let zone =
            self.zones.get(rules.to as usize).ok_or(StateError::NoZone { zone: rules.to })?;
        let zone = Arc::clone(zone);
        let old: Vec<Arc<Definition>> =
            self.definitions.all().filter(|one| one.zone == rules.from).cloned().collect();
        let mut new: HashMap<*const Definition, Arc<Definition>> = HashMap::new();
        for definition in &old {
            // A rule that names nothing under the new rules stays under the old ones.
            if let Ok(compiled) = self.definitions.get(&definition.text, rules.to, &zone) {
                new.insert(Arc::as_ptr(definition), compiled);
            }
        }
        for job in self.slots.jobs_mut() {
            let Some(definition) = new.get(&Arc::as_ptr(&job.definition)) else { continue };
            let Ok(times) = definition.own_times(&job.name, &zone) else { continue };
            job.definition = Arc::clone(definition);
            job.set_times(times);
            job.after = job.after.max(rules.after);
            job.follow();
        }
        drop(new);
        for definition in old {
            self.definitions.release(definition);
        }
        self.rules.push(rules);
        let Rules { from, to, after } = rules;
        self.note(at_ms, 0, Fact::Rules { name: zone.name(), from, to, after }, ledger);
        Ok(())
    }
}

impl Turn<'_> {
    /// Index of the rules of a zone, which are written down if they are new. Rules that are new, of a
    /// zone that is known, are those of all its jobs from now on.
    pub fn zone(&mut self, zone: &Arc<Zone>) -> Result<u32, StateError> {
        let is_same =
            |known: &Arc<Zone>| known.name() == zone.name() && known.tzif() == zone.tzif();
        if let Some(index) = self.state().zones().iter().rposition(is_same) {
            return Ok(self.state().newest_rules(index as u32));
        }
        let known = self.state().zones().iter().rposition(|known| known.name() == zone.name());
        self.effect(&Effect::Zone { name: zone.name(), tzif: zone.tzif() })?;
        let index = self.state().zones().len() as u32 - 1;
        if let Some(known) = known {
            let known = self.state().newest_rules(known as u32);
            self.change_rules(known, index)?;
        }
        Ok(index)
    }

    /// The database has these rules for a zone now: its jobs are under them from now on. Gives whether
    /// they were under others.
    pub fn new_rules(&mut self, zone: &Arc<Zone>) -> Result<bool, StateError> {
        let changes = self.state().rules().len();
        let index = self.zone(zone)?;
        let is_under = self.state().zones()[index as usize].tzif() == zone.tzif();
        if !is_under {
            // Rules that held before hold again.
            let is_same =
                |known: &Arc<Zone>| known.name() == zone.name() && known.tzif() == zone.tzif();
            if let Some(known) = self.state().zones().iter().rposition(is_same) {
                self.change_rules(index, known as u32)?;
            }
        }
        Ok(self.state().rules().len() > changes)
    }

    fn change_rules(&mut self, from: u32, to: u32) -> Result<(), StateError> {
        let now = self.now_s();
        let of_zone = |job: &&super::Job| job.definition.zone == from;
        let due: Vec<u64> = {
            let jobs = self.state().jobs().filter(of_zone);
            jobs.filter(|job| job.next <= now).map(|job| job.id).collect()
        };
        for id in due {
            self.settle(id, Settle::LaunchAll)?;
        }
        // A clock that stepped back finds later seconds decided.
        let decided = self.state().jobs().filter(of_zone).map(|job| job.after).max();
        let after = decided.unwrap_or(now).max(now);
        self.effect(&Effect::Rules { from, to, after })?;
        let moved = self.state().jobs().filter(|job| job.definition.zone == to);
        let moved = moved.filter(|job| job.next != NEVER && job.planned_ms().is_none());
        let moved: Vec<u64> = moved.map(|job| job.id).collect();
        moved.into_iter().try_for_each(|id| self.due(id))
    }
}
