//! Rounds against a scripted server: which requests leave, in which order, and above all which do
//! not. The server knows nothing; it answers a read with what the test put there, and a write with
//! what was written, with the next version.

use std::collections::HashMap;
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::client::Body;
use orrery_api::condition::is_true;
use serde_json::{Value, json};

use super::*;
use crate::children::{Child, ChildKind};
use crate::context::Options;
use crate::liveness::Liveness;
use crate::observation::WorkloadView;
use crate::toy::{Toy, ToySpec, ToyStatus, ToySystem};

mod process;
mod shards;

#[derive(Debug, Default)]
struct Script {
    /// What is stored, by path.
    objects: HashMap<String, Value>,
    requests: Vec<(String, Value)>,
    version: u64,
    /// The path whose writes fail.
    broken: Option<String>,
}

type Shared = Arc<Mutex<Script>>;

fn kind_of(path: &str) -> Option<ChildKind> {
    let plural = path.rsplit('/').nth(1)?;
    ChildKind::ALL.into_iter().find(|kind| format!("{kind}s").to_lowercase() == plural)
}

impl Script {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        self.requests.push((format!("{method} {path}"), body.clone()));
        if *method == Method::GET {
            let missing = json!({"kind": "Status", "code": 404, "reason": "NotFound"});
            return match self.objects.get(path) {
                Some(object) => (200, object.clone()),
                None => (404, missing),
            };
        }
        if *method == Method::DELETE {
            self.objects.remove(path);
            return (200, json!({"kind": "Status", "status": "Success"}));
        }
        if self.broken.as_deref() == Some(path) {
            return (500, json!({"kind": "Status", "code": 500, "reason": "InternalError"}));
        }
        let meant = body["metadata"]["uid"].as_str().filter(|_| kind_of(path).is_some());
        let stored = self.objects.get(path).and_then(|object| object["metadata"]["uid"].as_str());
        if meant.is_some() && meant != stored {
            let conflict = json!({"kind": "Status", "code": 409, "reason": "Conflict"});
            return (409, conflict);
        }
        self.version += 1;
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let path = if *method == Method::POST { format!("{path}/{name}") } else { path.to_owned() };
        let mut stored = body;
        stored["metadata"]["uid"] = json!(format!("uid-{path}"));
        stored["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if path.contains("statefulsets") {
            stored["metadata"]["generation"] = json!(1);
        }
        self.objects.insert(path.clone(), stored.clone());
        if path.ends_with("/status") {
            stored["spec"] = json!({});
        }
        (200, stored)
    }

    /// What happened since the last look: method and last two parts of the path.
    fn happened(&mut self) -> Vec<String> {
        let requests = self.requests.drain(..);
        let short = requests.map(|(request, _)| {
            let (method, path) = request.split_once(' ').expect("two words");
            let parts: Vec<&str> = path.rsplit('/').take(2).collect();
            format!("{method} {}/{}", parts[1], parts[0])
        });
        short.filter(|request| !request.contains("/events")).collect()
    }
}

struct Bench {
    engine: Engine<ToySystem>,
    script: Shared,
}

