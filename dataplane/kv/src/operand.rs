//! The management protocol of this engine: what the operator asks, and the event loop's answers.
//!
//! Runs on the management thread. `Report` reads shared figures and never waits for the loop; all
//! else becomes a request to it through a bounded channel. Answers that promise durability wait
//! here for the journal, not there.

mod called;
mod together;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use orrery_api::Reason;
use orrery_api::kv::Layout;
use orrery_archiving::demand::At;
use orrery_archiving::post::Posts;
use orrery_kit::health::{Health, Readiness};
use orrery_kit::identity::Identity;
use orrery_operand::OperandError;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::Operand;
use orrery_operand::v1::{
    DeclaredSet as HeldSet, FenceResponse, FollowRequest, FollowResponse, PromoteResponse,
    RenewRequest, RenewResponse, ReportResponse, RouteRequest, RouteResponse, SyncRequest,
    SyncResponse,
};

use crate::cluster::{Known, Topology};
use crate::persistence::declared::{Declared, DeclaredSet};
use crate::persistence::snapshots::Target;
use crate::replication::grants::Members;
use crate::replication::link::Primary;
use crate::serve::Member;
use crate::server::group::roles::Renewal;
use crate::server::requests::{Hearer, Request};
use orrery_kit::volume::Volume;

pub(crate) use self::called::Loop;
use self::together::{merge, sum};

/// The kind of declared objects this engine takes.
const KIND: &str = "KVNamespace";
/// How often it is looked whether a journal that is carried elsewhere has been taken over.
const TAKE_OVER_POLL: Duration = Duration::from_millis(10);
/// Longest wait for that, less than callers wait; the operator asks again.
const TAKE_OVER_WAIT: Duration = Duration::from_secs(3);
/// The address of the configured archive in calls.
const ARCHIVE: &str = "archive:";

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
    /// By id; at least one.
    shards: Vec<Member>,
    /// Of all of them.
    health: Health,
    /// Of a process whose object has its keys spread over shards.
    cluster: Option<(Layout, Arc<Known>)>,
    config_hash: String,
    archive: Option<Archiving>,
    identity: Option<Arc<Identity>>,
    volume: Volume,
}

impl KvOperand {
    pub(crate) fn new(
        shards: Vec<Member>,
        health: Health,
        cluster: Option<(Layout, Arc<Known>)>,
        config_hash: String,
        archive: Option<Archiving>,
        identity: Option<Arc<Identity>>,
        volume: Volume,
    ) -> Self {
        Self { shards, health, cluster, config_hash, archive, identity, volume }
    }

    /// A new snapshot in the archive, with every record up to it.
    async fn snapshot_into_archive(&self, on: &ProgressSender) -> Result<Finished, OperandError> {
        let Some(archive) = &self.archive else {
            return Err(OperandError::Precondition("no archive is configured".into()));
        };
        let shard = self.only()?;
        let post = archive.posts.current();
        let writer = post.as_ref().and_then(|post| Some((post, post.mandate.as_ref()?)));
        let Some((post, mandate)) = writer else {
            let is_running = shard.event_loop.get().is_some();
            let why = if is_running { "another process archives" } else { "recovering" };
            return Err(OperandError::Unavailable(why.into()));
        };
        let made = shard.snapshot_of_journal(on).await?;
        if made.position == 0 {
            return Err(OperandError::Precondition("there is nothing to archive yet".into()));
        }
        let at = At { posts: &archive.posts, post, mandate, figures: &shard.shared.archive };
        let mut percent = 50;
        let archived = at.snapshot(made.position, |copied| {
            // A copy may begin again: progress does not fall.
            percent = percent.max(50 + copied / 2);
            on.step("archiving", percent, 100);
            !on.is_abandoned()
        });
        let epoch = archived.await.map_err(|error| OperandError::Unavailable(error.to_string()))?;
        // A later snapshot may have come first: the way to this position is there all the same.
        Ok(Finished { location: archive.to.clone(), epoch, ..made })
    }

    /// What the shards say of themselves, and whether there will be room for what they write.
    fn readiness(&self) -> Readiness {
        let readiness = self.health.readiness();
        if !readiness.ready || !readiness.reason.is_empty() {
            return readiness;
        }
        match self.volume.lack_of_room() {
            Some(message) => Readiness::new(true, Reason::VolumeFilling.as_str(), message),
            None => readiness,
        }
    }

    fn shard(&self, id: u32) -> Result<&Member, OperandError> {
        let found = self.shards.iter().find(|shard| shard.id == id);
        found.ok_or_else(|| {
            let all: Vec<String> = self.shards.iter().map(|s| s.id.to_string()).collect();
            OperandError::Invalid(format!("there is no shard {id} here: only {}", all.join(", ")))
        })
    }

    /// The only shard, for what several cannot do together.
    fn only(&self) -> Result<&Member, OperandError> {
        match &*self.shards {
            [only] => Ok(only),
            _ => Err(OperandError::Unsupported("this process has several shards".into())),
        }
    }

    /// Where an image of a shard is: with several, each has a folder of its own.
    fn image(&self, folder: &Path, shard: &Member) -> PathBuf {
        match &*self.shards {
            [_] => folder.to_owned(),
            _ => folder.join(format!("shard-{}", shard.id)),
        }
    }
}

