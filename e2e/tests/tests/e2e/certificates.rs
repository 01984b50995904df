//! Certificates of real pods: what they are given, and that new ones, and a new authority, cost
//! neither a client nor the operator a request.

use std::net::SocketAddr;
use std::time::Duration;

use orrery_e2e_cluster::{Order, output_within, poll};
use orrery_e2e_tests::client::{Client, Reply};
use serde_json::Value;

use crate::group::{LOSSLESS, SIGCONT, SIGSTOP, TURN, cluster, in_sync, moved_from, primary};
use crate::kubernetes::{LIMIT, Stage};
use crate::unfailing::Unfailing;

/// Three steps, each of which waits for every pod.
const ROTATION_LIMIT: Duration = Duration::from_mins(6);
/// For the answer to one command.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

async fn secret(stage: &Stage, name: &str) -> Option<Value> {
    let text = stage.kubectl(&["get", "secret", name, "-o=json"]).await.ok()?;
    serde_json::from_str(&text).ok()
}

/// What the Secret of object `a` says of its certificate.
async fn mark(stage: &Stage) -> Value {
    let own = secret(stage, "a-kv-identity").await.unwrap_or_default();
    let text = own["metadata"]["annotations"]["orrery.dev/certificate"].as_str().unwrap_or("null");
    serde_json::from_str(text).expect("JSON")
}

/// Clients of the primary: two keep their connections, one makes a new one all the time.
async fn clients(stage: &Stage) -> Unfailing {
    let ip = ["get", "pod", "a-kv-0", "-o=jsonpath={.status.podIP}"];
    let ip = stage.kubectl(&ip).await.expect("it is there");
    let address = SocketAddr::new(ip.parse().expect("an address"), 6379);
    let password = stage.password("a").await;
    Unfailing::start(&[u64::MAX, u64::MAX, 3], move |number| {
        let mut client = Client::connect(address).expect("it listens");
        let ok = client.call(&["AUTH", &password]).expect("it answers");
        assert_eq!(ok, Reply::Simple("OK".into()));
        move || {
            let key = format!("key:{number}");
            let reply = client.call(&["RPUSH", &key, "v"]).expect("it answers");
            assert!(matches!(reply, Reply::Integer(_)), "{reply:?}");
        }
    })
}

/// Waits until every pod of `a` said that it uses what its Secret has now.
async fn in_use(stage: &Stage, pods: usize) {
    let namespace = stage.namespace.name();
    let done = poll("every pod uses the newest certificate", ROTATION_LIMIT, || async {
        let hash = mark(stage).await["hash"].as_str().unwrap_or("none").to_owned();
        (0..pods).all(|number| {
            let log = stage.nodes.log(namespace, &format!("a-kv-{number}"), "kv");
            let log = log.unwrap_or_default();
            let uses = log.lines().rev().find(|line| line.contains("certificate of this process"));
            uses.is_some_and(|line| line.contains(&hash))
        })
    });
    done.await.unwrap_or_else(|error| panic!("{error}\n{}", stage.operator.log_tail()));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_their_authority_are_replaced_without_a_failed_request() {
    let turn = TURN.lock().await;
    let Some(stage) = Stage::new("certificates").await else { return };
    stage.apply(&cluster(&format!("{{{LOSSLESS}}}"))).await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 2).await;
    in_use(&stage, 3).await;
    let clients = clients(&stage).await;
    clients.go_on().await;

    let first = mark(&stage).await;
    let renew = ["delete", "secret", "a-kv-identity"];
    stage.kubectl(&renew).await.expect("it is there");
    in_use(&stage, 3).await;
    let renewed = mark(&stage).await;
    assert_eq!(renewed["issuer"], first["issuer"]);
    assert_ne!(renewed["hash"], first["hash"]);
    clients.go_on().await;

    let word = "orrery.dev/rotate-authority=now";
    let ask = ["annotate", "secret", "orrery-authority", word];
    stage.kubectl(&ask).await.expect("it is there");
    let over = poll("the next authority stands alone", ROTATION_LIMIT, || async {
        let authority = secret(&stage, "orrery-authority").await.unwrap_or_default();
        let data = &authority["data"];
        let is_over = data["next.crt"].is_null() && data["retiring.crt"].is_null();
        is_over && mark(&stage).await["issuer"] != first["issuer"]
    });
    over.await.unwrap_or_else(|error| panic!("{error}\n{}", stage.operator.log_tail()));
    in_use(&stage, 3).await;
    in_sync(&stage, 2).await;
    stage.ready("kvcluster/a").await;
    clients.go_on().await;

    // Nothing of it was a failover, and no pod was replaced.
    let history = stage.kubectl(&["get", "kvcluster/a", "-o=jsonpath={.status.lastFailover}"]);
    assert_eq!(history.await.expect("it is there"), "");
    let restarts =
        ["get", "pods", "-o=jsonpath={.items[*].status.containerStatuses[*].restartCount}"];
    let restarts = stage.kubectl(&restarts).await.expect("they are there");
    assert!(restarts.split_whitespace().all(|count| count == "0"), "{restarts}");
    let requests = clients.stop();
    println!("a renewal and a rotation: {requests} requests, none failed");
    drop(turn);
}

