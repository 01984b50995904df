//! What the tests stand on: a namespace, operators in it that can be crashed, and the end state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt, ResourceExt};
use orrery_api::ConditionType;
use orrery_api::catalog::ReleaseCatalog;
use orrery_api::condition::is_true;
use orrery_e2e_cluster::{Cluster, Namespace, poll};
use orrery_runtime::backoff::BackoffOptions;
use orrery_runtime::faults::Faults;
use orrery_runtime::lease::LeaseOptions;
use orrery_runtime::metrics::Metrics;
use orrery_runtime::{Connection, Operator, OperatorError, Options, labels};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::toy::{Toy, ToyItem, ToyItems, ToySpec, ToySystem};

/// For anything the cluster and the operator should have done on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(90);

pub struct Stage {
    pub namespace: Namespace,
}

/// A stage on the shared cluster, or nothing where there is none.
pub async fn stage(name: &str) -> Option<Stage> {
    let cluster = Cluster::shared().await?;
    let definitions = [Toy::crd(), ToyItem::crd(), ReleaseCatalog::crd()];
    cluster.install_crds(&definitions).await.expect("valid definitions");
    let namespace = cluster.namespace(name).await.expect("a namespace");
    Some(Stage { namespace })
}

/// Short times, so that retries and nets are met within a test.
pub fn options(namespace: &str) -> Options {
    let mut options = Options::new("toy:1", "1.0", "test");
    options.namespaces = vec![namespace.to_owned()];
    options.deadline = Duration::from_secs(8);
    options.poll = Duration::from_millis(200);
    options.poll_max = Duration::from_secs(1);
    options.net = Duration::from_secs(1);
    options.debounce = Duration::from_millis(20);
    options.backoff =
        BackoffOptions { first: Duration::from_millis(100), max: Duration::from_secs(1) };
    options.watch.timeout = Duration::from_secs(10);
    options
}

pub fn lease(namespace: &str, identity: &str) -> LeaseOptions {
    LeaseOptions {
        duration: Duration::from_secs(4),
        renew: Duration::from_secs(3),
        retry: Duration::from_millis(500),
        ..LeaseOptions::new(namespace, identity)
    }
}

/// An operator in its own task. Dropping it is a crash: every future of it is dropped.
pub struct Running {
    pub faults: Faults,
    pub metrics: Arc<Metrics>,
    task: JoinHandle<Result<(), OperatorError>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Running {
    /// Stops it in order and returns how it ended.
    pub async fn stop(mut self) -> Result<(), OperatorError> {
        drop(self.stop.take());
        (&mut self.task).await.expect("the operator does not panic")
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Result<(), OperatorError> {
        (&mut self.task).await.expect("the operator does not panic")
    }

    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stage {
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Starts an operator of the toys whose calls pass through `faults`.
    pub fn operator(&self, options: Options, faults: Faults) -> Running {
        self.operator_of(options, faults, |operator| {
            let toys = operator.engine::<ToySystem>();
            operator.declared::<ToyItems>(&toys);
        })
    }

    /// Starts an operator of the given kinds whose calls pass through `faults`.
    pub fn operator_of(
        &self,
        options: Options,
        faults: Faults,
        kinds: impl FnOnce(&mut Operator),
    ) -> Running {
        let config = self.namespace.cluster().config();
        let connection = Connection::with(&options, |outlet| {
            Ok(outlet.guard(Connection::base(&config)?.with_layer(&faults)))
        })
        .expect("a valid configuration");
        let metrics = Arc::clone(&connection.metrics);
        let mut operator = Operator::new(connection, options);
        kinds(&mut operator);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(operator.run(async {
            let _ = stopped.await;
        }));
        Running { faults, metrics, task, stop: Some(stop) }
    }

    /// An operator without faults.
    pub fn plain(&self) -> Running {
        self.operator(options(self.name()), Faults::default())
    }

    pub fn toys(&self) -> Api<Toy> {
        self.namespace.api()
    }

    pub async fn create(&self, name: &str, spec: ToySpec) {
        let toy = Toy::new(name, spec);
        self.toys().create(&PostParams::default(), &toy).await.expect("a valid object");
    }

    pub async fn change(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.toys().patch(name, &PatchParams::default(), &patch).await.expect("a valid change");
    }

    pub async fn delete(&self, name: &str) {
        self.toys().delete(name, &DeleteParams::default()).await.expect("it is there");
    }

    /// Waits until the newest spec is carried out.
    pub async fn ready(&self, name: &str) {
        self.until(name, "ready", |toy| {
            let Some(status) = &toy.status else { return false };
            status.common.observed_generation == toy.metadata.generation
                && is_true(&status.common.conditions, ConditionType::Ready)
        })
        .await;
    }

    /// Waits until the object is as `wanted`.
    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Toy) -> bool) {
        let toys = self.toys();
        let done = poll(&format!("{name} {what}"), LIMIT, || async {
            toys.get_opt(name).await.ok().flatten().is_some_and(|toy| wanted(&toy))
        })
        .await;
        if let Err(error) = done {
            let toy = toys.get_opt(name).await.ok().flatten();
            panic!("{error}\n{toy:#?}");
        }
    }

    /// Everything the operator made and said, without what differs from run to run: UIDs,
    /// revisions, times and random secret content.
    pub async fn state(&self) -> BTreeMap<String, Value> {
        let mut state = BTreeMap::new();
        let selector = labels::managed_by_selector();
        let params = kube::api::ListParams::default().labels(&selector);
        macro_rules! dump {
            ($($kind:ty),*) => { $(
                let objects = self.namespace.api::<$kind>().list(&params).await.expect("a list");
                for object in objects {
                    let name = format!("{} {}", stringify!($kind), object.name_any());
                    state.insert(name, cleaned(serde_json::to_value(&object).expect("JSON")));
                }
            )* };
        }
        dump!(ServiceAccount, Secret, ConfigMap, Service, StatefulSet);
        for toy in self.toys().list(&kube::api::ListParams::default()).await.expect("a list") {
            let name = format!("Toy {}", toy.name_any());
            state.insert(name, cleaned(serde_json::to_value(&toy).expect("JSON")));
        }
        state
    }
}

/// An object without what differs from run to run.
pub fn cleaned(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    for field in ["uid", "resourceVersion", "creationTimestamp", "namespace", "managedFields"] {
        metadata.remove(field);
    }
    // How often a spec was changed on the way does not matter, what it says does.
    metadata.remove("generation");
    for owner in
        metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten()
    {
        owner["uid"] = Value::Null;
    }
    if object["kind"] == "Secret" {
        // A certificate differs from run to run, by the length of its signature too.
        let mark = object.pointer_mut("/metadata/annotations/orrery.dev~1certificate");
        let is_certificate = mark.map(|mark| *mark = Value::Null).is_some();
        let content = object.get_mut("data").and_then(Value::as_object_mut);
        for value in content.into_iter().flat_map(serde_json::Map::values_mut) {
            *value = json!(value.as_str().filter(|_| !is_certificate).map(str::len));
        }
    }
    let gone = ["clusterIP", "clusterIPs", "observedGeneration", "lastTransitionTime"];
    let revisions = ["currentRevision", "updateRevision", "collisionCount"];
    strip(&mut object, &[&gone[..], &revisions[..]].concat());
    object
}

fn strip(value: &mut Value, fields: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !fields.contains(&key.as_str()));
            map.values_mut().for_each(|value| strip(value, fields));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| strip(value, fields)),
        _ => {}
    }
}
