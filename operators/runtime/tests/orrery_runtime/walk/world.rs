//! One object of a kind under the eyes of the oracles: its spec is replaced, it comes to rest, and
//! everything the operator made of it is looked at.

use std::collections::BTreeMap;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::{CustomResourceExt, ResourceExt};
use orrery_api::backup::{Backup, BackupSchedule};
use orrery_api::catalog::ReleaseCatalog;
use orrery_api::condition::{ConditionStatus, ConditionType, find};
use orrery_api::kv::KVCluster;
use orrery_api::scheduler::{Schedule, Scheduler};
use orrery_e2e_cluster::poll;
use orrery_runtime::faults::Faults;
use orrery_systems::kv::{Kv, Namespaces};
use orrery_systems::scheduler::{Jobs, Schedules};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::hints::{BESIDE, Hints, ROWS};
use crate::kv::{State, clusters, kv_stage, state};
use crate::operand::Answering;
use crate::stage::{LIMIT, Running, Stage, options};

/// Name of the object that is walked.
pub(super) const NAME: &str = "a";
/// Time without any change or write that is called rest: several rounds of the net.
const QUIET: Duration = Duration::from_millis(900);
const NET: Duration = Duration::from_millis(300);

/// Reasons for which an object may wait for somebody else, and be at rest.
const WAITS: [&str; 4] = ["RefNotFound", "WaitingForRelease", "WaitingForWindow", "EngineMissing"];

/// How the object rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Carried out, or asleep as asked.
    Ready,
    Paused,
    /// Stalled, for this reason.
    Refused(String),
    Waits(String),
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server did not take it.
    NotTaken(String),
    Rests(Verdict),
}

pub(super) struct World {
    pub(super) stage: Stage,
    pub(super) operator: Running,
    pub(super) processes: Answering,
    api: Api<DynamicObject>,
    resource: ApiResource,
    hints: Hints,
    pub(super) seed: u64,
}

