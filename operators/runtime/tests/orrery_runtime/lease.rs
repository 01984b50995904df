//! Of two operators one writes, whatever happens to their clocks and connections.

use http::Method;
use orrery_e2e_cluster::poll;
use orrery_runtime::OperatorError;
use orrery_runtime::faults::{Faults, Instead};
use orrery_runtime::lease::LeaseError;
use serde_json::json;

use crate::stage::{LIMIT, Running, Stage, lease, options, stage};
use crate::toy::ToySpec;

fn candidate(stage: &Stage, identity: &str) -> Running {
    let mut options = options(stage.name());
    options.lease = Some(lease(stage.name(), identity));
    stage.operator(options, Faults::default())
}

fn leads(operator: &Running) -> bool {
    operator.metrics.encode().contains("leader_election_master_status{name=\"orrery\"} 1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_only_the_leader_writes_and_a_released_lease_is_taken_at_once() {
    let Some(stage) = stage("p5-release").await else { return };
    let first = candidate(&stage, "first");
    poll("the first leads", LIMIT, || async { leads(&first) }).await.expect("alone");
    let second = candidate(&stage, "second");
    stage.create("a", ToySpec::default()).await;
    stage.ready("a").await;
    assert!(!leads(&second));
    assert!(second.faults.writes().is_empty(), "a standby writes nothing");
    first.stop().await.expect("an orderly end");
    poll("the second leads", LIMIT, || async { leads(&second) }).await.expect("released");
    stage.change("a", json!({ "text": "two" })).await;
    stage.ready("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_leader_that_cannot_renew_stops_before_another_takes_over() {
    let Some(stage) = stage("p5-lost").await else { return };
    let first = candidate(&stage, "first");
    poll("the first leads", LIMIT, || async { leads(&first) }).await.expect("alone");
    stage.create("a", ToySpec::default()).await;
    stage.ready("a").await;
    let second = candidate(&stage, "second");
    // The first can still write everything but its lease.
    first.faults.fail(Method::GET, "/leases/", Instead::Silence, u32::MAX);
    let ended = || async { first.has_ended() || leads(&second) };
    poll("one of them moved", LIMIT, ended).await.expect("the lease runs out");
    assert!(first.has_ended(), "the first ended before the second led");
    let written = first.faults.writes().len();
    poll("the second leads", LIMIT, || async { leads(&second) }).await.expect("expired");
    stage.change("a", json!({ "text": "two" })).await;
    stage.ready("a").await;
    assert_eq!(first.faults.writes().len(), written, "nothing left the first after its end");
    let error = first.ended().await.expect_err("fail-stop");
    assert!(matches!(error, OperatorError::Lease(LeaseError::Lost(_))), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_leader_that_slept_past_expiry_writes_nothing_when_it_wakes() {
    let Some(stage) = stage("p5-slept").await else { return };
    let mut options = options(stage.name());
    options.lease = Some(lease(stage.name(), "sleeper"));
    // A runtime of its own, stopped as SIGSTOP would: no timer, no answer is looked at.
    let (faults, config) = (Faults::default(), stage.namespace.cluster().config());
    let _ = config;
    let sleeper = stage.operator(options, faults.clone());
    poll("the sleeper leads", LIMIT, || async { leads(&sleeper) }).await.expect("alone");
    stage.create("a", ToySpec::default()).await;
    stage.ready("a").await;
    let other = candidate(&stage, "other");
    // Everything of the sleeper hangs, watches too; its lease runs out.
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::POST] {
        faults.fail(method, "/", Instead::Silence, u32::MAX);
    }
    faults.hold_watches(true);
    poll("the other leads", LIMIT, || async { leads(&other) }).await.expect("expired");
    let written = faults.writes().len();
    faults.clear();
    faults.hold_watches(false);
    stage.change("a", json!({ "text": "two" })).await;
    stage.ready("a").await;
    assert_eq!(faults.writes().len(), written, "the sleeper wrote nothing");
}
