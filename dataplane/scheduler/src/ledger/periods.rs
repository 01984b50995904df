//! What jobs were when, for the proof: a stretch of time under one rule. Rules of time zones that changed
//! meanwhile cut it.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use orrery_recurrence::Occurrences;

use super::verify::{VerifyError, View};
use crate::machine::definition::Definition;

/// Seconds behind `since` up to `until` that these times name.
#[derive(Debug)]
pub(super) struct Period {
    pub(super) times: Option<Arc<Occurrences>>,
    pub(super) since: i64,
    pub(super) until: i64,
}

/// What a job was for a while.
#[derive(Debug)]
pub(super) struct Was<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// Index of the rules of its zone at the end of that while.
    pub(super) zone: u32,
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) fires: bool,
}

/// Makes periods; what was compiled once is not compiled again.
#[derive(Debug)]
pub(super) struct Periods<'a> {
    view: &'a View,
    /// Nothing before is looked at.
    from: i64,
    compiled: HashMap<(Box<str>, u32), Arc<Definition>>,
}

impl<'a> Periods<'a> {
    pub(super) fn of_view(view: &'a View, from: i64) -> Self {
        Self { view, from, compiled: HashMap::new() }
    }

    /// The periods of what a job was, the newest first. `times` are those of its end, if they are known.
    pub(super) fn of(
        &mut self,
        was: &Was<'_>,
        times: Option<Arc<Occurrences>>,
    ) -> Result<Vec<Period>, VerifyError> {
        let mut found = vec![];
        let (mut zone, mut until, mut times) = (was.zone, was.until, times);
        loop {
            let cut =
                self.view.rules.iter().rfind(|rules| {
                    rules.to == zone && was.since < rules.after && rules.after <= until
                });
            let since = cut.map_or(was.since, |rules| rules.after);
            let times = match times.take() {
                None if was.fires => self.times(was, zone)?,
                times => times,
            };
            found.push(Period { times, since, until });
            match cut.filter(|_| since >= self.from) {
                Some(rules) => (zone, until) = (rules.from, rules.after),
                None => return Ok(found),
            }
        }
    }

    fn times(&mut self, was: &Was<'_>, zone: u32) -> Result<Option<Arc<Occurrences>>, VerifyError> {
        let rules = self.view.zones.get(zone as usize).ok_or(VerifyError::NoZone(zone))?;
        let key = (Box::from(was.text), zone);
        let definition = if let Some(known) = self.compiled.get(&key) {
            Arc::clone(known)
        } else {
            let new = Arc::new(Definition::compile(was.text, zone, rules)?);
            self.compiled.insert(key, Arc::clone(&new));
            new
        };
        let times = definition.times_of(was.name, rules)?;
        Ok(times.filter(|_| !definition.policies.suspend))
    }
}