impl World {
    /// An operator, nodes whose processes answer, and no object yet.
    pub(super) async fn new(hints: &Hints, seed: u64) -> Option<Self> {
        errors::listen();
        let name = format!("walk-{}", hints.kind.to_lowercase());
        let stage = kv_stage(&name).await?;
        let definitions = [Backup::crd(), BackupSchedule::crd(), Scheduler::crd(), Schedule::crd()];
        stage.namespace.cluster().install_crds(&definitions).await.expect("valid definitions");
        let Some(nodes) = stage.namespace.cluster().nodes().cloned() else {
            orrery_e2e_cluster::not_run("toy nodes are needed to answer as data planes");
            return None;
        };
        let processes = Answering::default();
        nodes.run_with(stage.name(), std::sync::Arc::new(processes.clone()));
        let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(json!({
            "metadata": { "name": BESIDE },
            "stringData": {
                "password": "walk",
                "token": "walk",
                "address": "redis.example:6379",
                "username": "default",
                "tls.crt": "-----BEGIN CERTIFICATE-----",
                "tls.key": "-----BEGIN PRIVATE KEY-----",
                "ca.crt": "-----BEGIN CERTIFICATE-----",
                "ACCESS_KEY_ID": "walk",
                "SECRET_ACCESS_KEY": "walk",
                "ENDPOINT_URL": "https://store.example:9000",
            },
        }))
        .expect("a Secret");
        stage.namespace.api().create(&PostParams::default(), &secret).await.expect("it is made");
        let days = json!({ "metadata": { "name": BESIDE }, "data": { "days": "12-25" } });
        let rows = json!({ "metadata": { "name": ROWS }, "data": { "rows.csv": "id\na\n" } });
        for map in [days, rows] {
            let map: ConfigMap = serde_json::from_value(map).expect("a ConfigMap");
            stage.namespace.api().create(&PostParams::default(), &map).await.expect("it is made");
        }
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": { "name": BESIDE },
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "resources": { "requests": { "storage": "1Gi" } },
            },
        }))
        .expect("a claim");
        stage.namespace.api().create(&PostParams::default(), &claim).await.expect("it is made");
        catalog(&stage).await;
        let mut options = options(stage.name());
        options.net = NET;
        let operator = stage.operator_of(options, Faults::default(), |operator| {
            let engine = operator.engine::<Kv>();
            operator.declared::<Namespaces>(&engine);
            operator.backups(&engine);
            let engine = operator.engine::<Jobs>();
            operator.declared::<Schedules>(&engine);
        });
        if let Some(about) = hints.about {
            make_ready(&stage, about()).await;
        }
        let crds = orrery_api::generate::crds();
        let crd = crds.iter().find(|crd| crd.spec.names.kind == hints.kind).expect("a known kind");
        let version = &crd.spec.versions[0].name;
        let resource = ApiResource {
            group: crd.spec.group.clone(),
            version: version.clone(),
            api_version: format!("{}/{version}", crd.spec.group),
            kind: crd.spec.names.kind.clone(),
            plural: crd.spec.names.plural.clone(),
        };
        let client = stage.namespace.client();
        let api = Api::namespaced_with(client, stage.name(), &resource);
        let hints = hints.clone();
        Some(Self { stage, operator, processes, api, resource, hints, seed })
    }

    pub(super) async fn create(&self, spec: &Value) -> Outcome {
        let mut object = DynamicObject::new(NAME, &self.resource);
        object.data = json!({ "spec": spec });
        match self.api.create(&PostParams::default(), &object).await {
            Ok(_) => Outcome::Rests(self.rest().await),
            Err(error) => not_taken(&error),
        }
    }

    /// Gives the object the spec, and waits for rest.
    pub(super) async fn set(&self, spec: &Value) -> Outcome {
        if self.hints.is_fixed {
            if self.api.get_opt(NAME).await.expect("an answer").is_some() {
                self.delete().await;
            }
            return self.create(spec).await;
        }
        loop {
            let mut object = self.api.get(NAME).await.expect("it is there");
            object.data["spec"] = spec.clone();
            match self.api.replace(NAME, &PostParams::default(), &object).await {
                Ok(_) => return Outcome::Rests(self.rest().await),
                // A status was written meanwhile.
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(error) => return not_taken(&error),
            }
        }
    }

    /// The spec as it is stored, with the defaults of the schema.
    pub(super) async fn spec(&self) -> Value {
        self.api.get(NAME).await.expect("it is there").data["spec"].clone()
    }

    /// Deletes the object and waits until nothing is left of it.
    pub(super) async fn delete(&self) {
        self.api.delete(NAME, &DeleteParams::default()).await.expect("it is there");
        let gone = || async {
            self.api.get_opt(NAME).await.is_ok_and(|object| object.is_none())
                && !has_children(&state(&self.stage).await)
        };
        let gone = poll("nothing is left of it", LIMIT, gone).await;
        assert!(gone.is_ok(), "{}: {:#?}", self.words(), state(&self.stage).await);
    }

    /// How the newest spec rests.
    pub(super) async fn rest(&self) -> Verdict {
        let found = Mutex::new(None);
        let resting = || async {
            let Some(verdict) = self.verdict().await else { return false };
            let before = (self.everything().await, self.operator.metrics.writes());
            tokio::time::sleep(QUIET).await;
            let still = (self.everything().await, self.operator.metrics.writes()) == before;
            let same = self.verdict().await.as_ref() == Some(&verdict);
            *found.lock().expect("no holder panics") = Some(verdict);
            still && same
        };
        if let Err(error) = poll("it comes to rest", LIMIT, resting).await {
            let object = self.api.get_opt(NAME).await;
            let (writes, all) = (self.operator.faults.writes(), self.everything().await);
            let last: Vec<_> = writes.iter().rev().take(20).collect();
            panic!("{}: {error}\n{object:#?}\nlast writes {last:#?}\n{all:#?}", self.words());
        }
        assert!(!self.operator.has_ended(), "{}: the operator goes on", self.words());
        let errors = errors::of(self.stage.name());
        assert!(errors.is_empty(), "{}: {errors:#?}", self.words());
        found.into_inner().expect("no holder panics").expect("it rests")
    }

    async fn verdict(&self) -> Option<Verdict> {
        let object = self.api.get_opt(NAME).await.ok()??;
        let (status, generation) = (&object.data["status"], json!(object.metadata.generation));
        let condition = |name: &str| {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            conditions.clone().find(|condition| condition["type"] == name).cloned()
        };
        let (ready, stalled) = (condition("Ready")?, condition("Stalled")?);
        let reconciling = condition("Reconciling")?;
        let reason = ready["reason"].as_str().unwrap_or_default().to_owned();
        if ready["observedGeneration"] != generation {
            return None;
        }
        if stalled["status"] == "True" {
            assert!(!reason.is_empty() && reason != "Settled", "{}: {status:#}", self.words());
            return Some(Verdict::Refused(reason));
        }
        if reason == "Paused" {
            return Some(Verdict::Paused);
        }
        if WAITS.contains(&reason.as_str()) {
            return Some(Verdict::Waits(reason));
        }
        if status["observedGeneration"] != generation || ready["status"] != "True" {
            return None;
        }
        // What Ready promises.
        assert_eq!(reconciling["status"], "False", "{}: {status:#}", self.words());
        Some(Verdict::Ready)
    }

    /// Everything the operator made and said, the object included.
    pub(super) async fn everything(&self) -> State {
        let mut all = state(&self.stage).await;
        let object = self.api.get_opt(NAME).await.ok().flatten();
        if let Some(object) = object {
            let object = serde_json::to_value(object).expect("JSON");
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            all.insert("the object".into(), crate::stage::cleaned(object));
            forget_the_uid(&mut all, &uid);
        }
        all
    }

    /// What children and processes show of the spec; not the object itself.
    pub(super) async fn shown(&self) -> BTreeMap<String, Value> {
        let mut shown = self.everything().await;
        let tells = |object: &Value| {
            let all = self.hints.tells.iter();
            all.map(|field| object["status"][field].clone()).collect::<Value>()
        };
        let told = shown.get("the object").map(tells);
        shown.retain(|name, _| !name.starts_with("KV") && name != "the object");
        shown.extend(told.map(|told| ("told".to_owned(), told)));
        for (pod, seen) in self.processes.seen() {
            let told = seen.renewed.map(|told| json!([told.followers, told.synchronous]));
            let process = json!({ "config": seen.config, "told": told, "declared": seen.declared,
                "fenced": seen.fenced, "role": format!("{:?}", seen.role) });
            shown.insert(format!("process {pod}"), process);
        }
        shown
    }

    /// Volume claims of the object.
    pub(super) async fn claims(&self) -> usize {
        let api = self.stage.namespace.api::<PersistentVolumeClaim>();
        let mut all = api.list(&ListParams::default()).await.expect("a list").items;
        all.retain(|claim| claim.name_any() != BESIDE);
        all.iter().filter(|claim| claim.metadata.deletion_timestamp.is_none()).count()
    }

    /// How to see this again.
    pub(super) fn words(&self) -> String {
        format!("ORRERY_WALK_SEED={} in {}", self.seed, self.stage.name())
    }
}

