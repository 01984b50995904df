//! One watch per child kind and namespace, filling the store and calling the owners.
//!
//! Must not: keep objects. What is needed is taken out of each event and the object is dropped.
//! Only what the operator itself made is watched, by label.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::runtime::watcher::Event;
use kube::{Client, Resource, core::PartialObjectMeta};

use super::store::{CachedPod, ChildStore, Group, Owner};
use super::{Child, ChildKind};
use crate::labels;
use crate::liveness::Liveness;
use crate::observation::{PodView, WorkloadView};
use crate::triggers::Triggers;
use crate::watch::{WatchOptions, events, key_of};

/// Which controller looks after which owner.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// By kind of the owner, such as `KVCluster`.
    pub kinds: HashMap<String, Arc<Triggers>>,
    /// By name of the system, such as `kv`.
    pub systems: HashMap<String, Arc<Triggers>>,
}

impl Routes {
    /// Calls the controllers of these.
    pub(crate) fn owners(&self, owners: Vec<Owner>) {
        for owner in owners {
            self.owner(owner);
        }
    }

    fn owner(&self, owner: Owner) {
        if let Some(triggers) = self.kinds.get(&owner.kind) {
            triggers.push((owner.namespace, owner.name));
        }
    }

    fn pod(&self, (namespace, system, instance): Group) {
        if let Some(triggers) = self.systems.get(&system) {
            triggers.push((namespace, instance));
        }
    }
}

/// What the watches need.
#[derive(Clone)]
pub struct ChildWatches {
    pub client: Client,
    /// None = all namespaces.
    pub namespaces: Vec<Option<String>>,
    pub options: WatchOptions,
    pub liveness: Arc<Liveness>,
    pub store: Arc<ChildStore>,
    pub routes: Arc<Routes>,
}

impl Debug for ChildWatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildWatches").field("namespaces", &self.namespaces).finish_non_exhaustive()
    }
}

