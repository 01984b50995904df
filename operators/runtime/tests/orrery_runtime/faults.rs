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
    // Above what a loaded server needs for a real answer; each of the rounds of the good one waits
    // for as long as two of the bad ones.
    options.deadline = Duration::from_secs(2);
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

/// Options under which only the watches can tell of a change.
fn without_net(stage: &crate::stage::Stage) -> orrery_runtime::Options {
    let mut options = options(stage.name());
    options.net = Duration::from_mins(10);
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_pause_is_asked_again() {
    let Some(stage) = stage("pause-asked").await else { return };
    let faults = Faults::default();
    faults.fail(Method::PATCH, "/configmaps/a-toy", Instead::Busy(1), 3);
    let operator = stage.operator(options(stage.name()), faults);
    stage.create("a", spec()).await;
    stage.ready("a").await;
    let tries = operator.faults.writes();
    let tries = tries.iter().filter(|write| write.ends_with("/configmaps/a-toy")).count();
    assert!(tries >= 4, "three refusals and a success: {tries}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_comes_after_the_work_was_done_ends_in_the_same_state() {
    let Some(stage) = stage("unheard").await else { return };
    let faults = Faults::default();
    for path in ["/statefulsets/a-toy", "/configmaps/a-toy", "/status"] {
        faults.fail(Method::PATCH, path, Instead::SilenceAfter, 1);
    }
    faults.fail(Method::POST, "/secrets", Instead::SilenceAfter, 1);
    let mut options = options(stage.name());
    options.deadline = Duration::from_secs(1);
    let _operator = stage.operator(options, faults);
    stage.create("a", spec()).await;
    stage.ready("a").await;
    let secrets = stage.namespace.api::<k8s_openapi::api::core::v1::Secret>();
    let made = secrets.list(&kube::api::ListParams::default()).await.expect("a list");
    assert_eq!(made.items.len(), 1, "one Secret, though its creation was not heard of");
}

/// Unobserved state: what happened in between was never seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merged_and_lost_events_end_in_the_state_of_the_last_one() {
    let Some(stage) = stage("merged").await else { return };
    let operator = stage.operator(without_net(&stage), Faults::default());
    stage.create("a", spec()).await;
    stage.ready("a").await;
    let maps = stage.namespace.api::<k8s_openapi::api::core::v1::ConfigMap>();
    let gone = kube::api::DeleteParams::default();

    // Of a child that was deleted, and of an object that was deleted and made anew, the last event
    // alone is delivered.
    operator.faults.merge_watches(true);
    maps.delete("a-toy", &gone).await.expect("there");
    stage.change("a", json!({ "text": "two" })).await;
    stage.delete("a").await;
    stage.create("a", ToySpec { text: "three".into(), ..spec() }).await;
    operator.faults.merge_watches(false);
    stage.ready("a").await;
    shows(&maps, "three").await;

    // Everything is lost until the watches break; then they go on from where they were.
    operator.faults.swallow_watches(true);
    maps.delete("a-toy", &gone).await.expect("there");
    stage.change("a", json!({ "text": "four" })).await;
    operator.faults.swallow_watches(false);
    stage.ready("a").await;
    shows(&maps, "four").await;

    // The server no longer has what was missed: the state is listed again.
    operator.faults.swallow_watches(true);
    stage.change("a", json!({ "text": "five" })).await;
    maps.delete("a-toy", &gone).await.expect("there");
    operator.faults.expire_watches();
    operator.faults.swallow_watches(false);
    stage.ready("a").await;
    shows(&maps, "five").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_half_open_watches_are_noticed() {
    let Some(stage) = stage("half-open").await else { return };
    let operator = stage.operator(without_net(&stage), Faults::default());
    stage.create("a", spec()).await;
    stage.ready("a").await;
    operator.faults.delay_watches(Duration::from_millis(100));
    stage.change("a", json!({ "text": "two" })).await;
    stage.ready("a").await;
    operator.faults.delay_watches(Duration::ZERO);
    // The connections stay and say nothing more: their time runs out and new ones are made.
    operator.faults.strand_watches();
    stage.change("a", json!({ "text": "three" })).await;
    stage.ready("a").await;
}

/// Waits until the child carries this text.
async fn shows(maps: &kube::Api<k8s_openapi::api::core::v1::ConfigMap>, text: &str) {
    let shown = || async {
        let map = maps.get_opt("a-toy").await.ok().flatten();
        map.and_then(|map| map.data).is_some_and(|data| data["text"] == text)
    };
    poll(&format!("the child says {text}"), LIMIT, shown).await.expect("it was seen");
}
