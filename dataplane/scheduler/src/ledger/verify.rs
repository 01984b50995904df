//! The proof: every second that the rules named is in the ledger once, and nothing else is.
//!
//! The seconds are derived anew, from what each job was and when; they are compared with the ledger in
//! two passes. The first keeps per job a count and a sum of mixed seconds; the second looks closely at
//! the few jobs where those differ.

use std::sync::Arc;

use compact_str::CompactString;
use foldhash::{HashMap, HashMapExt as _};
use orrery_recurrence::{Occurrences, Zone};

use super::dependents::LinksView;
use super::entry::{Entry, Fact};
use super::file::{LedgerError, LedgerView};
use super::periods::{Period, Periods, Was};
use crate::machine::definition::{Definition, DefinitionError};
use crate::machine::job::NEVER;
use crate::machine::zones::Rules;
use crate::machine::{Cause, Pause, State};

/// Found differences that are named; more are only counted.
const NAMED_MAX: usize = 100;
/// An entry may be written this long before the second it is about ends to matter, when clocks step.
pub(super) const MARGIN_MS: i64 = 86_400_000;

/// What a partition was at one moment, as a verification needs it.
#[derive(Debug)]
pub struct View {
    pub jobs: Vec<JobView>,
    pub zones: Vec<Arc<Zone>>,
    /// Every time that the rules of a zone changed.
    pub rules: Vec<Rules>,
    pub links: LinksView,
    pub ledger: LedgerView,
}

/// What a job is now.
#[derive(Debug)]
pub struct JobView {
    pub id: u64,
    pub name: CompactString,
    pub definition: Arc<Definition>,
    /// None: its rule names nothing now.
    pub times: Option<Arc<Occurrences>>,
    pub since: i64,
    /// The first second that is not decided yet; [`NEVER`] when there is none.
    pub next: i64,
    /// Seconds of the rule that wait for other runs.
    pub waiting: Vec<i64>,
    /// Seconds of runs it follows that wait for other runs of it.
    pub waiting_after: Vec<i64>,
}

impl View {
    pub fn of(state: &State, ledger: LedgerView) -> Self {
        let waiting = |job: &crate::machine::Job, is_wanted: fn(Cause) -> bool| {
            let all = state.activity(job).into_iter().flat_map(|activity| &activity.waiting);
            all.filter(|waits| is_wanted(waits.cause)).map(|waits| waits.nominal).collect()
        };
        let view = |job: &crate::machine::Job| JobView {
            id: job.id,
            name: job.name.clone(),
            definition: Arc::clone(&job.definition),
            times: job.times().cloned().filter(|_| job.fires()),
            since: job.since,
            next: job.next,
            waiting: waiting(job, Cause::is_scheduled),
            waiting_after: waiting(job, |cause| cause == Cause::Dependency),
        };
        Self {
            jobs: state.jobs().map(view).collect(),
            zones: state.zones().to_vec(),
            rules: state.rules().to_vec(),
            links: LinksView::of(state.links()),
            ledger,
        }
    }
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// First and last second that were looked at.
    pub from: i64,
    pub to: i64,
    /// Jobs that are there now.
    pub jobs: u64,
    /// Seconds that the rules named and that are decided, and ends of runs that others follow.
    pub expected: u64,
    /// Of those, launched.
    pub launched: u64,
    /// Of those, passed over for a stated reason.
    pub skipped: u64,
    /// Of those, waiting for a run before them.
    pub waiting: u64,
    /// Named by a rule, and due later or only now.
    pub pending: u64,
    /// In no entry.
    pub missed: u64,
    /// Launched or passed over more than once.
    pub duplicated: u64,
    /// In the ledger, and named by no rule.
    pub unexpected: u64,
    /// Times of which nothing says what a job was.
    pub gaps: u64,
    /// The first differences, in words.
    pub differences: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.missed == 0 && self.duplicated == 0 && self.unexpected == 0 && self.gaps == 0
    }

    /// Adds what was found in another partition.
    pub fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.expected += other.expected;
        self.launched += other.launched;
        self.skipped += other.skipped;
        self.waiting += other.waiting;
        self.pending += other.pending;
        self.missed += other.missed;
        self.duplicated += other.duplicated;
        self.unexpected += other.unexpected;
        self.gaps += other.gaps;
        let room = NAMED_MAX.saturating_sub(self.differences.len());
        self.differences.extend(other.differences.into_iter().take(room));
    }
}

