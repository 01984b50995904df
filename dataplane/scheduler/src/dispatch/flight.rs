//! A call in flight: a task of its own that always comes back with a report.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::answer::Report;
use super::attempt::Attempt;
use super::client::Reach;
use super::secret::Credentials;
use crate::run::{Call, Outcome, RunId};

/// Longest attempt, so that no moment lies beyond what the clock counts.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_hours(30 * 24);

/// What came of a call in flight. It comes also from one that was dropped.
pub(super) struct Reported {
    pub(super) run: RunId,
    /// Which of the calls of this run it was.
    pub(super) sequence: u64,
    pub(super) report: Report,
}

/// Reports when it is dropped, so that no call is lost with its task.
pub(super) struct Reporter {
    to: UnboundedSender<Reported>,
    run: RunId,
    sequence: u64,
    report: Option<Report>,
}

impl Reporter {
    pub(super) fn new(to: UnboundedSender<Reported>, run: RunId, sequence: u64) -> Self {
        Self { to, run, sequence, report: None }
    }

    fn done(mut self, report: Report) {
        self.report = Some(report);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let report = self.report.take().unwrap_or_else(|| {
            Outcome::Failed { note: "the attempt broke off here".to_owned() }.into()
        });
        // Nobody is there to hear it once the loop is over.
        let _ = self.to.send(Reported { run: self.run, sequence: self.sequence, report });
    }
}

/// Starts an attempt on the runtime of the caller.
pub(super) fn start(
    call: Call,
    reach: Arc<Reach>,
    credentials: Arc<Credentials>,
    reporter: Reporter,
    now: Instant,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let action = Arc::clone(&call.action);
        let Some(executor) = action.executor() else {
            debug_assert!(false, "only what goes to a target is sent");
            return;
        };
        let deadline = now + executor.destination().timeout.min(TIMEOUT_MAX);
        let attempt = Attempt { call, reach, credentials, deadline };
        reporter.done(executor.attempt(&attempt).await);
    });
    task.abort_handle()
}
