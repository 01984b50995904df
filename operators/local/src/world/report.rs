//! Step 5 of an engine: what is seen of its processes, and the status made from it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use orrery_api::{CommonStatus, ConditionType, Time, condition};
use orrery_runtime::observation::WorkloadView;
use orrery_runtime::{Facts, Observation, summarise};
use serde_json::Value as Json;

use super::{Carried, World};
use crate::addresses;
use crate::objects::{Key, Stored};
use crate::pod::Pod;
use crate::process::supervisor::Phase;

impl World {
    /// Step 5 of an engine.
    pub(super) fn report_engine(&mut self, stored: &Stored, done: &Carried, now: Timestamp) {
        let key = &stored.key;
        let Some(engine) = self.kinds.engine_of(&key.kind) else { return };
        let seen = self.observe(key, done);
        let none = CommonStatus::default();
        let before = self.statuses.get(key).map_or(&none, |(common, _)| common);
        let facts = Facts {
            generation: stored.generation(),
            stored: before,
            progress: &done.progress,
            seen: &seen,
            release: &self.release.version,
            now: Time::new(now),
        };
        let common = summarise(&facts);
        let object = self.with_status(stored);
        let mut status = engine.status(&object, common.clone(), &seen);
        if let Some(resources) = &done.resources {
            let pods = self.pods.values().filter(|pod| pod.owner == *key);
            let ports: Vec<BTreeMap<String, u16>> = pods.map(|pod| pod.life().ports).collect();
            addresses::localise(&mut status, resources, &ports);
        }
        self.store(key, common, status, now);
    }

    pub(super) fn observe(&self, key: &Key, done: &Carried) -> Observation {
        let pods: Vec<&Pod> = self.pods.values().filter(|pod| pod.owner == *key).collect();
        let leaving = self.leaving.iter().map(|(_, pod)| pod).filter(|pod| pod.owner == *key);
        let sets = done.resources.iter().flat_map(|resources| &resources.stateful_sets);
        let workloads = sets.map(|set| {
            let name = set.metadata.name.clone().unwrap_or_default();
            let own = || pods.iter().filter(|pod| pod.plan.workload == name);
            let spec = set.spec.as_ref();
            let labels = spec.and_then(|spec| spec.selector.match_labels.clone());
            let selector: Vec<String> =
                labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
            let updated = |pod: &&&Pod| {
                let life = pod.life();
                let plans = done.plans.iter().flatten();
                let wanted = plans
                    .filter(|plan| plan.name == pod.plan.name)
                    .all(|plan| plan.hash() == life.plan_hash);
                wanted && life.phase != Phase::Stopping
            };
            WorkloadView {
                replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
                ready_replicas: own().filter(|pod| pod.is_ready()).count() as i32,
                updated_replicas: own().filter(updated).count() as i32,
                observed: true,
                revision: None,
                beside: false,
                selector: selector.join(","),
                name: name.clone(),
            }
        });
        let workloads = workloads.collect();
        let pods = pods.iter().copied().chain(leaving).map(Pod::view).collect();
        Observation { workloads, pods, ..Observation::default() }
    }

    /// Keeps a status, and remembers as an event that the summary changed.
    pub(super) fn store(&mut self, key: &Key, common: CommonStatus, status: Json, now: Timestamp) {
        let ready = |common: &CommonStatus| {
            let ready = condition::find(&common.conditions, ConditionType::Ready);
            ready.map(|ready| (ready.reason.clone(), ready.message.clone()))
        };
        let before = self.statuses.get(key).and_then(|(common, _)| ready(common));
        let after = ready(&common);
        self.statuses.insert(key.clone(), (common, status));
        if let Some((reason, message)) = after
            && before.is_none_or(|(was, _)| was != reason)
        {
            let text = if message.is_empty() { reason } else { format!("{reason}: {message}") };
            self.remember(key.to_string(), text, now);
        }
    }

    pub(super) fn with_status(&self, stored: &Stored) -> Json {
        let mut object = stored.object.clone();
        if let Some((_, status)) = self.statuses.get(&stored.key) {
            object["status"] = status.clone();
        }
        object
    }
}
