//! The management protocol of this engine: what the operator asks, and the event loop's answers.
//!
//! Runs on the management thread. `Report` reads shared figures and never waits for the loop; all
//! else becomes a request to it through a bounded channel. Answers that promise durability wait
//! here for the journal, not there.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mio::Waker;
use orrery_api::Reason;
use orrery_kit::health::Readiness;
use orrery_kit::identity::Identity;
use orrery_operand::OperandError;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::Operand;
use orrery_operand::v1::{
    DeclaredSet as HeldSet, FenceResponse, FollowRequest, FollowResponse, PromoteResponse,
    RenewRequest, RenewResponse, ReportResponse, Shard, SyncRequest, SyncResponse,
};
use tokio::sync::oneshot;

use crate::archive::post::{Post, Posts};
use crate::metrics::Shared;
use crate::persistence::declared::{Declared, DeclaredSet};
use crate::persistence::snapshots::Target;
use crate::replication::grants::Members;
use crate::replication::lease::Moments;
use crate::replication::link::Primary;
use crate::server::group::roles::Renewal;
use crate::server::requests::{Hearer, Request};
use crate::volume::Volume;

/// The kind of declared objects this engine takes.
const KIND: &str = "KVNamespace";
/// How often the durable position is looked at while an answer waits for it.
const DURABLE_POLL: Duration = Duration::from_millis(1);
/// Longest wait for the disk.
const DURABLE_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked whether a journal that is carried elsewhere has been taken over.
const TAKE_OVER_POLL: Duration = Duration::from_millis(10);
/// Longest wait for that, less than callers wait; the operator asks again.
const TAKE_OVER_WAIT: Duration = Duration::from_secs(3);
/// The address of the configured archive in calls.
const ARCHIVE: &str = "archive:";
/// How often the archive is looked at while a call waits for it.
const ARCHIVE_POLL: Duration = Duration::from_millis(50);
/// Longest wait for another snapshot to end.
const BUSY_WAIT: Duration = Duration::from_mins(1);
/// Client operations per second that are called full load of one shard.
const FULL_LOAD_OPERATIONS: u64 = 400_000;

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

/// The archive of this process, for calls.
#[derive(Debug)]
pub(crate) struct Archiving {
    /// Where it is, as it was configured.
    pub(crate) to: String,
    pub(crate) posts: Arc<Posts>,
}

/// One engine process.
#[derive(Debug)]
pub(crate) struct KvOperand {
    shared: Arc<Shared>,
    config_hash: String,
    /// Set once recovery is over.
    event_loop: Arc<OnceLock<Loop>>,
    /// Of a process in a group.
    moments: Option<Moments>,
    archive: Option<Archiving>,
    identity: Option<Arc<Identity>>,
    volume: Volume,
}