impl ChildWatches {
    /// All watches; each future runs until it is dropped.
    pub fn futures(&self) -> Vec<BoxFuture<'static, ()>> {
        let scopes = self.namespaces.clone();
        scopes.iter().flat_map(|scope| self.in_scope(scope.clone())).collect()
    }

    fn in_scope(&self, scope: Option<String>) -> Vec<BoxFuture<'static, ()>> {
        use ChildKind as Kind;
        let each = scope.as_deref();
        vec![
            self.metadata::<ServiceAccount>(Kind::ServiceAccount, each),
            self.metadata::<Role>(Kind::Role, each),
            self.metadata::<RoleBinding>(Kind::RoleBinding, each),
            self.metadata::<Secret>(Kind::Secret, each),
            self.metadata::<ConfigMap>(Kind::ConfigMap, each),
            self.metadata::<Service>(Kind::Service, each),
            self.metadata::<NetworkPolicy>(Kind::NetworkPolicy, each),
            self.metadata::<PodDisruptionBudget>(Kind::PodDisruptionBudget, each),
            self.workloads::<StatefulSet>(Kind::StatefulSet, each, stateful_set),
            self.workloads::<Deployment>(Kind::Deployment, each, deployment),
            self.claims(scope.clone()),
            self.pods(scope),
        ]
    }

    fn metadata<K>(&self, kind: ChildKind, scope: Option<&str>) -> BoxFuture<'static, ()>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let stream = self.events::<PartialObjectMeta<K>>(scope, &labels::managed_by_selector());
        self.follow(kind, scope.map(str::to_owned), stream, |object| {
            Child::new(&object.metadata, None)
        })
    }

    fn workloads<K>(
        &self,
        kind: ChildKind,
        scope: Option<&str>,
        view: fn(&K) -> WorkloadView,
    ) -> BoxFuture<'static, ()>
    where
        K: crate::system::Object,
    {
        let stream = self.events::<K>(scope, &labels::managed_by_selector());
        self.follow(kind, scope.map(str::to_owned), stream, move |object: &K| {
            Child::new(object.meta(), Some(view(object)))
        })
    }

    fn events<K>(
        &self,
        scope: Option<&str>,
        selector: &str,
    ) -> impl Stream<Item = Event<K>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + serde::de::DeserializeOwned
            + Send
            + 'static,
    {
        events(&self.client, scope, Some(selector), &self.options, &self.liveness)
    }

    fn follow<K: Resource<DynamicType = ()> + Send + 'static>(
        &self,
        kind: ChildKind,
        scope: Option<String>,
        stream: impl Stream<Item = Event<K>> + Send + 'static,
        child: impl Fn(&K) -> Child + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        let (store, routes) = (Arc::clone(&self.store), Arc::clone(&self.routes));
        async move {
            let mut stream = std::pin::pin!(stream);
            let mut listed = HashSet::new();
            while let Some(event) = stream.next().await {
                let touched = match event {
                    Event::Init => {
                        listed.clear();
                        None
                    }
                    Event::InitApply(object) => {
                        listed.insert(key_of(&object));
                        store.apply(kind, object.meta(), child(&object))
                    }
                    Event::Apply(object) => store.apply(kind, object.meta(), child(&object)),
                    Event::Delete(object) => store.delete(kind, object.meta()),
                    Event::InitDone => {
                        let gone = store.synced(kind, scope.as_deref(), &listed);
                        for owner in gone {
                            routes.owner(owner);
                        }
                        listed = HashSet::new();
                        None
                    }
                };
                if let Some(owner) = touched {
                    routes.owner(owner);
                }
            }
        }
        .boxed()
    }

    fn claims(&self, scope: Option<String>) -> BoxFuture<'static, ()> {
        let selector = labels::claims_selector();
        let stream = self.events::<PersistentVolumeClaim>(scope.as_deref(), &selector);
        let (store, routes) = (Arc::clone(&self.store), Arc::clone(&self.routes));
        async move {
            let mut stream = std::pin::pin!(stream);
            let mut listed = HashSet::new();
            while let Some(event) = stream.next().await {
                let touched = match event {
                    Event::Init => {
                        listed.clear();
                        None
                    }
                    Event::InitApply(claim) => {
                        listed.insert(key_of(&claim));
                        store.apply_claim(&claim)
                    }
                    Event::Apply(claim) => store.apply_claim(&claim),
                    Event::Delete(claim) => {
                        store.delete_claim(&claim.metadata);
                        None
                    }
                    Event::InitDone => {
                        store.synced_claims(scope.as_deref(), &listed);
                        listed = HashSet::new();
                        None
                    }
                };
                if let Some(group) = touched {
                    routes.pod(group);
                }
            }
        }
        .boxed()
    }

    fn pods(&self, scope: Option<String>) -> BoxFuture<'static, ()> {
        let stream = self.events::<Pod>(scope.as_deref(), &labels::managed_by_selector());
        let (store, routes) = (Arc::clone(&self.store), Arc::clone(&self.routes));
        async move {
            let mut stream = std::pin::pin!(stream);
            let mut listed = HashSet::new();
            while let Some(event) = stream.next().await {
                let touched = match event {
                    Event::Init => {
                        listed.clear();
                        None
                    }
                    Event::InitApply(pod) => {
                        listed.insert(key_of(&pod));
                        store.apply_pod(&pod.metadata, &cached_pod(&pod))
                    }
                    Event::Apply(pod) => store.apply_pod(&pod.metadata, &cached_pod(&pod)),
                    Event::Delete(pod) => store.delete_pod(&pod.metadata),
                    Event::InitDone => {
                        let gone = store.synced_pods(scope.as_deref(), &listed);
                        for group in gone {
                            routes.pod(group);
                        }
                        None
                    }
                };
                if let Some(group) = touched {
                    routes.pod(group);
                }
            }
        }
        .boxed()
    }
}

