//! The management protocol of this engine: what the operator asks of it.

mod calm;

use std::sync::Arc;
use std::time::Duration;

use orrery_api::Reason;
use orrery_api::scheduler::figures;
use orrery_kit::env::Env;
use orrery_kit::health::{Health, Readiness};
use orrery_kit::identity::Identity;
use orrery_kit::volume::Volume;
use orrery_operand::OperandError;
use orrery_operand::errands::ErrandBook;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::Operand;
use orrery_operand::v1::{
    DeclaredSet, FenceResponse, FollowRequest, FollowResponse, Link, PromoteResponse, RenewRequest,
    RenewResponse, ReportResponse, Role, SettleRequest, Shard, Standing as ErrandStanding,
    SyncRequest, SyncResponse,
};

use crate::archive::{Archives, Moment};
use crate::dispatch::Dispatcher;
use crate::engine::{Engine, EngineError, Figures};
use crate::ownership::{Promotion, Said, Stand, Standing};
use crate::partition::Handle;
use crate::run::Outcome;

/// The kind of declared objects this engine takes.
const KIND: &str = "Schedule";

/// The address of the configured archive in calls.
const ARCHIVE: &str = "archive:";
/// Reason of a process that may be made the owner, and was told of none.
const WAITS: &str = "Standby";
/// How often it is looked whether the journals were taken over.
const TAKE_OVER_POLL: Duration = Duration::from_millis(5);
/// Longest wait for that, less than callers wait; the operator asks again.
const TAKE_OVER_WAIT: Duration = Duration::from_secs(3);

/// One engine process.
pub struct SchedulerOperand {
    engine: Arc<Engine>,
    dispatcher: Arc<Dispatcher>,
    health: Health,
    config_hash: String,
    identity: Option<Arc<Identity>>,
    env: Arc<dyn Env>,
    volume: Volume,
    standing: Arc<Standing>,
    archives: Option<Arc<Archives>>,
}

impl std::fmt::Debug for SchedulerOperand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerOperand").field("health", &self.health).finish_non_exhaustive()
    }
}

impl SchedulerOperand {
    pub(crate) fn new(
        engine: Arc<Engine>,
        dispatcher: Arc<Dispatcher>,
        health: Health,
        config_hash: String,
        identity: Option<Arc<Identity>>,
        env: Arc<dyn Env>,
        volume: Volume,
    ) -> Self {
        let standing = Arc::clone(&engine.shared.standing);
        let archives = None;
        Self { engine, dispatcher, health, config_hash, identity, env, volume, standing, archives }
    }

    /// The same, with the archives of its journals.
    pub(crate) fn with_archives(self, archives: Option<Arc<Archives>>) -> Self {
        Self { archives, ..self }
    }

    /// The figures of the newest verification.
    fn verified(&self) -> Vec<(&'static str, i64)> {
        let Some(found) = self.engine.verified() else { return vec![] };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        vec![
            (figures::VERIFY_FROM, found.from),
            (figures::VERIFY_TO, found.to),
            (figures::VERIFY_MISSED, count(found.missed)),
            (figures::VERIFY_DUPLICATED, count(found.duplicated)),
        ]
    }

    /// How it is: what the spec says of it comes before what is not whole, and that the volume fills up
    /// where nothing else is to be said.
    fn readiness(&self) -> Readiness {
        let readiness = self.health.readiness();
        if readiness.ready && self.engine.shared.is_fenced() {
            let why = "this service is fenced: its spec.operation is Fence";
            return Readiness::new(true, Reason::FencedBySpec.as_str(), why.to_owned());
        }
        if !readiness.ready || !readiness.reason.is_empty() {
            return readiness;
        }
        if let Some(message) = self.volume.lack_of_room() {
            return Readiness::new(true, Reason::VolumeFilling.as_str(), message);
        }
        match self.archives.as_ref().map(|archives| archives.trouble()) {
            Some(trouble) if !trouble.is_empty() => {
                Readiness::new(true, Reason::ArchiveFailing.as_str(), trouble)
            }
            _ => readiness,
        }
    }

    /// A snapshot of everything in the archive, with every record up to a moment behind it.
    async fn snapshot_into_archive(&self, on: &ProgressSender) -> Result<Finished, OperandError> {
        let Some(archives) = &self.archives else {
            return Err(OperandError::Precondition("no archive is configured".into()));
        };
        if !self.health.readiness().ready {
            return Err(OperandError::Unavailable("recovering".into()));
        }
        let (handles, env) = (self.engine.handles(), &*self.env);
        let goes_on = |copied: u64| {
            on.step("archiving", copied / 2, 100);
            !on.is_abandoned()
        };
        let moment = Moment { archives, handles, env }.take(&goes_on).await;
        let moment_us = moment.map_err(|error| OperandError::Unavailable(error.to_string()))?;
        Ok(Finished {
            position: u64::try_from(moment_us).unwrap_or(0),
            location: archives.to(),
            units: self.engine.shared.figures().jobs,
            epoch: 0,
        })
    }
}