/// Failed to verify: nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("a definition in the ledger cannot be read: {0}")]
    Definition(#[from] DefinitionError),
    #[error("the ledger names time zone {0}, which is not there")]
    NoZone(u32),
}

/// Seconds of one job, as a count and a sum of mixed seconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) count: u64,
    sum: u64,
}

impl Tally {
    pub(super) fn add(&mut self, nominal: i64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(orrery_kit::mix::mix(nominal as u64));
    }
}

#[derive(Debug, Default)]
struct Known {
    name: CompactString,
    recorded: Tally,
    ranges: Vec<(i64, i64)>,
    periods: Vec<Period>,
}

/// Compares rules and ledger for the seconds from `from` to `to`, both included.
pub fn verify(view: &View, from: i64, to: i64) -> Result<Verdict, VerifyError> {
    let mut verdict = Verdict { from, to, jobs: view.jobs.len() as u64, ..Verdict::default() };
    let mut known = gather(view, from, to, &mut verdict)?;
    let mut unlike: HashMap<u64, Vec<i64>> = HashMap::new();
    for (id, job) in &mut known {
        job.periods.sort_by_key(|period| (period.since, period.until));
        let mut expected = Tally::default();
        let mut all = vec![];
        each_expected(job, from, to, |nominal, is_in_range| {
            verdict.expected += 1;
            if is_in_range {
                verdict.skipped += 1;
            } else {
                expected.add(nominal);
            }
        });
        for pair in job.periods.windows(2) {
            if pair[0].until != pair[1].since && pair[1].since >= from {
                verdict.gaps += 1;
                all.push(format!("{}: nothing says what it was after {}", job.name, pair[0].until));
            }
        }
        if expected != job.recorded {
            unlike.insert(*id, vec![]);
        }
        name(&mut verdict, all);
    }
    if !unlike.is_empty() {
        look_closely(view, from, to, &known, unlike, &mut verdict)?;
    }
    Ok(verdict)
}

pub(super) fn name(verdict: &mut Verdict, differences: Vec<String>) {
    let room = NAMED_MAX.saturating_sub(verdict.differences.len());
    verdict.differences.extend(differences.into_iter().take(room));
}

fn each_expected(job: &Known, from: i64, to: i64, mut with: impl FnMut(i64, bool)) {
    for period in &job.periods {
        let Some(times) = &period.times else { continue };
        let last = period.until.min(to);
        let mut at = period.since.max(from - 1);
        while let Some(nominal) = times.next_after(at).filter(|nominal| *nominal <= last) {
            let is_in = |range: &(i64, i64)| range.0 < nominal && nominal <= range.1;
            with(nominal, job.ranges.iter().any(is_in));
            at = nominal;
        }
    }
}