fn selector_text(selector: &LabelSelector) -> String {
    let labels: &BTreeMap<_, _> = match &selector.match_labels {
        Some(labels) => labels,
        None => return String::new(),
    };
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The figures of a StatefulSet.
pub fn stateful_set(set: &StatefulSet) -> WorkloadView {
    let (spec, status) = (set.spec.as_ref(), set.status.as_ref());
    let seen = status.and_then(|status| status.observed_generation);
    WorkloadView {
        name: set.metadata.name.clone().unwrap_or_default(),
        replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        ready_replicas: status.and_then(|status| status.ready_replicas).unwrap_or(0),
        updated_replicas: status.and_then(|status| status.updated_replicas).unwrap_or(0),
        observed: seen.is_some() && seen >= set.metadata.generation,
        revision: status.and_then(|status| status.update_revision.clone()),
        beside: false,
        selector: spec.map(|spec| selector_text(&spec.selector)).unwrap_or_default(),
    }
}

/// The figures of a Deployment.
pub fn deployment(deployment: &Deployment) -> WorkloadView {
    let (spec, status) = (deployment.spec.as_ref(), deployment.status.as_ref());
    let seen = status.and_then(|status| status.observed_generation);
    WorkloadView {
        name: deployment.metadata.name.clone().unwrap_or_default(),
        replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        ready_replicas: status.and_then(|status| status.ready_replicas).unwrap_or(0),
        updated_replicas: status.and_then(|status| status.updated_replicas).unwrap_or(0),
        observed: seen.is_some() && seen >= deployment.metadata.generation,
        revision: None,
        beside: true,
        selector: spec.map(|spec| selector_text(&spec.selector)).unwrap_or_default(),
    }
}

/// Label a StatefulSet puts on its pods: the revision they were made from.
const REVISION: &str = "controller-revision-hash";

fn annotation(pod: &Pod, key: &str) -> Option<String> {
    pod.metadata.annotations.as_ref()?.get(key).cloned()
}

fn cached_pod(pod: &Pod) -> CachedPod {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ready = conditions.clone().any(|c| c.type_ == "Ready" && c.status == "True");
    let unscheduled = conditions
        .filter(|c| c.type_ == "PodScheduled" && c.status == "False")
        .map(|c| (c.reason.clone().unwrap_or_default(), c.message.clone().unwrap_or_default()));
    let containers =
        status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let waiting = containers
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .map(|w| (w.reason.clone().unwrap_or_default(), w.message.clone().unwrap_or_default()))
        .filter(|(reason, _)| reason != "ContainerCreating" && reason != "PodInitializing");
    let port = |name: &str| {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
        let port = ports.find(|port| port.name.as_deref() == Some(name))?;
        u16::try_from(port.container_port).ok()
    };
    CachedPod {
        view: PodView {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            revision: pod.metadata.labels.as_ref().and_then(|l| l.get(REVISION)).cloned(),
            asked_hash: annotation(pod, labels::ASKED_HASH),
            archive_hash: annotation(pod, labels::ARCHIVE_HASH),
            ip: status.and_then(|status| status.pod_ip.clone()),
            ready,
            terminating: pod.metadata.deletion_timestamp.is_some(),
            trouble: unscheduled.chain(waiting).next(),
            report: None,
            report_error: None,
        },
        management_port: port(labels::MANAGEMENT_PORT_NAME),
        replication_port: port(labels::REPLICATION_PORT_NAME),
        identity: annotation(pod, labels::IDENTITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_reduced_to_what_status_needs() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a-kv-0", "namespace": "ns"},
            "spec": {"containers": [
                {"name": "kv", "ports": [{"name": "management", "containerPort": 9400}]}
            ]},
            "status": {
                "podIP": "10.1.2.3",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{
                    "name": "kv", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
                }]
            }
        }))
        .expect("a valid pod");
        let cached = cached_pod(&pod);
        assert_eq!(cached.management_port, Some(9400));
        assert_eq!(cached.view.ip.as_deref(), Some("10.1.2.3"));
        assert!(!cached.view.ready);
        assert_eq!(cached.view.trouble.expect("waiting").0, "ImagePullBackOff");
    }

    #[test]
    fn a_workload_whose_controller_lags_behind_is_not_observed() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "a-kv", "generation": 2},
            "spec": {"replicas": 3, "serviceName": "s", "template": {},
                     "selector": {"matchLabels": {"b": "2", "a": "1"}}},
            "status": {"replicas": 3, "readyReplicas": 2, "observedGeneration": 1}
        }))
        .expect("a valid set");
        let view = stateful_set(&set);
        assert_eq!((view.replicas, view.ready_replicas, view.observed), (3, 2, false));
        assert_eq!(view.selector, "a=1,b=2");
    }
}