/// Whether it serves, but with less than was asked.
fn is_degraded(readiness: &Readiness) -> bool {
    readiness.ready
        && !readiness.reason.is_empty()
        && readiness.reason != Reason::FencedBySpec.as_str()
}

/// What it is, in the words of the protocol.
fn role(said: &Said) -> Role {
    match said.stand {
        Stand::Owner => Role::Primary,
        Stand::Fenced => Role::Fenced,
        Stand::Standby if said.owner.is_some() => Role::Follower,
        Stand::Standby => Role::Standby,
    }
}

impl SchedulerOperand {
    /// One group has all partitions: what is said of one holds for all.
    fn in_group(&self, shard: u32) -> Result<(), OperandError> {
        if !self.standing.is_grouped() {
            let why = "this process owns its partitions alone";
            return Err(OperandError::Unsupported(why.into()));
        }
        if usize::try_from(shard).is_ok_and(|shard| shard < self.engine.handles().len()) {
            return Ok(());
        }
        Err(OperandError::Invalid(format!("there is no partition {shard}")))
    }

    /// What is durable of the first partition, which speaks for the group.
    fn position(&self) -> u64 {
        self.engine.shared.each().first().map_or(0, |(figures, _)| figures.durable)
    }

    fn shards(&self, readiness: &Readiness) -> Vec<Shard> {
        let said = self.standing.said();
        let is_owner = said.stand == Stand::Owner;
        let each = self.engine.shared.each();
        let waits = readiness.ready && said.stand == Stand::Standby && !said.is_taking_over;
        let waits = waits && said.owner.is_none();
        let link = said.owner.as_ref().map(|address| Link {
            address: address.clone(),
            up: readiness.ready && said.is_warm,
            copy_percent: if said.is_warm { 100 } else { 0 },
            ..Link::default()
        });
        let shard = |(handle, (figures, _)): (&Handle, (Figures, bool))| Shard {
            id: u32::from(handle.partition),
            role: role(&said).into(),
            epoch: said.epoch,
            known_epoch: said.known,
            completed_epoch: said.left,
            durable_position: figures.durable,
            ready: readiness.ready,
            writable: readiness.ready
                && is_owner
                && readiness.reason != Reason::FencedBySpec.as_str(),
            degraded: is_degraded(readiness),
            reason: if waits { WAITS.to_owned() } else { readiness.reason.clone() },
            message: readiness.message.clone(),
            // Whoever takes over takes what is carried.
            whole: Some(true),
            link: link.clone(),
            ..Shard::default()
        };
        self.engine.handles().iter().zip(each).map(shard).collect()
    }
}

#[tonic::async_trait]
impl Operand for SchedulerOperand {
    async fn report(&self) -> ReportResponse {
        let readiness = self.readiness();
        let told = self.engine.shared.figures();
        let late = self.engine.shared.p99_bound_ms();
        let set_hash = self.engine.declared_hash_now();
        let declared = set_hash.map(|set_hash| DeclaredSet { kind: KIND.into(), set_hash });
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (errands, waiting) = self.dispatcher.errands().count();
        let named = [
            (figures::SCHEDULES, count(told.jobs)),
            ("declared", count(told.declared)),
            ("running", count(told.running)),
            ("parked", count(told.parked)),
            ("errands", count(errands as u64)),
            ("errands_waiting", count(waiting as u64)),
        ];
        let lag = self.archives.as_ref().map(|archives| archives.lag_records());
        let lag = lag.map(|records| ("archive_lag_records", count(records)));
        let late = late.map(|bound| (figures::LATENESS_P99_MS, bound));
        let named = named.into_iter().chain(late).chain(lag).chain(self.verified());
        let named = named.filter(|_| self.standing.is_owner());
        let shards = self.shards(&readiness);
        let standing = self.standing.said();
        let is_owner = standing.stand == Stand::Owner;
        ReportResponse {
            system: "scheduler".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            role: role(&standing).into(),
            epoch: standing.epoch,
            durable_position: told.durable,
            ready: readiness.ready,
            writable: readiness.ready
                && is_owner
                && readiness.reason != Reason::FencedBySpec.as_str(),
            degraded: is_degraded(&readiness),
            reason: readiness.reason,
            message: readiness.message,
            config_hash: self.config_hash.clone(),
            figures: named.map(|(name, value)| (name.to_owned(), value)).collect(),
            declared: declared.into_iter().collect(),
            durability: "disk".into(),
            shards,
            identity_hash: self
                .identity
                .as_ref()
                .map_or_else(String::new, |identity| identity.current().hash.clone()),
            ..ReportResponse::default()
        }
    }