/// What the ledger says, and what the jobs are now.
fn gather(
    view: &View,
    from: i64,
    to: i64,
    verdict: &mut Verdict,
) -> Result<HashMap<u64, Known>, VerifyError> {
    let mut known: HashMap<u64, Known> = HashMap::new();
    let mut periods = Periods::of_view(view, from);
    let mut failed = None;
    let since_ms = from.saturating_mul(1000).saturating_sub(MARGIN_MS);
    let within = |nominal: i64| (from..=to).contains(&nominal);
    view.ledger.scan(since_ms, |_, entry| {
        let Entry { job, fact, .. } = entry;
        match fact {
            Fact::Launched { nominal, cause, .. } if cause.is_scheduled() && within(nominal) => {
                verdict.launched += 1;
                known.entry(job).or_default().recorded.add(nominal);
            }
            Fact::Skipped { nominal, cause, .. } if cause.is_scheduled() && within(nominal) => {
                verdict.skipped += 1;
                known.entry(job).or_default().recorded.add(nominal);
            }
            Fact::SkippedRange { after, until, .. } if until >= from && after < to => {
                known.entry(job).or_default().ranges.push((after, until));
            }
            Fact::Period { put, until, pause } if until >= from && put.after < to => {
                let was = Was {
                    name: put.name,
                    text: put.definition,
                    zone: put.zone,
                    since: put.after,
                    until,
                    fires: pause == Pause::None,
                };
                match periods.of(&was, None) {
                    Ok(found) => {
                        let job = known.entry(job).or_default();
                        job.name = put.name.into();
                        job.periods.extend(found);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            _ => {}
        }
        failed.is_none()
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    for job in &view.jobs {
        // Decided is what is before the next second, and everything where there is none.
        let until = if job.next == NEVER { i64::MAX } else { job.next - 1 };
        if let Some(times) = &job.times {
            let behind = until.max(from - 1).max(job.since);
            if behind < to {
                verdict.pending += times.count_between(behind, to);
            }
        }
        let job_known = known.entry(job.id).or_default();
        job_known.name.clone_from(&job.name);
        for nominal in job.waiting.iter().filter(|nominal| within(**nominal)) {
            verdict.waiting += 1;
            job_known.recorded.add(*nominal);
        }
        if job.since >= to {
            continue;
        }
        let was = Was {
            name: &job.name,
            text: &job.definition.text,
            zone: job.definition.zone,
            since: job.since,
            until: until.max(job.since),
            fires: job.times.is_some(),
        };
        job_known.periods.extend(periods.of(&was, job.times.clone())?);
    }
    Ok(known)
}

/// Names what differs at the jobs whose tallies do.
fn look_closely(
    view: &View,
    from: i64,
    to: i64,
    known: &HashMap<u64, Known>,
    mut unlike: HashMap<u64, Vec<i64>>,
    verdict: &mut Verdict,
) -> Result<(), VerifyError> {
    let since_ms = from.saturating_mul(1000).saturating_sub(MARGIN_MS);
    let mut record = |job: u64, nominal: i64, cause: Cause| {
        if cause.is_scheduled()
            && (from..=to).contains(&nominal)
            && let Some(seconds) = unlike.get_mut(&job)
        {
            seconds.push(nominal);
        }
    };
    view.ledger.scan(since_ms, |_, entry| {
        match entry.fact {
            Fact::Launched { nominal, cause, .. } | Fact::Skipped { nominal, cause, .. } => {
                record(entry.job, nominal, cause);
            }
            _ => {}
        }
        true
    })?;
    for job in &view.jobs {
        job.waiting.iter().for_each(|nominal| record(job.id, *nominal, Cause::Schedule));
    }
    for (id, mut recorded) in unlike {
        let Some(job) = known.get(&id) else { continue };
        recorded.sort_unstable();
        let mut expected = vec![];
        each_expected(job, from, to, |nominal, is_in_range| {
            if !is_in_range {
                expected.push(nominal);
            }
        });
        expected.sort_unstable();
        let mut found = vec![];
        let mut seen = recorded.as_slice();
        for nominal in expected {
            while let Some((first, rest)) = seen.split_first().filter(|(f, _)| **f < nominal) {
                seen = rest;
                verdict.unexpected += 1;
                found.push(format!("{}: {first} is in the ledger and in no rule", job.name));
            }
            let count = seen.iter().take_while(|second| **second == nominal).count();
            seen = &seen[count..];
            match count {
                0 => {
                    verdict.missed += 1;
                    found.push(format!("{}: {nominal} was missed", job.name));
                }
                1 => {}
                more => {
                    verdict.duplicated += more as u64 - 1;
                    found.push(format!("{}: {nominal} was decided {more} times", job.name));
                }
            }
        }
        verdict.unexpected += seen.len() as u64;
        for nominal in seen {
            found.push(format!("{}: {nominal} is in the ledger and in no rule", job.name));
        }
        name(verdict, found);
    }
    Ok(())
}
