//! Rounds of a declared kind: what it says while its engine is absent, silent, or has spoken.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::core::DeserializeGuard;
use orrery_api::condition::find;
use orrery_api::{Condition, ConditionStatus, ConditionType};
use serde_json::{Value, json};

use super::*;
use crate::board::SetAnswer;
use crate::context::Options;
use crate::liveness::Liveness;
use crate::observation::Acceptance;
use crate::toy::{Toy, ToyItem, ToyItemSpec, ToyItems, ToySpec, ToySystem};

struct Bench {
    kind: Arc<DeclaredKind<ToyItems>>,
    /// Method, path and body of each call.
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    /// ConfigMaps by path.
    maps: Arc<Mutex<HashMap<String, Value>>>,
}

impl Bench {
    fn new() -> Self {
        let calls: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let log = Arc::clone(&calls);
        let maps: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
        let stored = Arc::clone(&maps);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (log, stored) = (Arc::clone(&log), Arc::clone(&stored));
            async move {
                let (parts, body) = request.into_parts();
                if parts.method == http::Method::GET {
                    let stored = stored.lock().expect("no test panics inside");
                    return Ok(read(stored.get(parts.uri.path())));
                }
                let bytes = body.collect_bytes().await.expect("a whole body");
                let mut body: Value = serde_json::from_slice(&bytes).expect("JSON");
                let call = format!("{} {}", parts.method, parts.uri.path());
                log.lock().expect("no test panics inside").push((call, body.clone()));
                if body.get("spec").is_none() {
                    body["spec"] = json!({});
                }
                let answer = Body::from(body.to_string().into_bytes());
                Ok::<_, tower::BoxError>(Response::new(answer))
            }
        });
        let client = Client::new(service, "ns");
        let (liveness, metrics) = (Arc::<Liveness>::default(), Arc::default());
        let options = Options::new("image", "1.0", "me");
        let ctx = Arc::new(Context::new(
            client.clone(),
            Arc::new(crate::lease::Gate::open()),
            options,
            Arc::clone(&metrics),
            liveness.clone(),
        ));
        let (toys, items) = (Cache::default(), Cache::default());
        toys.replace(HashMap::new());
        items.replace(HashMap::new());
        let events = || Events::new(client.clone(), "toy", "me", liveness.clone());
        let engine = Arc::new(Engine::<ToySystem> {
            ctx: Arc::clone(&ctx),
            events: events(),
            cache: toys,
            triggers: Triggers::new("toy", Duration::ZERO, Arc::clone(&metrics)),
            sources: Mutex::default(),
            statuses: StatusMemory::default(),
        });
        let kind = Arc::new(DeclaredKind::<ToyItems> {
            ctx,
            events: events(),
            kind: "ToyItem",
            cache: items,
            triggers: Triggers::new("toyitem", Duration::ZERO, metrics),
            engine,
            statuses: StatusMemory::default(),
            inputs: Inputs::default(),
        });
        Self { kind, calls, maps }
    }

    fn with_engine(self, name: &str) -> Self {
        let mut toy = Toy::new(name, ToySpec::default());
        toy.metadata.namespace = Some("ns".into());
        toy.metadata.uid = Some("u".into());
        let cache = &self.kind.engine.cache;
        cache.insert(key_of(&toy), Arc::new(DeserializeGuard(Ok(toy))));
        self
    }

    fn add(&mut self, item: &ToyItem) {
        let kept = Arc::new(DeserializeGuard(Ok(item.clone())));
        self.kind.cache.insert(key_of(item), kept);
    }

    /// Runs a round and returns the Ready condition that was written.
    async fn ready(&mut self, item: &ToyItem) -> Condition {
        self.add(item);
        self.kind.reconcile(item).await.expect("no faults");
        let calls = self.calls.lock().expect("no test panics inside");
        let (_, body) =
            calls.iter().rev().find(|(call, _)| call.ends_with("/status")).expect("one");
        let conditions: Vec<Condition> =
            serde_json::from_value(body["status"]["conditions"].clone()).expect("conditions");
        find(&conditions, ConditionType::Ready).expect("from the first visit").clone()
    }

    fn created(&self) -> Vec<String> {
        let calls = self.calls.lock().expect("no test panics inside");
        let posts =
            calls.iter().filter(|(call, _)| call.starts_with("POST") && call.ends_with("/toys"));
        posts
            .map(|(_, body)| body["metadata"]["name"].as_str().unwrap_or_default().into())
            .collect()
    }
}

/// What a server answers when it is asked for an object.
fn read(object: Option<&Value>) -> Response<Body> {
    let missing = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": "NotFound", "message": "not found", "code": 404,
    });
    let code = if object.is_some() { 200 } else { 404 };
    let body = object.unwrap_or(&missing).to_string().into_bytes();
    Response::builder().status(code).body(Body::from(body)).expect("a whole response")
}

fn item(name: &str, toy: Option<&str>, value: i64) -> ToyItem {
    let mut item =
        ToyItem::new(name, ToyItemSpec { toy: toy.map(str::to_owned), value, map: None });
    item.metadata.namespace = Some("ns".into());
    item.metadata.uid = Some(format!("uid-{name}"));
    item.metadata.generation = Some(1);
    item
}

