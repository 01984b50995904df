//! The lanes of all targets: those of the configuration for good, those known by address as long as
//! there is room.
//!
//! Invariants: a lane that has calls is never removed; a lane of an address is among the idle ones
//! exactly while it has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::client::{Reach, Trust, TrustError, client, h2_client};
use super::figures::Registry;
use super::grpc::GrpcReach;
use super::guard::Guard;
use super::lane::Lane;
use super::options::Options;
use super::pool::Pool;
use super::secret::Keeper;
use super::target::{Target, TargetName};
use crate::run::Outcome;

/// Index of a lane; used again once the lane is removed.
pub(super) type LaneId = u32;

/// Why there are no lanes.
#[derive(Debug, thiserror::Error)]
pub(super) enum LanesError {
    #[error("failed to set up target {name}: {source}")]
    Trust { name: String, source: TrustError },
    #[error("failed to trust the authorities of this machine: {0}")]
    Machine(#[source] TrustError),
    #[error("failed to tell two targets apart that are called {0}")]
    Twice(String),
    #[error("failed to use {0} as the name of a target")]
    Name(String),
}

pub(super) struct Lanes {
    options: Options,
    trust: Trust,
    registry: Arc<Registry>,
    slots: Vec<Option<Lane>>,
    free: Vec<LaneId>,
    by_name: HashMap<TargetName, LaneId>,
    ad_hoc: usize,
    idle: BTreeMap<u64, LaneId>,
    /// Grows with every lane that becomes idle.
    idle_count: u64,
}

impl Lanes {
    pub(super) fn new(
        options: Options,
        targets: Vec<Target>,
        registry: Arc<Registry>,
    ) -> Result<Self, LanesError> {
        let trust = Trust::of_machine().map_err(LanesError::Machine)?;
        let mut lanes = Self {
            options,
            trust,
            registry,
            slots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::default(),
            ad_hoc: 0,
            idle: BTreeMap::new(),
            idle_count: 0,
        };
        for target in targets {
            lanes.add_named(target)?;
        }
        Ok(lanes)
    }

    fn add_named(&mut self, target: Target) -> Result<(), LanesError> {
        let TargetName::Named(name) = &target.name else {
            return Err(LanesError::Name(target.name.as_str().to_owned()));
        };
        if self.by_name.contains_key(&target.name) {
            return Err(LanesError::Twice(name.to_string()));
        }
        let name = name.to_string();
        let tls = self.trust.with(target.ca_pem.as_deref());
        let tls = tls.map_err(|source| LanesError::Trust { name, source })?;
        let guard = Guard::new(&self.options, target.allow_private);
        let grpc = GrpcReach::new(h2_client(&tls, guard, target.max_in_flight));
        let reach = Reach {
            client: client(tls, guard, target.max_in_flight),
            grpc: Some(grpc),
            timeout: target.timeout,
            origin: target.origin,
            pool: target.pool.map(|members| Arc::new(Pool::new(members))),
        };
        let rate = target.rate_per_second;
        let lane = Lane::new(
            target.name.clone(),
            Arc::new(reach),
            Keeper::new(target.auth, target.signing),
            self.registry.add(target.name),
            target.max_in_flight,
            rate.and_then(|rate| Bucket::new(rate, Instant::now())),
        );
        self.insert(lane);
        Ok(())
    }

    /// The lane of a target; the outcome of its calls when there is none.
    pub(super) fn find(&mut self, target: &TargetName) -> Result<LaneId, Outcome> {
        if let Some(id) = self.by_name.get(target) {
            return Ok(*id);
        }
        let TargetName::AdHoc(_) = target else {
            let note = format!("no target is called {}", target.as_str());
            return Err(Outcome::Refused { note });
        };
        if self.ad_hoc >= self.options.ad_hoc.targets_max && !self.make_room() {
            let note = "too many targets are busy at the same time".to_owned();
            return Err(Outcome::Failed { note });
        }
        let tls = self.trust.with(None).map_err(|error| {
            debug_assert!(false, "what is shared is set up already: {error}");
            Outcome::Failed { note: error.to_string() }
        })?;
        let limits = &self.options.ad_hoc;
        let guard = Guard::new(&self.options, limits.allow_private);
        let reach = Reach {
            client: client(tls, guard, limits.max_in_flight),
            grpc: None,
            timeout: limits.timeout,
            origin: None,
            pool: None,
        };
        let lane = Lane::new(
            target.clone(),
            Arc::new(reach),
            Keeper::new(None, None),
            self.registry.add(target.clone()),
            limits.max_in_flight,
            None,
        );
        self.ad_hoc += 1;
        Ok(self.insert(lane))
    }

    /// Removes the address that was used least recently; false when all are busy.
    fn make_room(&mut self) -> bool {
        let Some((_, id)) = self.idle.pop_first() else {
            return false;
        };
        if let Some(lane) = self.slots[id as usize].take() {
            debug_assert!(lane.is_idle(), "only idle lanes are among the idle");
            self.by_name.remove(&lane.name);
            self.registry.remove(&lane.name);
            self.free.push(id);
            self.ad_hoc -= 1;
        }
        true
    }

    fn insert(&mut self, lane: Lane) -> LaneId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as LaneId
        });
        self.by_name.insert(lane.name.clone(), id);
        self.slots[id as usize] = Some(lane);
        id
    }

    pub(super) fn get(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Notes whether a lane is idle, after calls came or ended.
    pub(super) fn note_idle(&mut self, id: LaneId) {
        let Some(lane) = self.slots.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        if !matches!(lane.name, TargetName::AdHoc(_)) {
            return;
        }
        match (lane.is_idle(), lane.idle_since) {
            (true, None) => {
                self.idle_count += 1;
                lane.idle_since = Some(self.idle_count);
                self.idle.insert(self.idle_count, id);
            }
            (false, Some(since)) => {
                lane.idle_since = None;
                self.idle.remove(&since);
            }
            _ => {}
        }
    }
}
