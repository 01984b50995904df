//! All partitions of a process together: which one has a job, what may become a job, and what is asked
//! of all of them at once.

mod batch;
mod calendar;
mod check;
mod details;
mod edits;
mod explain;
mod forecast;
mod history;
mod leaders;
mod list;
mod once;
mod outlook;
mod page;
mod pools;
mod quota;
mod recent;
mod resolve;
mod rows;
mod rules;
mod shared;
mod sync;
mod what_if;
mod zones;

use std::sync::{Arc, Mutex, PoisonError};

use orrery_api::scheduler::SchedulerConfig;
use orrery_recurrence::Zones;

pub use check::{Prepared, Refusal, RefusalReason};
pub use details::{JobDetails, shown, shown_ms};
pub use edits::{JOBS_PER_REQUEST_MAX, JobSpec};
pub use explain::{Explained, Moment};
pub use forecast::{Forecast, ForecastQuery};
pub use history::RunRecord;
pub use leaders::FOLLOWERS_MAX;
pub use list::{JobFilter, JobsPage, ListQuery, Upcoming};
pub use outlook::outlook;
pub use page::Line;
pub(crate) use pools::lane;
pub use pools::pools;
pub use recent::{RecentQuery, RunFilter};
pub(crate) use resolve::Template;
pub use resolve::{Resolver, TargetError, targets};
pub use shared::{Figures, LATENESS_BOUNDS_MS, Shared};
pub use what_if::WhatIf;

use crate::ledger::dependents;
use crate::ledger::verify::{Verdict, VerifyError, View, verify};
use crate::partition::{Handle, Unavailable};

/// Why something that was asked of the engine was not done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("there is no job {0}")]
    NoJob(String),
    #[error("there is no run {0}")]
    NoRun(String),
    #[error(
        "job {0} is declared by the Schedule of that name: change or delete the object instead"
    )]
    Declared(String),
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("the ledger cannot be read: {0}")]
    Ledger(#[from] crate::ledger::LedgerError),
    #[error("the work was given up: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    pub config: SchedulerConfig,
    pub shared: Arc<Shared>,
    pub(crate) resolver: Arc<Resolver>,
    handles: Vec<Handle>,
    pub(crate) zones: Arc<Zones>,
    /// What the newest verification found.
    verified: Mutex<Option<Verdict>>,
    declared: tokio::sync::Mutex<sync::Held>,
}

impl Engine {
    pub fn new(
        config: SchedulerConfig,
        handles: Vec<Handle>,
        zones: Arc<Zones>,
        resolver: Arc<Resolver>,
        shared: Arc<Shared>,
    ) -> Self {
        let (declared, verified) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { config, shared, resolver, handles, zones, verified, declared }
    }

    /// The partition of a job, by its name: the low bits of CRC-32C. Their number is a power of two.
    pub fn partition_of(&self, name: &str) -> u16 {
        partition_of(name, self.handles.len() as u16)
    }

    fn handle(&self, name: &str) -> &Handle {
        &self.handles[usize::from(self.partition_of(name))]
    }

    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Derives anew what should have been launched from `from` to `to`, both included, and compares it
    /// with the ledgers. `to` in the future means now. What was before every ledger begins to be whole is
    /// not judged: the verdict says from when on it is.
    pub async fn verify(&self, from: i64, to: i64, now: i64) -> Result<Verdict, EngineError> {
        let to = to.min(now);
        if from > to {
            return Err(EngineError::Invalid(format!("from {from} is behind to {to}")));
        }
        let mut from = from;
        for handle in &self.handles {
            let since_ms = handle.look(|_, ledger| ledger.known_since_ms()).await??;
            // A second is decided when it is over, or later.
            let since = since_ms.map_or(i64::MIN, |since_ms| since_ms.div_euclid(1000) + 1);
            from = from.max(since);
        }
        if from > to {
            return Ok(Verdict { from: to + 1, to, ..Verdict::default() });
        }
        let mut sum = Verdict { from, to, ..Verdict::default() };
        let mut all_told = vec![];
        for handle in &self.handles {
            let view = handle.look(|state, ledger| View::of(state, ledger.clone())).await?;
            let verified = tokio::task::spawn_blocking(move || {
                let mut verdict = verify(&view, from, to)?;
                let told = dependents::gather(&view, from, to, &mut verdict)?;
                Ok::<_, VerifyError>((verdict, told))
            });
            let (verdict, told) = verified.await??;
            sum.add(verdict);
            all_told.push(told);
        }
        dependents::compare(&all_told, from, to, &mut sum);
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(sum.clone());
        Ok(sum)
    }

    /// What the newest verification found since the process began.
    pub fn verified(&self) -> Option<Verdict> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// See [`Engine::partition_of`].
pub fn partition_of(name: &str, partitions: u16) -> u16 {
    (crc32c::crc32c(name.as_bytes()) & (u32::from(partitions) - 1)) as u16
}