fn answer(generation: i64, accepted: bool) -> BTreeMap<Key, Acceptance> {
    let acceptance = Acceptance { generation, accepted, ..Acceptance::default() };
    BTreeMap::from([(("ns".to_owned(), "a".to_owned()), acceptance)])
}

#[tokio::test]
async fn the_default_engine_is_created_on_demand() {
    let mut bench = Bench::new();
    let ready = bench.ready(&item("a", None, 1)).await;
    assert_eq!((ready.status, ready.reason.as_str()), (ConditionStatus::False, "EngineMissing"));
    assert_eq!(bench.created(), ["default"]);
}

#[tokio::test]
async fn a_named_engine_that_is_missing_is_a_condition_and_is_not_created() {
    let mut bench = Bench::new().with_engine("other");
    let ready = bench.ready(&item("a", Some("mine"), 1)).await;
    assert_eq!((ready.status, ready.reason.as_str()), (ConditionStatus::False, "RefNotFound"));
    assert!(bench.created().is_empty());
}

#[tokio::test]
async fn the_answer_of_the_engine_counts_only_for_the_generation_it_is_about() {
    let mut bench = Bench::new().with_engine("default");
    assert_eq!(bench.ready(&item("a", None, 1)).await.reason, "EngineNotReady");
    let board = &Arc::clone(&bench.kind).ctx.board;
    board.publish("ToyItem", "u", SetAnswer::default(), answer(1, true));
    assert_eq!(bench.ready(&item("a", None, 1)).await.reason, "AcceptedByEngine");
    let mut edited = item("a", None, 2);
    edited.metadata.generation = Some(2);
    assert_eq!(bench.ready(&edited).await.reason, "EngineNotReady");
    board.publish("ToyItem", "u", SetAnswer::default(), answer(2, false));
    assert_eq!(bench.ready(&edited).await.reason, "RefusedByEngine");
}

#[tokio::test]
async fn of_two_that_exclude_each_other_the_younger_is_refused_and_not_sent() {
    let mut bench = Bench::new().with_engine("default");
    let (older, younger) = (item("a", None, 7), item("b", None, 7));
    bench.add(&older);
    assert_eq!(bench.ready(&younger).await.reason, "Conflict");
    let source = Source { kind: Arc::clone(&bench.kind), marker: PhantomData };
    let sent = source.objects("ns", "default").await.expect("nothing is pointed to");
    let names: Vec<&str> = sent.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["a"]);
}

#[tokio::test]
async fn a_change_calls_the_object_its_siblings_and_both_engines() {
    let mut bench = Bench::new();
    let (old, new) = (item("a", Some("one"), 1), item("a", Some("two"), 1));
    bench.add(&item("b", Some("two"), 2));
    bench.add(&new);
    let guard = |item: ToyItem| Some(Arc::new(DeserializeGuard(Ok(item))));
    let mut edited = new;
    edited.metadata.generation = Some(2);
    bench.kind.changed(&Change { old: guard(old), new: guard(edited) });
    let called = |triggers: &Triggers| {
        let mut names: Vec<_> = std::iter::from_fn(|| triggers.start()).map(|key| key.1).collect();
        names.sort();
        names
    };
    assert_eq!(called(&bench.kind.triggers), ["a", "b"]);
    assert_eq!(called(&bench.kind.engine.triggers), ["one", "two"]);
}

#[tokio::test]
async fn what_an_object_points_to_is_waited_for_then_sent_and_kept() {
    let mut bench = Bench::new().with_engine("default");
    let mut pointing = item("a", None, 1);
    pointing.spec.map = Some("holidays".into());
    let ready = bench.ready(&pointing).await;
    assert_eq!((ready.status, ready.reason.as_str()), (ConditionStatus::False, "RefNotFound"));
    assert!(ready.message.contains("ConfigMap holidays"), "{}", ready.message);
    let source = Source { kind: Arc::clone(&bench.kind), marker: PhantomData };
    let sent = source.objects("ns", "default").await.expect("it could be asked");
    let sent: Vec<_> = sent.iter().map(|object| (object.name.as_str(), &*object.spec)).collect();
    assert_eq!(sent, [("a", &b""[..])], "what is there of it stays");

    let path = "/api/v1/namespaces/ns/configmaps/holidays".to_owned();
    let map = |day: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "holidays"},
               "data": {"days": day}})
    };
    let put = |map| bench.maps.lock().expect("no test panics inside").insert(path.clone(), map);
    put(map("12-25"));
    let _ = bench.kind.engine.triggers.start();
    let next = bench.kind.reconcile(&pointing).await.expect("no faults");
    assert_eq!(next, Next::Within(Duration::from_secs(30)));
    assert!(bench.kind.engine.triggers.start().is_some(), "the engine gets it");
    let text = async || {
        let sent = source.objects("ns", "default").await.expect("it could be asked");
        String::from_utf8_lossy(&sent[0].spec).into_owned()
    };
    assert!(text().await.contains("12-25"));
    put(map("01-01"));
    assert!(text().await.contains("12-25"), "the round of the object looks");
    bench.kind.reconcile(&pointing).await.expect("no faults");
    assert!(text().await.contains("01-01"));
    bench.maps.lock().expect("no test panics inside").clear();
    assert_eq!(bench.ready(&pointing).await.reason, "RefNotFound");
    assert!(text().await.contains("01-01"), "what was known goes on");
}