impl Bench {
    fn new() -> Self {
        let script = Shared::default();
        let server = Arc::clone(&script);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect_bytes().await.expect("a whole body");
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                let mut server = server.lock().expect("no test panics inside");
                let (code, body) = server.answer(&parts.method, parts.uri.path(), body);
                let body = Body::from(body.to_string().into_bytes());
                let mut response = Response::new(body);
                *response.status_mut() = http::StatusCode::from_u16(code).expect("a code");
                Ok::<_, tower::BoxError>(response)
            }
        });
        let client = Client::new(service, "ns");
        let options = Options::new("image", "1.0", "me");
        let liveness = Arc::<Liveness>::default();
        let metrics = Arc::default();
        let ctx = Context::new(
            client.clone(),
            Arc::new(crate::lease::Gate::open()),
            options,
            Arc::clone(&metrics),
            liveness.clone(),
        );
        let engine = Engine {
            ctx: Arc::new(ctx),
            events: Events::new(client, "toy", "me", liveness),
            cache: Cache::default(),
            triggers: Triggers::new("toy", Duration::ZERO, metrics),
            sources: Mutex::default(),
            statuses: StatusMemory::default(),
        };
        Self { engine, script }
    }

    /// Rounds of an object that is stored as the caches show it, until nothing more is due.
    async fn reconcile(&self, toy: &Toy) -> Result<Next, StepError> {
        self.store(toy);
        loop {
            match self.engine.reconcile(toy).await {
                Ok(Next::InTurn) => {}
                result => return result,
            }
        }
    }

    fn store(&self, toy: &Toy) {
        let path = "/apis/test.orrery.dev/v1alpha1/namespaces/ns/toys/a";
        let stored = serde_json::to_value(toy).expect("JSON");
        self.script.lock().expect("no test panics inside").objects.insert(path.into(), stored);
    }

    async fn round(&self, toy: &Toy) -> (Vec<String>, Result<Next, StepError>) {
        let result = self.reconcile(toy).await;
        (self.script.lock().expect("no test panics inside").happened(), result)
    }

    /// Shows the caches what is stored, as the watches would.
    fn watched(&self) {
        let script = self.script.lock().expect("no test panics inside");
        for (path, object) in &script.objects {
            let Some(kind) = kind_of(path) else { continue };
            let meta: ObjectMeta =
                serde_json::from_value(object["metadata"].clone()).expect("metadata");
            let workload = (kind == ChildKind::StatefulSet).then(|| WorkloadView {
                name: meta.name.clone().unwrap_or_default(),
                replicas: object["spec"]["replicas"].as_i64().unwrap_or(1) as i32,
                observed: true,
                ..WorkloadView::default()
            });
            self.engine.ctx.children.apply(kind, &meta, Child::new(&meta, workload));
        }
    }

    /// The status that is stored.
    fn status(&self) -> ToyStatus {
        let script = self.script.lock().expect("no test panics inside");
        let path = "/apis/test.orrery.dev/v1alpha1/namespaces/ns/toys/a/status";
        serde_json::from_value(script.objects[path]["status"].clone()).expect("a status")
    }

    /// The stored object as the main watch would show it after the last status write.
    fn shown(&self, toy: &Toy) -> Toy {
        let mut shown = toy.clone();
        shown.status = Some(self.status());
        shown.metadata.resource_version = Some("1000".into());
        shown
    }
}

fn toy(spec: ToySpec) -> Toy {
    let mut toy = Toy::new("a", spec);
    toy.metadata.namespace = Some("ns".into());
    toy.metadata.uid = Some("toy-uid".into());
    toy.metadata.generation = Some(1);
    toy.metadata.resource_version = Some("0".into());
    toy
}

fn with_service() -> ToySpec {
    ToySpec { service: true, ..ToySpec::default() }
}

#[tokio::test]
async fn a_new_object_is_told_that_it_was_seen_and_applied_in_order() {
    let bench = Bench::new();
    let (requests, result) = bench.round(&toy(with_service())).await;
    result.expect("no faults");
    assert_eq!(
        requests,
        [
            "PATCH a/status",
            "GET toys/a",
            "GET serviceaccounts/a-toy",
            "PATCH serviceaccounts/a-toy",
            "GET secrets/a-toy",
            "POST ns/secrets",
            "PATCH secrets/a-toy",
            "GET configmaps/a-toy",
            "PATCH configmaps/a-toy",
            "GET services/a-toy",
            "PATCH services/a-toy",
            "GET statefulsets/a-toy",
            "PATCH statefulsets/a-toy",
            "PATCH a/status",
        ]
    );
}

#[tokio::test]
async fn an_unchanged_object_causes_no_request_at_all() {
    let bench = Bench::new();
    let object = toy(with_service());
    bench.round(&object).await.1.expect("no faults");
    bench.watched();
    // What status says of the workload changed with the caches; after that it is at rest.
    bench.round(&object).await.1.expect("no faults");
    let shown = bench.shown(&object);
    for _ in 0..3 {
        let (requests, result) = bench.round(&shown).await;
        result.expect("no faults");
        assert_eq!(requests, Vec::<String>::new());
    }
}

