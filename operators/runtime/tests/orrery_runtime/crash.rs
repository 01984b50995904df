//! Goal: wherever the operator dies, a fresh one brings the object to the same end.
//! Method: a run without faults counts the writes and gives the end state; then for each write, a
//! run that dies before it and one that dies after it, each followed by a fresh operator.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use orrery_runtime::Options;
use orrery_runtime::faults::{Faults, Side};

use crate::stage::{LIMIT, Stage, options, stage};
use crate::toy::ToySpec;
use orrery_e2e_cluster::poll;

/// Crashes are tried at writes 1 to this; a run that ends earlier ends the series.
const WRITES_MAX: usize = 40;

pub fn first() -> ToySpec {
    ToySpec { replicas: 1, text: "one".into(), service: true, ..ToySpec::default() }
}

/// Starts an operator that dies at write `k`; false when it came to rest before.
async fn dies_at(stage: &Stage, k: usize, side: Side, done: impl AsyncFn()) -> bool {
    dies_with(options(stage.name()), stage, k, side, done).await
}

/// The same with other options.
pub async fn dies_with(
    options: Options,
    stage: &Stage,
    k: usize,
    side: Side,
    done: impl AsyncFn(),
) -> bool {
    let faults = Faults::default();
    faults.crash_at(k, side);
    let operator = stage.operator(options, faults);
    let died = tokio::select! {
        () = operator.faults.crashed() => true,
        () = done() => false,
    };
    drop(operator);
    died
}

/// Tries a crash before and after each write, until an operator comes to rest without one. `dies`
/// says whether it died; how often one did is returned.
pub async fn at_every_write(mut dies: impl AsyncFnMut(usize, Side) -> bool) -> usize {
    let mut crashes = 0;
    for k in 1..=WRITES_MAX {
        let mut died = false;
        for side in [Side::Before, Side::After] {
            died |= dies(k, side).await;
            crashes += usize::from(died);
        }
        if !died {
            break;
        }
    }
    crashes
}

/// Lets an operator die at write `k`, and a fresh one bring the object to its end; whether it died.
async fn dies_and_recovers(
    run: &Stage,
    k: usize,
    side: Side,
    expected: &BTreeMap<String, Value>,
) -> bool {
    let died = dies_at(run, k, side, async || run.ready("a").await).await;
    let _fresh = run.plain();
    run.ready("a").await;
    reaches(run, expected, &format!("crash {side:?} write {k}")).await;
    died
}

/// Waits until everything is as expected: the controller of a set counts the pods a little later than
/// they are ready.
pub async fn reaches(run: &Stage, expected: &BTreeMap<String, Value>, when: &str) {
    let reached = || async { run.state().await == *expected };
    if poll("the same state", LIMIT, reached).await.is_err() {
        same(expected, &run.state().await, when);
    }
}

/// Compares object by object, so that a difference can be read.
fn same(expected: &BTreeMap<String, Value>, state: &BTreeMap<String, Value>, when: &str) {
    let names: Vec<&String> = expected.keys().collect();
    assert_eq!(state.keys().collect::<Vec<_>>(), names, "{when}");
    for name in names {
        assert_eq!(state[name], expected[name], "{when}: {name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_creation_ends_in_the_same_state() {
    let Some(golden) = stage("crash-create").await else { return };
    let operator = golden.plain();
    golden.create("a", first()).await;
    golden.ready("a").await;
    let expected = golden.state().await;
    drop(operator);
    let crashes = at_every_write(async |k, side| {
        let run = stage("crash-create").await.expect("it was there");
        run.create("a", first()).await;
        dies_and_recovers(&run, k, side, &expected).await
    })
    .await;
    assert!(crashes >= 12, "five children and a status, on both sides: {crashes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_change_ends_in_the_same_state() {
    // The change edits, drops a child and rolls the pods.
    let change = json!({ "text": "two", "service": false, "replicas": 2 });
    let Some(golden) = stage("crash-change").await else { return };
    let operator = golden.plain();
    golden.create("a", first()).await;
    golden.ready("a").await;
    golden.change("a", change.clone()).await;
    golden.ready("a").await;
    let expected = golden.state().await;
    assert!(!expected.contains_key("Service a-toy"), "the orphan is gone");
    drop(operator);
    let crashes = at_every_write(async |k, side| {
        let run = stage("crash-change").await.expect("it was there");
        let operator = run.plain();
        run.create("a", first()).await;
        run.ready("a").await;
        drop(operator);
        run.change("a", change.clone()).await;
        dies_and_recovers(&run, k, side, &expected).await
    })
    .await;
    assert!(crashes >= 6, "a map, a set, an orphan and a status: {crashes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_deleted_while_the_operator_was_dead_leaves_nothing() {
    for k in 1..=WRITES_MAX {
        let Some(run) = stage("crash-delete").await else { return };
        run.create("a", first()).await;
        let died = dies_at(&run, k, Side::After, async || run.ready("a").await).await;
        run.delete("a").await;
        let _fresh = run.plain();
        let gone = poll("nothing left", LIMIT, || async { run.state().await.is_empty() }).await;
        let left = run.state().await;
        assert!(gone.is_ok(), "crash at write {k} left {left:#?}");
        if !died {
            break;
        }
    }
}
