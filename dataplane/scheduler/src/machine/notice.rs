//! Runs that somebody is to be told of because they are overdue: an outbox.
//!
//! Who is told takes it under the number of the run with a bit of its own, so that it goes the ways of
//! runs: timers, calls and outcomes. It is here until it was taken, or nobody can be told for too long.

use std::collections::BTreeMap;

use compact_str::CompactString;

use super::decide::Turn;
use super::effect::Effect;
use super::state::{State, StateError};
use super::timer::Timer;
use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::run::Outcome;

/// In the numbers of notices, and in those of no run.
const BIT: u64 = 1 << 61;
/// Pause after the first attempt in milliseconds; each is twice the one before.
const PAUSE_MS: i64 = 1_000;
const PAUSE_MS_MAX: i64 = 5 * 60 * 1_000;
/// How long it is tried, in milliseconds: a day.
const TRIED_MS: i64 = 24 * 3_600 * 1_000;

/// What is to be told of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Name of its job.
    pub job: CompactString,
    /// The second the rule named.
    pub nominal: i64,
    /// When it was launched.
    pub launched_ms: i64,
    pub finish_within_seconds: i64,
    /// When it was seen to be overdue.
    pub since_ms: i64,
}

/// By the numbers of the runs.
pub(super) type Notices = BTreeMap<u64, Notice>;

/// The run that a notice of this number is about; none for the number of a run.
pub fn run_of(number: u64) -> Option<u64> {
    (number & BIT > 0).then_some(number & !BIT)
}

/// The number of the notice about a run.
pub fn number_of(run: u64) -> u64 {
    run | BIT
}

impl State {
    /// What is to be told, by the numbers of the runs.
    pub fn notices(&self) -> impl Iterator<Item = (u64, &Notice)> {
        self.notices.iter().map(|(run, notice)| (*run, notice))
    }

    pub fn notice(&self, run: u64) -> Option<&Notice> {
        self.notices.get(&run)
    }

    /// Takes down what is to be told of a run.
    pub(super) fn add_notice(&mut self, at_ms: i64, number: u64) -> Result<(), StateError> {
        let run = self.run(number).ok_or(StateError::NoRun { run: number })?;
        let job = self.job(run.job).ok_or(StateError::NoJob { id: run.job })?;
        let notice = Notice {
            job: job.name.clone(),
            nominal: run.nominal,
            launched_ms: run.launched_ms,
            finish_within_seconds: job.definition.policies.finish_within_seconds.unwrap_or(0),
            since_ms: at_ms,
        };
        self.notices.insert(number, notice);
        Ok(())
    }
}

pub(super) fn encode(notices: &Notices, out: &mut Vec<u8>) {
    put_u64(out, notices.len() as u64);
    for (run, notice) in notices {
        put_u64(out, *run);
        put_bytes(out, notice.job.as_bytes());
        put_i64(out, notice.nominal);
        put_i64(out, notice.launched_ms);
        put_i64(out, notice.finish_within_seconds);
        put_i64(out, notice.since_ms);
    }
}

pub(super) fn read(from: &mut Reader<'_>) -> Result<Notices, Malformed> {
    let mut notices = Notices::new();
    for _ in 0..from.u64("notices")? {
        let run = from.u64("notice")?;
        let notice = Notice {
            job: from.text("notice")?.into(),
            nominal: from.i64("notice")?,
            launched_ms: from.i64("notice")?,
            finish_within_seconds: from.i64("notice")?,
            since_ms: from.i64("notice")?,
        };
        notices.insert(run, notice);
    }
    Ok(notices)
}

impl Turn<'_> {
    /// A run is overdue: somebody is told, if anybody is to be and the outbox has room.
    pub(super) fn tell_overdue(&mut self, run: u64) -> Result<(), StateError> {
        let most = self.bounds().notices_max;
        let has_job = self.state().run(run).is_some_and(|run| self.state().job(run.job).is_some());
        if most == 0 || !has_job {
            return Ok(());
        }
        if self.state().notices.len() >= most {
            self.output.untold.push(run);
            return Ok(());
        }
        self.effect(&Effect::Notice { run })?;
        self.output.calls.push(number_of(run));
        Ok(())
    }

    /// The pause of a notice is over.
    pub(super) fn tell_again(&mut self, run: u64) {
        if self.state().notice(run).is_some() {
            self.output.calls.push(number_of(run));
        }
    }

    /// What became of an attempt to tell.
    pub(super) fn told(
        &mut self,
        run: u64,
        attempt: u32,
        outcome: &Outcome,
    ) -> Result<(), StateError> {
        let Some(since_ms) = self.state().notice(run).map(|notice| notice.since_ms) else {
            return Ok(());
        };
        let is_told = matches!(outcome, Outcome::Succeeded { .. });
        // Cancelled: there is nobody to tell any more.
        let is_given_up = matches!(outcome, Outcome::Cancelled)
            || self.now_ms().saturating_sub(since_ms) >= TRIED_MS;
        if is_told || is_given_up {
            if !is_told {
                self.output.untold.push(run);
            }
            self.tried(run, None);
            return self.effect(&Effect::NoticeOver { run });
        }
        self.tried(run, Some(attempt));
        let doubled = 1_i64.checked_shl(attempt.saturating_sub(1).min(20)).unwrap_or(1);
        let pause_ms = PAUSE_MS.saturating_mul(doubled).min(PAUSE_MS_MAX);
        let at_ms = self.now_ms().saturating_add(pause_ms);
        self.output.timers.push((at_ms, Timer::Retry { run: number_of(run) }));
        Ok(())
    }
}