#[tokio::test]
async fn p6_our_own_status_write_is_not_repeated_while_the_cache_is_behind() {
    let bench = Bench::new();
    let object = toy(ToySpec::default());
    bench.round(&object).await.1.expect("no faults");
    bench.watched();
    bench.round(&object).await.1.expect("no faults");
    let (requests, _) = bench.round(&object).await;
    assert_eq!(requests, Vec::<String>::new(), "the object shown still has no status");
}

#[tokio::test]
async fn p6_a_workload_shown_from_before_our_write_is_not_taken_for_rolled_out() {
    let bench = Bench::new();
    bench.round(&toy(ToySpec::default())).await.1.expect("no faults");
    bench.watched();
    let reconciling = |bench: &Bench| {
        let conditions = bench.status().common.conditions;
        condition::find(&conditions, ConditionType::Reconciling).expect("there").reason.clone()
    };
    let mut edited = toy(ToySpec { text: "two".into(), ..ToySpec::default() });
    edited.metadata.generation = Some(2);
    {
        // As shown, the set is complete: it has nothing to say about the edit yet.
        let children = &bench.engine.ctx.children;
        let mut shown = children.get(ChildKind::StatefulSet, "ns", "a-toy").expect("watched");
        let view = shown.workload.as_mut().expect("a workload");
        (view.updated_replicas, view.ready_replicas) = (1, 1);
        let script = bench.script.lock().expect("no test panics inside");
        let set = &script.objects["/apis/apps/v1/namespaces/ns/statefulsets/a-toy"];
        let meta = serde_json::from_value(set["metadata"].clone()).expect("metadata");
        children.apply(ChildKind::StatefulSet, &meta, shown);
    }
    bench.round(&edited).await.1.expect("no faults");
    assert_eq!(reconciling(&bench), "RollingOut");
}

#[tokio::test]
async fn a_child_that_somebody_edited_is_put_back_and_only_that_one() {
    let bench = Bench::new();
    let object = toy(with_service());
    bench.round(&object).await.1.expect("no faults");
    bench.watched();
    bench.round(&object).await.1.expect("no faults");
    {
        let mut script = bench.script.lock().expect("no test panics inside");
        script.version = 50;
        let path = "/api/v1/namespaces/ns/configmaps/a-toy";
        let map = script.objects.get_mut(path).expect("applied");
        map["metadata"]["resourceVersion"] = json!("50");
        map["data"]["text"] = json!("edited");
    }
    bench.watched();
    let (requests, result) = bench.round(&bench.shown(&object)).await;
    result.expect("no faults");
    assert_eq!(requests, ["GET toys/a", "PATCH configmaps/a-toy"]);
}

#[tokio::test]
async fn a_child_that_was_deleted_comes_back() {
    let bench = Bench::new();
    let object = toy(with_service());
    bench.round(&object).await.1.expect("no faults");
    bench.watched();
    bench.round(&object).await.1.expect("no faults");
    let path = "/api/v1/namespaces/ns/configmaps/a-toy";
    let gone = bench.script.lock().expect("no test panics inside").objects.remove(path);
    let gone: ConfigMap = serde_json::from_value(gone.expect("applied")).expect("a map");
    let owner = bench.engine.ctx.children.delete(ChildKind::ConfigMap, &gone.metadata);
    assert_eq!(owner.expect("it has an owner").name, "a");
    let (requests, _) = bench.round(&bench.shown(&object)).await;
    assert_eq!(requests, ["GET toys/a", "GET configmaps/a-toy", "PATCH configmaps/a-toy"]);
}

