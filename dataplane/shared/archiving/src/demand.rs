//! Waiting for what was asked for to be in the archive.
//!
//! Must not: ask for it in the journal. Whoever waits has had that done.

use std::sync::Arc;
use std::time::Duration;

use super::figures::Figures;
use super::post::{Mandate, Post, Posts};

/// How often the archive is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What was asked for is not in the archive, or not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DemandError {
    #[error("it is no longer this process that archives")]
    Replaced,
    #[error("failed to archive to {0}")]
    Failing(String),
    #[error("nobody waits any more")]
    Abandoned,
}

/// The post that is waited at: whoever writes the archive.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    pub posts: &'a Posts,
    pub post: &'a Arc<Post>,
    pub mandate: &'a Mandate,
    pub figures: &'a Figures,
}

impl At<'_> {
    /// Wants the journal's snapshot of `position`, or a later one, and waits until the archive has it;
    /// gives the line it is on. `goes_on` is told how much of a copy is there, in percent, and says
    /// whether anybody still waits.
    pub async fn snapshot(
        &self,
        position: u64,
        goes_on: impl FnMut(u64) -> bool,
    ) -> Result<u64, DemandError> {
        self.mandate.want_snapshot(position);
        let there = || {
            let (newest, line) = self.mandate.snapshot();
            (newest >= position).then_some(line)
        };
        self.wait(there, goes_on).await
    }

    /// Wants every record up to `position` at once, and waits until the archive has them.
    pub async fn records(
        &self,
        position: u64,
        goes_on: impl FnMut(u64) -> bool,
    ) -> Result<(), DemandError> {
        self.mandate.want_records(position);
        self.wait(
            || self.mandate.archived().filter(|archived| *archived >= position).map(drop),
            goes_on,
        )
        .await
    }

    async fn wait<T>(
        &self,
        there: impl Fn() -> Option<T>,
        mut goes_on: impl FnMut(u64) -> bool,
    ) -> Result<T, DemandError> {
        loop {
            // Figures may be those of an earlier time: what counts is said of this mandate.
            if let Some(found) = there() {
                return Ok(found);
            }
            if !self.posts.is_current(self.post) {
                return Err(DemandError::Replaced);
            }
            let trouble = self.figures.trouble();
            if !trouble.is_empty() {
                return Err(DemandError::Failing(trouble));
            }
            if !goes_on(self.figures.copy_percent.get()) {
                return Err(DemandError::Abandoned);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
