//! What rules mean, seen from outside.

mod cron;
mod forms;
mod fuzz;
mod ical;
mod model;
mod occurrences;
mod zones;

use std::sync::Arc;

use crate::{Dialect, Dst, Options, Rule, RuleError, Seconds, When, Zone, Zones};

/// UTC seconds of `2027-03-28T01:00:00`.
pub(crate) fn utc(text: &str) -> Seconds {
    text.parse::<jiff::civil::DateTime>()
        .unwrap()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .unwrap()
        .timestamp()
        .as_second()
}

pub(crate) fn show(at: Seconds) -> String {
    crate::civil::local_text(at)
}

pub(crate) fn zone(name: &str) -> Arc<Zone> {
    Zones::bundled().get(name).unwrap()
}

pub(crate) fn compile(
    text: &str,
    dialect: Dialect,
    zone: Arc<Zone>,
    dst: Dst,
) -> Result<Rule, RuleError> {
    Rule::compile(&When::Cron { text, dialect }, &Options { zone, dst, hash_seed: "seed" })
}

pub(crate) fn cron(text: &str) -> Rule {
    compile(text, Dialect::Vixie, Zone::utc(), Dst::default()).unwrap()
}

/// The next `n` instants after a moment, as text.
pub(crate) fn nexts(rule: &Rule, after: &str, n: usize) -> Vec<String> {
    rule.iter_after(utc(after)).take(n).map(show).collect()
}

#[test]
fn rules_are_small_and_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Rule>();
    shared::<crate::Occurrences>();
    shared::<Zones>();
    assert!(size_of::<Rule>() <= 96, "a million jobs hold them: {}", size_of::<Rule>());
}