/// redis-cli over TLS at a pod, with the authorities in `folder`.
async fn redis_cli(stage: &Stage, pod: &str, words: &[&str]) -> String {
    let ip = ["get", "pod", pod, "-o=jsonpath={.status.podIP}"];
    let ip = stage.kubectl(&ip).await.expect("it is there");
    let password = stage.password("a").await;
    let mut command = std::process::Command::new("redis-cli");
    command.args(["-h", &ip, "--tls", "--cacert"]).arg(stage.folder().join("ca.crt"));
    command.env("REDISCLI_AUTH", password).args(words);
    // It waits for ever for the answer of a primary that lost its followers.
    let output = match output_within(&mut command, ANSWER_LIMIT) {
        Ok(output) => output,
        Err(error) => return error.to_string(),
    };
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
        + String::from_utf8_lossy(&output.stderr).trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_group_speak_tls_with_the_certificate_of_the_object_through_a_failover() {
    let turn = TURN.lock().await;
    let Some(stage) = Stage::new("tls-group").await else { return };
    let tls = "resp: {tls: {secretRef: {name: a-kv-identity}}}";
    stage.apply(&cluster(&format!("{{{LOSSLESS}, {tls}}}"))).await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 2).await;
    let authorities = [
        "get",
        "secret",
        "a-kv-identity",
        "-o=go-template={{index .data \"ca.crt\" | base64decode}}",
    ];
    let authorities = stage.kubectl(&authorities).await.expect("it is there");
    std::fs::write(stage.folder().join("ca.crt"), authorities).expect("writable");
    let old = primary(&stage).await;
    assert_eq!(redis_cli(&stage, &old, &["SET", "order:1", "paid"]).await, "OK");

    assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Signal(SIGSTOP)));
    let new = moved_from(&stage, &old).await;
    let kept = poll("the new primary serves", LIMIT, || async {
        redis_cli(&stage, &new, &["GET", "order:1"]).await == "paid"
            && redis_cli(&stage, &new, &["SET", "order:2", "paid"]).await == "OK"
    });
    kept.await.expect("what was acknowledged is there, and writes go on");
    assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Signal(SIGCONT)));
    in_sync(&stage, 2).await;
    assert_eq!(redis_cli(&stage, &old, &["GET", "order:2"]).await, "paid");
    drop(turn);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_release_without_certificates_are_served_until_they_are_replaced() {
    let Some(mut stage) = Stage::new("changeover").await else { return };
    // As the release before: the same operator without certificates.
    stage.restart_flagged(&["--no-certificates"]);
    stage.apply(&cluster("{followers: 1}")).await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 1).await;
    assert!(secret(&stage, "a-kv-identity").await.is_none());
    let mut client: Client = stage.connect("a").await;
    let ok = Reply::Simple("OK".into());
    assert_eq!(client.call(&["SET", "k", "v"]).expect("it answers"), ok);

    stage.restart_flagged(&[]);
    let path = "-o=jsonpath={.items[*].metadata.annotations.orrery\\.dev/identity}";
    let all = |text: &str| text.split_whitespace().count() == 2;
    stage.until(&["get", "pods", path], all).await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 1).await;
    in_use(&stage, 2).await;
    let mut client = stage.connect("a").await;
    assert_eq!(client.call(&["GET", "k"]).expect("it answers"), Reply::Bulk(b"v".to_vec()));

    // And back, as after a release that is taken back.
    stage.restart_flagged(&["--no-certificates"]);
    stage.until(&["get", "pods", path], |text| text.trim().is_empty()).await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 1).await;
    let mut client = stage.connect("a").await;
    assert_eq!(client.call(&["GET", "k"]).expect("it answers"), Reply::Bulk(b"v".to_vec()));
}