/// The catalog of the releases that are walked; several walks share it.
async fn catalog(stage: &Stage) {
    let releases = json!({ "releases": [{ "version": "1.0.0", "image": "walk:1.0.0" }] });
    let spec = serde_json::from_value(releases).expect("a spec");
    let api: Api<ReleaseCatalog> = Api::all(stage.namespace.client());
    let manager = PatchParams::apply("walk").force();
    let catalog = Patch::Apply(ReleaseCatalog::new(BESIDE, spec));
    api.patch(BESIDE, &manager, &catalog).await.expect("a valid object");
}

/// The KVCluster that the walked object is about.
async fn make_ready(stage: &Stage, spec: Value) {
    let spec = serde_json::from_value(spec).expect("a spec");
    let cluster = KVCluster::new(BESIDE, spec);
    clusters(stage).create(&PostParams::default(), &cluster).await.expect("a valid object");
    let ready = || async {
        let cluster = clusters(stage).get(BESIDE).await.ok().and_then(|cluster| cluster.status);
        let conditions = cluster.map(|status| status.common.conditions).unwrap_or_default();
        find(&conditions, ConditionType::Ready)
            .is_some_and(|ready| ready.status == ConditionStatus::True)
    };
    poll("the KVCluster is ready", LIMIT, ready).await.expect("its processes answer");
}

fn not_taken(error: &kube::Error) -> Outcome {
    let kube::Error::Api(status) = error else { panic!("no refusal: {error}") };
    assert!(matches!(status.code, 400 | 422), "refused for what it says: {status:?}");
    Outcome::NotTaken(status.message.clone())
}

/// Whether something of the object's own is left.
fn has_children(state: &State) -> bool {
    let prefix = format!(" {NAME}-");
    state.keys().any(|name| !name.starts_with("KV") && name.contains(&prefix))
}

/// Lines the operators of these tests log at error level.
mod errors {
    use super::*;

    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Lines;

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let line = String::from_utf8_lossy(bytes);
            if line.contains("\"ERROR\"") {
                LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line.into_owned());
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            Self
        }
    }

    /// Collects from now on. The only subscriber of this test program.
    pub(super) fn listen() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let collect = tracing_subscriber::fmt().json().with_writer(|| Lines);
            collect.with_env_filter("orrery_runtime=info").init();
        });
    }

    /// Those that name this namespace.
    pub(super) fn of(namespace: &str) -> Vec<String> {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(namespace)).cloned().collect()
    }
}

/// An archive names the object that owns it: where the UID stands in a text, hashes over it differ
/// from object to object as well.
fn forget_the_uid(all: &mut State, uid: &str) {
    let mut shows = false;
    for object in all.values_mut() {
        each_text(object, &mut |_, text| {
            if text.contains(uid) {
                *text = text.replace(uid, "the UID");
                shows = true;
            }
        });
    }
    if shows {
        let hash = |name: &str| name.ends_with("-hash") || name == "desiredHash";
        for object in all.values_mut() {
            each_text(object, &mut |name, text| {
                if hash(name) {
                    text.clear();
                }
            });
        }
    }
}

/// Calls `look` with each text and the name of its field.
fn each_text(value: &mut Value, look: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) => look(name, text),
                    value => each_text(value, look),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| each_text(value, look)),
        _ => {}
    }
}
