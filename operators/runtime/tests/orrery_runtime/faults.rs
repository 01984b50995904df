//! The rules P1 to P8, each against a server that fails in the way the rule is about.

use std::time::Duration;

use http::Method;
use orrery_e2e_cluster::poll;
use orrery_runtime::faults::{Faults, Instead};
use serde_json::json;

use crate::stage::{LIMIT, options, stage};
use crate::toy::ToySpec;

fn spec() -> ToySpec {
    ToySpec { replicas: 1, text: "one".into(), service: true, ..ToySpec::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_calls_that_are_never_answered_do_not_starve_other_objects() {
    let Some(stage) = stage("p1").await else { return };
    let faults = Faults::default();
    // More hanging objects than rounds may run at once.
    faults.fail(Method::PATCH, "/configmaps/bad", Instead::Silence, u32::MAX);
    let mut options = options(stage.name());
    options.concurrency = 2;
    // Above what a loaded server needs for a real answer.
    options.deadline = Duration::from_secs(4);
    let operator = stage.operator(options, faults);
    for n in 0..4 {
        stage.create(&format!("bad{n}"), spec()).await;
    }
    stage.create("good", spec()).await;
    stage.ready("good").await;
    operator.faults.clear();
    stage.ready("bad3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_one_watch_that_fails_does_not_stop_the_others() {
    let Some(stage) = stage("p2").await else { return };
    let faults = Faults::default();
    faults.fail(Method::GET, "/networkpolicies", Instead::Status(500), u32::MAX);
    let _operator = stage.operator(options(stage.name()), faults);
    stage.create("a", spec()).await;
    stage.ready("a").await;
    stage.change("a", json!({ "text": "two" })).await;
    stage.ready("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_object_that_fails_is_retried_with_growing_pauses() {
    let Some(stage) = stage("p3").await else { return };
    let faults = Faults::default();
    faults.fail(Method::PATCH, "/statefulsets/a-toy", Instead::Status(500), 4);
    let operator = stage.operator(options(stage.name()), faults);
    stage.create("a", spec()).await;
    stage.ready("a").await;
    let tries = operator.faults.writes();
    let tries = tries.iter().filter(|write| write.ends_with("/statefulsets/a-toy")).count();
    assert!((5..=8).contains(&tries), "four failures and a success: {tries}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_conflicts_and_limits_end_in_the_same_state() {
    let Some(stage) = stage("answers").await else { return };
    let operator = stage.plain();
    stage.create("a", spec()).await;
    stage.ready("a").await;
    let expected = stage.state().await;
    drop(operator);
    let again = crate::stage::stage("answers").await.expect("it was there");
    let faults = Faults::default();
    for instead in [
        Instead::StatusAfter(500),
        Instead::Status(409),
        Instead::Status(429),
        Instead::StatusAfter(504),
    ] {
        faults.fail(Method::PATCH, "a-toy", instead, 2);
        faults.fail(Method::POST, "/secrets", instead, 1);
        faults.fail(Method::PATCH, "/status", instead, 1);
    }
    // The start-up check, then the first list.
    faults.fail(Method::GET, "/toys", Instead::Status(410), 2);
    let operator = again.operator(options(again.name()), faults);
    again.create("a", spec()).await;
    again.ready("a").await;
    assert_eq!(again.state().await, expected);
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_kind_we_may_not_list_is_left_alone_and_the_rest_goes_on() {
    let Some(stage) = stage("p8").await else { return };
    let faults = Faults::default();
    faults.forbid("/services");
    let _operator = stage.operator(options(stage.name()), faults);
    stage.create("a", ToySpec { service: false, ..spec() }).await;
    stage.ready("a").await;
    stage.change("a", json!({ "text": "two" })).await;
    stage.ready("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8c_cut_and_silent_watches_come_back_and_miss_nothing() {
    let Some(stage) = stage("p8c").await else { return };
    let mut options = options(stage.name());
    // No net: only the watches can tell.
    options.net = Duration::from_mins(10);
    let operator = stage.operator(options, Faults::default());
    stage.create("a", spec()).await;
    stage.ready("a").await;
    for text in ["two", "three"] {
        operator.faults.cut_watches();
        stage.change("a", json!({ "text": text })).await;
        stage.ready("a").await;
    }
    operator.faults.hold_watches(true);
    stage.change("a", json!({ "text": "four" })).await;
    let maps = stage.namespace.api::<k8s_openapi::api::core::v1::ConfigMap>();
    maps.delete("a-toy", &kube::api::DeleteParams::default()).await.expect("there");
    // Watches end by their timeout and are made anew while nothing arrives; then all arrives.
    operator.faults.hold_watches(false);
    stage.ready("a").await;
    let back = || async {
        let map = maps.get_opt("a-toy").await.ok().flatten();
        map.and_then(|map| map.data).is_some_and(|data| data["text"] == "four")
    };
    poll("the map is back", LIMIT, back).await.expect("its deletion was seen");
}