#[tokio::test]
async fn p8_an_orphan_is_looked_at_and_deleted_under_what_was_seen() {
    let bench = Bench::new();
    bench.round(&toy(with_service())).await.1.expect("no faults");
    bench.watched();
    let mut slim = toy(ToySpec::default());
    slim.metadata.generation = Some(2);
    let result = bench.reconcile(&slim).await;
    result.expect("no faults");
    let mut script = bench.script.lock().expect("no test panics inside");
    let delete = script.requests.iter().find(|(request, _)| request.starts_with("DELETE"));
    let body = delete.expect("the service is deleted").1.clone();
    assert_eq!(body["preconditions"]["uid"], "uid-/api/v1/namespaces/ns/services/a-toy");
    assert!(body["preconditions"]["resourceVersion"].is_string());
    let requests = script.happened();
    let place = |wanted: &str| requests.iter().position(|request| request == wanted);
    assert!(place("GET services/a-toy") < place("DELETE services/a-toy"), "{requests:?}");
}

#[tokio::test]
async fn p6_an_orphan_that_belongs_to_another_object_by_now_is_left_alone() {
    let bench = Bench::new();
    bench.round(&toy(with_service())).await.1.expect("no faults");
    bench.watched();
    {
        let mut script = bench.script.lock().expect("no test panics inside");
        let path = "/api/v1/namespaces/ns/services/a-toy";
        let service = script.objects.get_mut(path).expect("applied");
        service["metadata"]["ownerReferences"][0]["uid"] = json!("someone-else");
    }
    let (requests, result) = bench.round(&toy(ToySpec::default())).await;
    result.expect("no faults");
    assert!(!requests.iter().any(|request| request.starts_with("DELETE")), "{requests:?}");
}

#[tokio::test]
async fn p6_nothing_is_written_for_an_object_that_is_not_stored_like_this() {
    let bench = Bench::new();
    let shown = Toy { status: Some(ToyStatus::default()), ..toy(with_service()) };
    let mut other_life = shown.clone();
    other_life.metadata.uid = Some("second-life".into());
    let mut newer_spec = shown.clone();
    newer_spec.metadata.generation = Some(2);
    for stored in [other_life, newer_spec] {
        bench.store(&stored);
        let error = bench.engine.reconcile(&shown).await.expect_err("the view is of the past");
        assert_eq!(error.class(), Class::WaitingFor);
        let requests = bench.script.lock().expect("no test panics inside").happened();
        assert_eq!(requests, ["GET toys/a"]);
    }
}