#[tonic::async_trait]
impl Operand for KvOperand {
    async fn report(&self) -> ReportResponse {
        let readiness = self.readiness();
        let layout = self.cluster.as_ref().map(|(layout, _)| layout);
        let (mut shards, mut is_replicated) = (vec![], true);
        for shard in &self.shards {
            let view = shard.shared.view();
            is_replicated &= view.synchronous > 0;
            shards.push(shard.report(view, layout));
        }
        // A set is held once every shard holds it.
        let hashes = || self.shards.iter().map(|shard| shard.shared.declared_hash());
        let mut declared = vec![];
        if let Some(set_hash) = hashes().next().filter(|hash| !hash.is_empty())
            && hashes().all(|hash| hash == set_hash)
        {
            declared.push(HeldSet { kind: KIND.into(), set_hash });
        }
        let of_all = ReportResponse {
            system: "kv".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ready: readiness.ready,
            degraded: readiness.ready && !readiness.reason.is_empty(),
            reason: readiness.reason,
            message: readiness.message,
            config_hash: self.config_hash.clone(),
            declared,
            durability: if is_replicated { "replicated" } else { "disk" }.into(),
            identity_hash: self
                .identity
                .as_ref()
                .map_or_else(String::new, |identity| identity.current().hash.clone()),
            routes_hash: self
                .cluster
                .as_ref()
                .map_or_else(String::new, |(_, known)| known.get().hash.clone()),
            ..ReportResponse::default()
        };
        sum(of_all, shards)
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
        let set = DeclaredSet {
            set_hash: request.set_hash.clone(),
            of_shards: self.cluster.as_ref().map_or(0, |(layout, _)| layout.shards),
            objects: objects.collect(),
        };
        let asked = self.shards.iter().map(|shard| shard.declare(set.clone()));
        let answers = join_all(asked).await;
        let mut results = vec![];
        for answer in answers {
            merge(&mut results, answer?);
        }
        Ok(SyncResponse { results, set_hash: request.set_hash })
    }

    async fn drain(&self, seconds: u32, on: ProgressSender) -> Result<Finished, OperandError> {
        on.step("finishing what was accepted", 0, 1);
        let asked = self.shards.iter().map(|shard| shard.drain(seconds));
        let mut all = Finished::default();
        for finished in join_all(asked).await {
            let finished = finished?;
            all = Finished { position: all.position + finished.position, ..finished };
        }
        Ok(all)
    }

    async fn promote(&self, shard: u32, epoch: u64) -> Result<PromoteResponse, OperandError> {
        let shard = self.shard(shard)?;
        let until = tokio::time::Instant::now() + TAKE_OVER_WAIT;
        let granted = loop {
            let granted = shard.ask(|answer| Request::Promote { epoch, answer }).await?;
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
        let shard = self.shard(shard)?;
        let granted = shard.ask(|answer| Request::Fence { epoch, answer }).await?;
        shard.durable(granted.wait_for).await?;
        let durable_position = shard.shared.durable.get();
        Ok(FenceResponse { epoch: granted.epoch, durable_position })
    }

    async fn follow(&self, request: FollowRequest) -> Result<FollowResponse, OperandError> {
        let FollowRequest { shard, epoch, address, mutual_tls } = request;
        let shard = self.shard(shard)?;
        let primary = Primary { address, mutual_tls };
        let granted = shard.ask(|answer| Request::Follow { epoch, primary, answer }).await?;
        Ok(FollowResponse { epoch: granted.epoch, durable_position: granted.durable })
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, OperandError> {
        let shard = self.shard(request.shard)?;
        let members = Members {
            followers: request.followers,
            synchronous: request.synchronous,
            lease_milliseconds: request.lease_milliseconds,
        };
        let renewal = Renewal { epoch: request.epoch, members, said_at: request.said_at };
        let epoch = shard.ask(|answer| Request::Renew { renewal, answer }).await?;
        Ok(RenewResponse { epoch })
    }

    async fn route(&self, request: RouteRequest) -> Result<RouteResponse, OperandError> {
        let Some((layout, known)) = &self.cluster else {
            return Err(OperandError::Unsupported("one shard has all keys here".into()));
        };
        let told = Topology::of(request, layout);
        let told = told.map_err(|error| OperandError::Invalid(error.to_string()))?;
        let hash = told.hash.clone();
        known.set(told);
        Ok(RouteResponse { hash })
    }

    async fn snapshot(&self, to: String, on: ProgressSender) -> Result<Finished, OperandError> {
        if to == ARCHIVE {
            return self.snapshot_into_archive(&on).await;
        }
        let folder = folder_of(&to)?;
        let mut all = Finished { location: to, ..Finished::default() };
        for shard in &self.shards {
            let target = Target::Folder(self.image(&folder, shard));
            let on = on.clone();
            let ask = |answer| Request::Snapshot { target, on: Hearer::Whole(on), answer };
            let done = shard.ask(ask).await?;
            if self.shards.len() == 1 {
                return Ok(done);
            }
            all.units += done.units;
        }
        Ok(all)
    }

    async fn restore(&self, from: String, on: ProgressSender) -> Result<Finished, OperandError> {
        let folder = folder_of(&from)?;
        let mut all = Finished::default();
        for shard in &self.shards {
            let (folder, on) = (self.image(&folder, shard), on.clone());
            let done = shard.ask(|answer| Request::Restore { folder, on, answer }).await?;
            all = Finished { units: all.units + done.units, ..done };
        }
        Ok(all)
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
