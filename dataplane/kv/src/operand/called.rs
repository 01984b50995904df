//! One shard of a process as the management thread sees it.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use mio::Waker;
use orrery_api::kv::Layout;
use orrery_operand::OperandError;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::v1::{ObjectResult, Shard};
use tokio::sync::oneshot;

use crate::metrics::View;
use crate::persistence::declared::DeclaredSet;
use crate::persistence::snapshots::Target;
use crate::replication::lease::Moments;
use crate::serve::Member;
use crate::server::requests::{Hearer, Request};

/// How often the durable position is looked at while an answer waits for it.
const DURABLE_POLL: Duration = Duration::from_millis(1);
/// Longest wait for the disk.
const DURABLE_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for another snapshot to end.
const BUSY_WAIT: Duration = Duration::from_mins(1);
/// How often it is looked whether that has ended.
const SNAPSHOT_POLL: Duration = Duration::from_millis(50);
/// Figures of records that were put aside, and under which epoch, by the latest copy.
const LAST_DISCARDED: &str = "last_discarded_records";
const LAST_DISCARDED_EPOCH: &str = "last_discarded_epoch";

/// The way to the event loop once it runs.
#[derive(Debug, Clone)]
pub(crate) struct Loop {
    pub(crate) requests: SyncSender<Request>,
    pub(crate) waker: Arc<Waker>,
}

impl Loop {
    /// Hands a request over; fails at once when the loop is busy or gone.
    pub(crate) fn ask(&self, request: Request) -> Result<(), OperandError> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => OperandError::Unavailable("too many requests wait".into()),
            TrySendError::Disconnected(_) => OperandError::Unavailable("stopping".into()),
        })?;
        self.waker.wake().map_err(|error| OperandError::Unavailable(error.to_string()))
    }
}

impl Member {
    pub(super) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, OperandError>>) -> Request,
    ) -> Result<T, OperandError> {
        let Some(event_loop) = self.event_loop.get() else {
            return Err(OperandError::Unavailable("recovering".into()));
        };
        let (answer, answered) = oneshot::channel();
        event_loop.ask(request(answer))?;
        answered.await.map_err(|_| OperandError::Unknown("the engine stopped meanwhile".into()))?
    }

    /// Waits until `position` is on disk.
    pub(super) async fn durable(&self, position: u64) -> Result<(), OperandError> {
        let wait = async {
            while self.shared.durable.get() < position {
                if let Some(event_loop) = self.event_loop.get() {
                    // The loop publishes its figures when it is woken.
                    let _ = event_loop.waker.wake();
                }
                tokio::time::sleep(DURABLE_POLL).await;
            }
        };
        tokio::time::timeout(DURABLE_WAIT, wait)
            .await
            .map_err(|_| OperandError::Unknown("the journal did not confirm in time".into()))
    }

    /// Puts a set in force and waits until it is durable.
    pub(super) async fn declare(
        &self,
        set: DeclaredSet,
    ) -> Result<Vec<ObjectResult>, OperandError> {
        let done = self.ask(|answer| Request::Declare { set, answer }).await?;
        self.durable(done.wait_for).await?;
        Ok(done.results)
    }

    pub(super) async fn drain(&self, seconds: u32) -> Result<Finished, OperandError> {
        let finished = self.ask(|answer| Request::Drain { seconds, answer }).await?;
        self.durable(finished.position).await?;
        Ok(finished)
    }

    /// A snapshot where the journal keeps them. One that runs already is waited for.
    pub(super) async fn snapshot_of_journal(
        &self,
        on: &ProgressSender,
    ) -> Result<Finished, OperandError> {
        let until = tokio::time::Instant::now() + BUSY_WAIT;
        loop {
            let hearer = Hearer::Half(on.clone());
            let ask = |answer| Request::Snapshot { target: Target::Journal, on: hearer, answer };
            match self.ask(ask).await {
                Err(OperandError::Unavailable(_))
                    if tokio::time::Instant::now() < until && !on.is_abandoned() =>
                {
                    tokio::time::sleep(SNAPSHOT_POLL).await;
                }
                result => return result,
            }
        }
    }

    /// What it says of itself; `view` is its own, as it is now.
    pub(super) fn report(&self, view: View, cluster: Option<&Layout>) -> Shard {
        let (id, shared) = (self.id, &self.shared);
        let readiness = shared.health.readiness();
        Shard {
            id,
            slots: cluster.map_or_else(|| "0-16383".to_owned(), |layout| layout.slots_text(id)),
            epoch: view.epoch,
            durable_position: shared.durable.get(),
            role: view.role,
            ready: readiness.ready,
            degraded: readiness.ready && !readiness.reason.is_empty(),
            reason: readiness.reason,
            message: readiness.message,
            followers: view.followers,
            link: view.link,
            writable: shared.writable.get() != 0,
            durable_epoch: view.durable_epoch,
            completed_epoch: view.completed_epoch,
            known_epoch: view.known_epoch,
            // A process that is alone has no lease to renew.
            said_at: self.moments.map_or(0, Moments::now),
            whole: view.whole,
            figures: [
                ("connected_clients", &shared.connected_clients),
                ("keys", &shared.keys),
                ("used_memory_bytes", &shared.used_bytes),
                ("operations_per_second", &shared.operations_per_second),
                ("journal_position", &shared.appended),
                ("snapshot_position", &shared.snapshot_position),
                ("lag_records", &shared.lag_records),
                ("source_lag_bytes", &shared.source_lag_bytes),
                ("archived_position", &shared.archive.archived_position),
                ("archive_lag_records", &shared.archive.lag_records),
                ("archive_snapshot_position", &shared.archive.snapshot_position),
                ("recovered_position", &shared.recovered_position),
                ("discarded_records", &shared.discarded_records),
            ]
            .into_iter()
            .map(|(name, figure)| (name.to_owned(), figure.get() as i64))
            .chain([
                (LAST_DISCARDED.to_owned(), view.last_discarded.records as i64),
                (LAST_DISCARDED_EPOCH.to_owned(), view.last_discarded.epoch as i64),
            ])
            .collect(),
        }
    }
}
