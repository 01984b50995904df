//! The management protocol of this engine: what the operator asks of it.

use std::sync::Arc;

use orrery_api::Reason;
use orrery_api::scheduler::figures;
use orrery_kit::env::Env;
use orrery_kit::health::{Health, Readiness};
use orrery_kit::identity::Identity;
use orrery_kit::volume::Volume;
use orrery_operand::OperandError;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::Operand;
use orrery_operand::v1::{
    DeclaredSet, FenceResponse, PromoteResponse, ReportResponse, Role, Shard, SyncRequest,
    SyncResponse,
};

use crate::engine::{Engine, EngineError};

/// The kind of declared objects this engine takes.
const KIND: &str = "Schedule";

/// One engine process.
pub struct SchedulerOperand {
    engine: Arc<Engine>,
    health: Health,
    config_hash: String,
    identity: Option<Arc<Identity>>,
    env: Arc<dyn Env>,
    volume: Volume,
}

impl std::fmt::Debug for SchedulerOperand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerOperand").field("health", &self.health).finish_non_exhaustive()
    }
}

impl SchedulerOperand {
    pub(crate) fn new(
        engine: Arc<Engine>,
        health: Health,
        config_hash: String,
        identity: Option<Arc<Identity>>,
        env: Arc<dyn Env>,
        volume: Volume,
    ) -> Self {
        Self { engine, health, config_hash, identity, env, volume }
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

    /// How it is, and whether the volume fills up where nothing else is to be said.
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
        let named = [
            (figures::SCHEDULES, count(told.jobs)),
            ("declared", count(told.declared)),
            ("running", count(told.running)),
            ("parked", count(told.parked)),
        ];
        let late = late.map(|bound| (figures::LATENESS_P99_MS, bound));
        let named = named.into_iter().chain(late).chain(self.verified());
        let shards = self.engine.handles().iter().map(|handle| Shard {
            id: u32::from(handle.partition),
            role: Role::Primary.into(),
            ready: readiness.ready,
            writable: readiness.ready,
            ..Shard::default()
        });
        ReportResponse {
            system: "scheduler".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            role: Role::Primary.into(),
            durable_position: told.durable,
            ready: readiness.ready,
            writable: readiness.ready,
            degraded: readiness.ready && !readiness.reason.is_empty(),
            reason: readiness.reason,
            message: readiness.message,
            config_hash: self.config_hash.clone(),
            figures: named.map(|(name, value)| (name.to_owned(), value)).collect(),
            declared: declared.into_iter().collect(),
            durability: "disk".into(),
            shards: shards.collect(),
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
        let now = self.env.wall_us().div_euclid(1_000_000);
        self.engine.sync(request, now).await.map_err(|error| match error {
            EngineError::Unavailable(error) => OperandError::Unavailable(error.to_string()),
            EngineError::Invalid(text) => OperandError::Invalid(text),
            other => OperandError::Unavailable(other.to_string()),
        })
    }

    fn changes(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        Some(self.engine.shared.changes())
    }

    async fn drain(&self, _seconds: u32, on: ProgressSender) -> Result<Finished, OperandError> {
        // Everything acknowledged is durable, and runs in flight are asked about by the next process.
        on.step("finishing what was accepted", 1, 1);
        let position = self.engine.shared.figures().durable;
        Ok(Finished { position, ..Finished::default() })
    }

    async fn promote(&self, _shard: u32, _epoch: u64) -> Result<PromoteResponse, OperandError> {
        Err(OperandError::Unsupported("this process owns its partitions alone".into()))
    }

    async fn fence(&self, _shard: u32, _epoch: u64) -> Result<FenceResponse, OperandError> {
        Err(OperandError::Unsupported("this process owns its partitions alone".into()))
    }

    async fn snapshot(&self, _to: String, _on: ProgressSender) -> Result<Finished, OperandError> {
        Err(OperandError::Unsupported("images of a scheduler are not written yet".into()))
    }

    async fn restore(&self, _from: String, _on: ProgressSender) -> Result<Finished, OperandError> {
        Err(OperandError::Unsupported("images of a scheduler are not read yet".into()))
    }
}
