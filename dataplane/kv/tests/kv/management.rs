//! The operator's side: the rules every data plane keeps, and what they mean for clients.

use orrery_operand::client::OperandClient;
use orrery_operand::conformance::{self, Specs, Subject};
use orrery_operand::set_hash::sync_request;
use orrery_operand::v1::DeclaredObject;

use crate::process::{Engine, Value, bulk, ok};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn operator(engine: &Engine) -> OperandClient {
    OperandClient::new(&format!("127.0.0.1:{}", engine.management), None).expect("an address")
}

fn namespace(name: &str, spec: &str) -> DeclaredObject {
    DeclaredObject {
        namespace: "default".into(),
        name: name.into(),
        uid: name.into(),
        generation: 1,
        spec: spec.into(),
    }
}

/// The port is open before recovery has ended; until then the engine says why it is not ready.
async fn wait_until_ready(operator: &OperandClient) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !operator.report().await.expect("it reports").ready {
        assert!(std::time::Instant::now() < end, "it does not become ready");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn the_engine_keeps_the_rules_of_the_management_protocol() {
    let engine = Engine::start("");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let subject = Subject {
        system: "kv".into(),
        declared: Some((
            "KVNamespace".into(),
            Specs {
                accepted: [
                    r#"{"match": {"prefix": "cache:"}, "class": "Cache"}"#.into(),
                    r#"{"match": {"database": 3}, "class": "Store"}"#.into(),
                ],
                refused: r#"{"match": {}, "class": "Store"}"#.into(),
            },
        )),
        tells_changes: false,
        has_errands: false,
        snapshot_to: Some(format!("file://{}", folder.path().display())),
    };
    block_on(async {
        let operator = operator(&engine);
        wait_until_ready(&operator).await;
        conformance::run(&operator, &subject).await
    })
    .expect("all rules");
}

#[test]
fn declared_namespaces_survive_a_kill_and_cache_keys_do_not() {
    let engine = Engine::start("");
    let set = vec![namespace("cache", r#"{"match": {"prefix": "c:"}, "class": "Cache"}"#)];
    block_on(async { operator(&engine).sync(sync_request("KVNamespace", set)).await })
        .expect("it is accepted");
    let mut client = engine.client();
    assert_eq!(client.run("SET c:1 x"), ok());
    assert_eq!(client.run("SET s:1 x"), ok());
    assert_eq!(client.run("CLIENT DURABILITY NONE"), ok());
    assert_eq!(client.run("SET c:2 x"), ok());
    assert!(client.run("SET s:2 x").text().starts_with("DURABILITY "));
    let engine = Engine::start_in(engine.kill());
    let mut client = engine.client();
    assert_eq!(client.run("GET c:1"), Value::Bulk(None));
    assert_eq!(client.run("GET s:1"), bulk("x"));
    assert!(client.run("INFO durability").text().contains("namespaces:1"));
}

#[test]
fn a_fenced_engine_refuses_writes_until_it_is_promoted() {
    let engine = Engine::start("");
    let mut client = engine.client();
    assert_eq!(client.run("SET a 1"), ok());
    block_on(async { operator(&engine).fence(0, 7).await }).expect("it obeys");
    assert!(client.run("SET a 2").text().starts_with("READONLY "));
    assert_eq!(client.run("GET a"), bulk("1"));
    let engine = Engine::start_in(engine.kill());
    let mut client = engine.client();
    assert!(client.run("SET a 2").text().starts_with("READONLY "), "it forgot the fence");
    block_on(async { operator(&engine).promote(0, 8).await }).expect("it obeys");
    assert_eq!(client.run("SET a 2"), ok());
}
