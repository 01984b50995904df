//! What carries an action out, of those that go to a target. A further kind of action, such as a task in
//! a queue, is one more of these; queues, shares, pace, deadlines and retries are the same for all.

use std::pin::Pin;
use std::time::Duration;

use super::answer::Report;
use super::attempt::Attempt;
use super::{Action, GrpcAction, HttpAction, PooledAction, TargetName, grpc, pooled};

/// Where an action goes.
pub(super) struct Destination<'a> {
    pub(super) target: &'a TargetName,
    /// Bytes of it, for the shares of tenants.
    pub(super) bytes: usize,
    /// From the first request to the outcome.
    pub(super) timeout: Duration,
}

/// An attempt under way.
pub(super) type Attempting<'a> = Pin<Box<dyn Future<Output = Report> + Send + 'a>>;

/// One kind of action. Must not decide whether a run is tried again.
pub(super) trait Executor: Sync {
    fn destination(&self) -> Destination<'_>;

    /// Whether the target can be asked what became of a run that an earlier process may have sent. Such
    /// a run is asked about also when it is too late to send it.
    fn can_ask(&self) -> bool;

    /// One attempt, from the first request to the outcome, under the key of the run. It is over by its
    /// deadline, and may be dropped at any moment.
    fn attempt<'a>(&'a self, attempt: &'a Attempt) -> Attempting<'a>;
}

impl Action {
    /// None for what no target is called for.
    pub(super) fn executor(&self) -> Option<&dyn Executor> {
        match self {
            Self::Http(action) => Some(action),
            Self::Grpc(action) => Some(action),
            Self::Pooled(action) => Some(action),
            Self::Errand(_) | Self::Sink => None,
        }
    }
}

impl Executor for HttpAction {
    fn destination(&self) -> Destination<'_> {
        Destination { target: &self.target, bytes: self.body.len(), timeout: self.timeout }
    }

    fn can_ask(&self) -> bool {
        self.status_uri.is_some()
    }

    fn attempt<'a>(&'a self, attempt: &'a Attempt) -> Attempting<'a> {
        Box::pin(attempt.run(self))
    }
}

impl Executor for GrpcAction {
    fn destination(&self) -> Destination<'_> {
        Destination { target: &self.target, bytes: self.body.len(), timeout: self.timeout }
    }

    fn can_ask(&self) -> bool {
        false
    }

    fn attempt<'a>(&'a self, attempt: &'a Attempt) -> Attempting<'a> {
        Box::pin(grpc::run(attempt, self))
    }
}

impl Executor for PooledAction {
    fn destination(&self) -> Destination<'_> {
        Destination { target: &self.target, bytes: self.bytes(), timeout: self.timeout }
    }

    fn can_ask(&self) -> bool {
        true
    }

    fn attempt<'a>(&'a self, attempt: &'a Attempt) -> Attempting<'a> {
        Box::pin(pooled::run(attempt, self))
    }
}