    async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, OperandError> {
        if request.kind != KIND {
            let text = format!("{} is not taken here: only {KIND}", request.kind);
            return Err(OperandError::Invalid(text));
        }
        if !self.health.readiness().ready {
            return Err(OperandError::Unavailable("recovering".into()));
        }
        if self.engine.shared.is_fenced() {
            return Err(OperandError::Unavailable("its spec.operation is Fence".into()));
        }
        if !self.standing.is_owner() {
            return Err(OperandError::Unavailable("another process owns the jobs".into()));
        }
        let now = self.env.wall_us().div_euclid(1_000_000);
        self.engine.sync(request, now).await.map_err(|error| match error {
            EngineError::Unavailable(error) => OperandError::Unavailable(error.to_string()),
            EngineError::Invalid(text) => OperandError::Invalid(text),
            other => OperandError::Unavailable(other.to_string()),
        })
    }

    fn changes(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        Some(calm::changes(Arc::clone(&self.engine.shared)))
    }

    fn errands(&self) -> Result<Arc<ErrandBook>, OperandError> {
        // Before every partition has told its own, the book is not the whole of it.
        if !self.standing.is_owner() || !self.engine.shared.all_serve() {
            return Err(OperandError::Unavailable("recovering".into()));
        }
        Ok(Arc::clone(self.dispatcher.errands()))
    }

    async fn settle(&self, request: SettleRequest) -> Result<(), OperandError> {
        let standing = request.standing();
        let SettleRequest { key, attempt, message: note, .. } = request;
        let unavailable = |error: EngineError| OperandError::Unavailable(error.to_string());
        let outcome = match standing {
            ErrandStanding::Unspecified => {
                return Err(OperandError::Invalid("it does not say how the errand stands".into()));
            }
            ErrandStanding::Started => {
                self.engine.errand_started(&key, attempt).await.map_err(unavailable)?;
                self.dispatcher.errands().started(&key, attempt);
                return Ok(());
            }
            ErrandStanding::Succeeded => Outcome::Succeeded { note },
            ErrandStanding::Failed => Outcome::Failed { note },
            ErrandStanding::Refused => Outcome::Refused { note },
            ErrandStanding::Cancelled => Outcome::Cancelled,
            ErrandStanding::Expired => Outcome::Expired,
        };
        let ended = self.engine.errand_ended(&key, attempt, outcome).await;
        if let Some(run) = ended.map_err(unavailable)? {
            self.dispatcher.close_errand(run, &key, attempt);
        }
        Ok(())
    }

    async fn drain(&self, _seconds: u32, on: ProgressSender) -> Result<Finished, OperandError> {
        // Everything acknowledged is durable, and runs in flight are asked about by the next process.
        on.step("finishing what was accepted", 1, 1);
        let position = self.engine.shared.figures().durable;
        Ok(Finished { position, ..Finished::default() })
    }

    async fn promote(&self, shard: u32, epoch: u64) -> Result<PromoteResponse, OperandError> {
        self.in_group(shard)?;
        let until = tokio::time::Instant::now() + TAKE_OVER_WAIT;
        loop {
            match self.standing.promote(epoch) {
                Promotion::Done => {
                    let durable_position = self.position();
                    return Ok(PromoteResponse { epoch, durable_position });
                }
                Promotion::Fenced(holder) => return Err(OperandError::Fenced { holder }),
                Promotion::UnderWay if tokio::time::Instant::now() >= until => {
                    let why = "it still reads what is carried of the journals";
                    return Err(OperandError::Unavailable(why.into()));
                }
                Promotion::UnderWay => tokio::time::sleep(TAKE_OVER_POLL).await,
            }
        }
    }

    async fn fence(&self, shard: u32, epoch: u64) -> Result<FenceResponse, OperandError> {
        self.in_group(shard)?;
        self.standing.fence(epoch);
        let epoch = self.standing.said().known;
        let durable_position = self.position();
        Ok(FenceResponse { epoch, durable_position })
    }

    async fn follow(&self, request: FollowRequest) -> Result<FollowResponse, OperandError> {
        self.in_group(request.shard)?;
        let FollowRequest { epoch, address, .. } = request;
        let followed = self.standing.follow(epoch, address);
        followed.map_err(|holder| OperandError::Fenced { holder })?;
        Ok(FollowResponse { epoch, durable_position: self.position() })
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, OperandError> {
        self.in_group(request.shard)?;
        // The lease is that of the engine that carries the journals: launches go on without the operator.
        self.standing.fence(request.epoch);
        Ok(RenewResponse { epoch: self.standing.said().known })
    }

    async fn snapshot(&self, to: String, on: ProgressSender) -> Result<Finished, OperandError> {
        if to == ARCHIVE {
            return self.snapshot_into_archive(&on).await;
        }
        Err(OperandError::Unsupported(format!("{to}: a scheduler has snapshots in archive: alone")))
    }

    async fn restore(&self, _from: String, _on: ProgressSender) -> Result<Finished, OperandError> {
        let why = "a scheduler is recovered into an empty folder, as its configuration says";
        Err(OperandError::Unsupported(why.into()))
    }
}