impl KvOperand {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config_hash: String,
        event_loop: Arc<OnceLock<Loop>>,
        moments: Option<Moments>,
        archive: Option<Archiving>,
        identity: Option<Arc<Identity>>,
        volume: Volume,
    ) -> Self {
        Self { shared, config_hash, event_loop, moments, archive, identity, volume }
    }

    async fn ask<T>(
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
    async fn durable(&self, position: u64) -> Result<(), OperandError> {
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

    /// A new snapshot in the archive, with every record up to it.
    async fn snapshot_into_archive(&self, on: &ProgressSender) -> Result<Finished, OperandError> {
        let Some(archive) = &self.archive else {
            return Err(OperandError::Precondition("no archive is configured".into()));
        };
        let post = archive.posts.current();
        let is_mine = |post: &Arc<Post>| archive.posts.is_current(post);
        let writer = post.as_ref().and_then(|post| Some((post, post.mandate.as_ref()?)));
        let Some((post, mandate)) = writer else {
            let is_running = self.event_loop.get().is_some();
            let why = if is_running { "another process archives" } else { "recovering" };
            return Err(OperandError::Unavailable(why.into()));
        };
        let made = self.snapshot_of_journal(on).await?;
        if made.position == 0 {
            return Err(OperandError::Precondition("there is nothing to archive yet".into()));
        }
        mandate.want_snapshot(made.position);
        let shared = &self.shared;
        let mut percent = 50;
        // Figures may be those of an earlier time: what counts is said of this mandate.
        let epoch = loop {
            let (position, line) = mandate.snapshot();
            if position >= made.position {
                break line;
            }
            if !is_mine(post) {
                let why = "it is no longer this process that archives";
                return Err(OperandError::Unavailable(why.into()));
            }
            let trouble = shared.archive_trouble();
            if !trouble.is_empty() {
                return Err(OperandError::Unavailable(format!("failed to archive to {trouble}")));
            }
            if on.is_abandoned() {
                return Err(OperandError::Unavailable("nobody waits any more".into()));
            }
            // A copy may begin again: progress does not fall.
            percent = percent.max(50 + shared.archive_copy_percent.get() / 2);
            on.step("archiving", percent, 100);
            tokio::time::sleep(ARCHIVE_POLL).await;
        };
        // A later snapshot may have come first: the way to this position is there all the same.
        Ok(Finished { location: archive.to.clone(), epoch, ..made })
    }

    /// A snapshot where the journal keeps them. One that runs already is waited for.
    async fn snapshot_of_journal(&self, on: &ProgressSender) -> Result<Finished, OperandError> {
        let until = tokio::time::Instant::now() + BUSY_WAIT;
        loop {
            let hearer = Hearer::Half(on.clone());
            let ask = |answer| Request::Snapshot { target: Target::Journal, on: hearer, answer };
            match self.ask(ask).await {
                Err(OperandError::Unavailable(_))
                    if tokio::time::Instant::now() < until && !on.is_abandoned() =>
                {
                    tokio::time::sleep(ARCHIVE_POLL).await;
                }
                result => return result,
            }
        }
    }

    /// What the event loop says of itself, and whether there will be room for what it writes.
    fn readiness(&self) -> Readiness {
        let readiness = self.shared.health.readiness();
        if !readiness.ready || !readiness.reason.is_empty() {
            return readiness;
        }
        match self.volume.lack_of_room() {
            Some(message) => Readiness::new(true, Reason::VolumeFilling.as_str(), message),
            None => readiness,
        }
    }

    fn check_shard(shard: u32) -> Result<(), OperandError> {
        if shard == 0 {
            return Ok(());
        }
        Err(OperandError::Invalid(format!("there is no shard {shard}: only shard 0")))
    }
}

#[tonic::async_trait]
impl Operand for KvOperand {
    async fn report(&self) -> ReportResponse {
        let shared = &self.shared;
        let readiness = self.readiness();
        let view = shared.view();
        let durable = shared.durable.get();
        let declared_hash = shared.declared_hash();
        let mut declared = vec![];
        if !declared_hash.is_empty() {
            declared.push(HeldSet { kind: KIND.into(), set_hash: declared_hash });
        }
        let load = shared.operations_per_second.get() * 100 / FULL_LOAD_OPERATIONS;
        ReportResponse {
            system: "kv".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            role: view.role,
            epoch: view.epoch,
            durable_position: durable,
            ready: readiness.ready,
            degraded: readiness.ready && !readiness.reason.is_empty(),
            reason: readiness.reason.clone(),
            message: readiness.message.clone(),
            config_hash: self.config_hash.clone(),
            load_percent: load.min(100) as u32,
            figures: [
                ("connected_clients", &shared.connected_clients),
                ("keys", &shared.keys),
                ("used_memory_bytes", &shared.used_bytes),
                ("resident_memory_bytes", &shared.resident_bytes),
                ("operations_per_second", &shared.operations_per_second),
                ("journal_position", &shared.appended),
                ("snapshot_position", &shared.snapshot_position),
                ("lag_records", &shared.lag_records),
                ("source_lag_bytes", &shared.source_lag_bytes),
                ("archived_position", &shared.archived_position),
                ("archive_lag_records", &shared.archive_lag_records),
                ("archive_snapshot_position", &shared.archive_snapshot_position),
                ("recovered_position", &shared.recovered_position),
                ("discarded_records", &shared.discarded_records),
            ]
            .into_iter()
            .map(|(name, figure)| (name.to_owned(), figure.get() as i64))
            .chain([
                ("last_discarded_records".to_owned(), view.last_discarded.records as i64),
                ("last_discarded_epoch".to_owned(), view.last_discarded.epoch as i64),
            ])
            .collect(),
            declared,
            shards: vec![Shard {
                id: 0,
                slots: "0-16383".into(),
                epoch: view.epoch,
                durable_position: durable,
                role: view.role,
                ready: readiness.ready,
                degraded: readiness.ready && !readiness.reason.is_empty(),
                reason: readiness.reason.clone(),
                message: readiness.message.clone(),
                followers: view.followers.clone(),
                link: view.link.clone(),
                writable: shared.writable.get() != 0,
                durable_epoch: view.durable_epoch,
                completed_epoch: view.completed_epoch,
                known_epoch: view.known_epoch,
                said_at: self.moments.map_or(0, Moments::now),
                whole: view.whole,
                figures: std::collections::BTreeMap::new(),
            }],
            routes_hash: String::new(),
            durability: if view.synchronous > 0 { "replicated" } else { "disk" }.into(),
            followers: view.followers,
            link: view.link,
            writable: shared.writable.get() != 0,
            durable_epoch: view.durable_epoch,
            completed_epoch: view.completed_epoch,
            whole: view.whole,
            known_epoch: view.known_epoch,
            // A process that is alone has no lease to renew.
            said_at: self.moments.map_or(0, Moments::now),
            identity_hash: self
                .identity
                .as_ref()
                .map_or_else(String::new, |identity| identity.current().hash.clone()),
        }
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, OperandError> {
        if request.kind != KIND {
            let text = format!("{} is not taken here: only {KIND}", request.kind);
            return Err(OperandError::Invalid(text));
        }
        let parse = |spec: &[u8]| serde_json::from_slice(spec).unwrap_or(serde_json::Value::Null);
        let objects = request.objects.into_iter().map(|object| Declared {
            spec: parse(&object.spec),
            namespace: object.namespace,
            name: object.name,
            generation: object.generation,
        });
        let set = DeclaredSet { set_hash: request.set_hash.clone(), objects: objects.collect() };
        let done = self.ask(|answer| Request::Declare { set, answer }).await?;
        self.durable(done.wait_for).await?;
        Ok(SyncResponse { results: done.results, set_hash: request.set_hash })
    }

    async fn drain(&self, seconds: u32, on: ProgressSender) -> Result<Finished, OperandError> {
        on.step("finishing what was accepted", 0, 1);
        let finished = self.ask(|answer| Request::Drain { seconds, answer }).await?;
        self.durable(finished.position).await?;
        Ok(finished)
    }

    async fn promote(&self, shard: u32, epoch: u64) -> Result<PromoteResponse, OperandError> {
        Self::check_shard(shard)?;
        let until = tokio::time::Instant::now() + TAKE_OVER_WAIT;
        let granted = loop {
            let granted = self.ask(|answer| Request::Promote { epoch, answer }).await?;
            if !granted.is_under_way {
                break granted;
            }
            if tokio::time::Instant::now() >= until {
                let why = "it still reads what is carried of the journal";
                return Err(OperandError::Unavailable(why.into()));
            }
            tokio::time::sleep(TAKE_OVER_POLL).await;
        };
        Ok(PromoteResponse { epoch: granted.epoch, durable_position: granted.durable })
    }

    async fn fence(&self, shard: u32, epoch: u64) -> Result<FenceResponse, OperandError> {
        Self::check_shard(shard)?;
        let granted = self.ask(|answer| Request::Fence { epoch, answer }).await?;
        self.durable(granted.wait_for).await?;
        let durable_position = self.shared.durable.get();
        Ok(FenceResponse { epoch: granted.epoch, durable_position })
    }

    async fn follow(&self, request: FollowRequest) -> Result<FollowResponse, OperandError> {
        let FollowRequest { shard, epoch, address, mutual_tls } = request;
        Self::check_shard(shard)?;
        let primary = Primary { address, mutual_tls };
        let granted = self.ask(|answer| Request::Follow { epoch, primary, answer }).await?;
        Ok(FollowResponse { epoch: granted.epoch, durable_position: granted.durable })
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, OperandError> {
        Self::check_shard(request.shard)?;
        let members = Members {
            followers: request.followers,
            synchronous: request.synchronous,
            lease_milliseconds: request.lease_milliseconds,
        };
        let renewal = Renewal { epoch: request.epoch, members, said_at: request.said_at };
        let epoch = self.ask(|answer| Request::Renew { renewal, answer }).await?;
        Ok(RenewResponse { epoch })
    }

    async fn snapshot(&self, to: String, on: ProgressSender) -> Result<Finished, OperandError> {
        if to == ARCHIVE {
            return self.snapshot_into_archive(&on).await;
        }
        let target = Target::Folder(folder_of(&to)?);
        let on = Hearer::Whole(on);
        self.ask(|answer| Request::Snapshot { target, on, answer }).await
    }

    async fn restore(&self, from: String, on: ProgressSender) -> Result<Finished, OperandError> {
        let folder = folder_of(&from)?;
        self.ask(|answer| Request::Restore { folder, on, answer }).await
    }
}

/// The folder of a `file://` address.
fn folder_of(address: &str) -> Result<PathBuf, OperandError> {
    match address.strip_prefix("file://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(_) => Err(OperandError::Invalid(format!("{address} is no absolute path"))),
        None => Err(OperandError::Unsupported(format!("{address}: only file:// and archive:"))),
    }
}