#[tokio::test]
async fn p6_a_child_of_a_later_object_of_the_name_is_not_taken_for_ours() {
    let bench = Bench::new();
    bench.round(&toy(ToySpec::default())).await.1.expect("no faults");
    bench.watched();
    let path = "/api/v1/namespaces/ns/configmaps/a-toy";
    {
        let mut script = bench.script.lock().expect("no test panics inside");
        let map = script.objects.get_mut(path).expect("applied");
        map["metadata"]["uid"] = json!("made-anew");
        map["metadata"]["ownerReferences"][0]["uid"] = json!("second-life");
    }
    let mut edited = toy(ToySpec { text: "two".into(), ..ToySpec::default() });
    edited.metadata.generation = Some(2);
    let (requests, result) = bench.round(&edited).await;
    assert_eq!(result.expect_err("it is in the way").class(), Class::WaitingFor);
    let refused = ["GET toys/a", "PATCH configmaps/a-toy", "GET configmaps/a-toy"];
    assert_eq!(requests[..3], refused);
    let script = bench.script.lock().expect("no test panics inside");
    let owner = &script.objects[path]["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!(owner, "second-life");
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_and_nothing_is_overwritten() {
    let bench = Bench::new();
    let path = "/api/v1/namespaces/ns/configmaps/a-toy";
    let foreign = json!({"metadata": {"name": "a-toy", "namespace": "ns", "uid": "x"}});
    bench.script.lock().expect("no test panics inside").objects.insert(path.into(), foreign);
    let (requests, result) = bench.round(&toy(ToySpec::default())).await;
    assert_eq!(result.expect("said in the status"), Next::OnChange);
    assert!(!requests.contains(&"PATCH configmaps/a-toy".to_owned()), "{requests:?}");
    assert!(is_true(&bench.status().common.conditions, ConditionType::Stalled));
}

#[tokio::test]
async fn a_refused_spec_writes_only_its_status_and_going_back_recovers() {
    let bench = Bench::new();
    let broken = toy(ToySpec { broken: true, ..ToySpec::default() });
    let (requests, result) = bench.round(&broken).await;
    assert_eq!(result.expect("not an error"), Next::OnChange);
    assert_eq!(requests, ["PATCH a/status", "PATCH a/status"]);
    assert!(is_true(&bench.status().common.conditions, ConditionType::Stalled));
    let mut good = bench.shown(&toy(ToySpec::default()));
    good.metadata.generation = Some(2);
    bench.round(&good).await.1.expect("no faults");
    assert!(!is_true(&bench.status().common.conditions, ConditionType::Stalled));
}

#[tokio::test]
async fn a_paused_object_is_only_reported() {
    let bench = Bench::new();
    let paused = toy(ToySpec { operation: "Pause".into(), ..ToySpec::default() });
    let (requests, _) = bench.round(&paused).await;
    assert_eq!(requests, ["PATCH a/status"]);
    assert_eq!(bench.status().common.observed_generation, None);
}

#[tokio::test]
async fn a_missing_reference_is_waited_for_and_shown() {
    let bench = Bench::new();
    let waiting = toy(ToySpec { secret_ref: Some("absent".into()), ..ToySpec::default() });
    let (requests, result) = bench.round(&waiting).await;
    assert_eq!(result.expect_err("waits").class(), Class::WaitingFor);
    assert_eq!(requests, ["PATCH a/status", "GET secrets/absent", "PATCH a/status"]);
    let conditions = bench.status().common.conditions;
    let ready = condition::find(&conditions, ConditionType::Ready).expect("always there");
    assert_eq!(ready.reason, "RefNotFound");
}

#[tokio::test]
async fn p10_the_content_of_a_generated_secret_is_made_once() {
    let bench = Bench::new();
    let path = "/api/v1/namespaces/ns/secrets/a-toy";
    let content = |bench: &Bench| {
        let script = bench.script.lock().expect("no test panics inside");
        script.objects[path]["data"]["management-token"].clone()
    };
    bench.round(&toy(ToySpec::default())).await.1.expect("no faults");
    let first = content(&bench);
    // A fresh process remembers nothing.
    let fresh = Bench::new();
    let objects = bench.script.lock().expect("no test panics inside").objects.clone();
    fresh.script.lock().expect("no test panics inside").objects = objects;
    fresh.round(&toy(ToySpec::default())).await.1.expect("no faults");
    assert_eq!(content(&fresh), first);
}

#[tokio::test]
async fn hibernation_asks_for_no_pods_and_keeps_the_rest() {
    let bench = Bench::new();
    let asleep = toy(ToySpec { operation: "Hibernate".into(), ..ToySpec::default() });
    let (requests, _) = bench.round(&asleep).await;
    assert!(requests.contains(&"PATCH configmaps/a-toy".to_owned()));
    let script = bench.script.lock().expect("no test panics inside");
    let set = &script.objects["/apis/apps/v1/namespaces/ns/statefulsets/a-toy"];
    assert_eq!(set["spec"]["replicas"], 0);
}

#[tokio::test]
async fn p7_fields_that_are_not_ours_are_not_in_the_patch() {
    let bench = Bench::new();
    bench.reconcile(&toy(ToySpec::default())).await.expect("no faults");
    let script = bench.script.lock().expect("no test panics inside");
    let patch = script.requests.iter().find(|(request, _)| request.contains("PATCH /apis/apps"));
    let (_, body) = patch.expect("the set is applied");
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["apiVersion", "kind", "metadata", "spec"], "status is not ours there");
    let status = script.requests.iter().find(|(request, _)| request.ends_with("/status"));
    let (_, body) = status.expect("a status is written");
    assert!(body.get("spec").is_none(), "spec is never written");
    assert_eq!(body["metadata"]["uid"], "toy-uid", "another object of this name is not meant");
}
