//! A primary and its followers on a real API server, while clients write: planned moves, a primary
//! that is paused, killed, or gone with its node, restarts one by one, fewer followers. Whatever
//! happens, no acknowledged write is lost and writes go on.

#[path = "group/chaos.rs"]
mod chaos;
#[path = "group/load.rs"]
pub(crate) mod load;

use load::Load;
use orrery_e2e_cluster::{Order, Rule, poll};
use serde_json::Value;

use crate::kubernetes::{LIMIT, Stage};

pub(crate) const SIGSTOP: i32 = 19;
pub(crate) const SIGCONT: i32 = 18;

pub(crate) fn cluster(spec: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: a}}\nspec: {spec}\n"
    )
}

/// Every write is on two disks before it is acknowledged.
pub(crate) const LOSSLESS: &str = "followers: 2, synchronousFollowers: 1";

pub(crate) async fn status(stage: &Stage) -> Value {
    let text = stage.kubectl(&["get", "kvcluster/a", "-o=json"]).await.expect("it is there");
    serde_json::from_str::<Value>(&text).expect("JSON")["status"].take()
}

pub(crate) async fn primary(stage: &Stage) -> String {
    status(stage).await["primary"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the status names another primary that takes writes.
pub(crate) async fn moved_from(stage: &Stage, old: &str) -> String {
    let path = ["get", "kvcluster/a", "-o=jsonpath={.status.primary}"];
    stage.until(&path, |now| !now.is_empty() && now != old).await
}

pub(crate) async fn in_sync(stage: &Stage, followers: usize) {
    let all = poll("every follower is in sync", LIMIT, || async {
        let status = status(stage).await;
        let states = status["followers"].as_array().cloned().unwrap_or_default();
        states.len() == followers && states.iter().all(|follower| follower["state"] == "InSync")
    });
    if let Err(error) = all.await {
        panic!("{error}: {:#}\n{}", status(stage).await, stage.operator.log_tail());
    }
}

/// Waits until writes are acknowledged again; says how everything is when they are not.
pub(crate) async fn goes_on(stage: &Stage, load: &Load, what: &str) {
    let wanted = load.acknowledged() + 200;
    let more = poll(what, LIMIT, || async { load.acknowledged() >= wanted });
    let Err(error) = more.await else { return };
    let logs = last_lines(stage);
    let pods = stage.kubectl(&["get", "pods,services", "-o=wide"]).await.unwrap_or_default();
    let operator = stage.operator.log_tail();
    panic!("{error}: {:#}\n{pods}\n{operator}\n{logs}", status(stage).await);
}

/// What the pods wrote last.
pub(crate) fn last_lines(stage: &Stage) -> String {
    let namespace = stage.namespace.name();
    let logs = (0..3).map(|number| {
        let log = stage.nodes.log(namespace, &format!("a-kv-{number}"), "kv").unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(20).collect();
        format!("a-kv-{number}, newest first:\n{}\n", last.join("\n"))
    });
    logs.collect()
}

/// One group at a time: each keeps a core busy with its clients.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn staged(
    name: &str,
    spec: &str,
    followers: usize,
) -> Option<(Stage, Load, tokio::sync::MutexGuard<'static, ()>)> {
    let turn = TURN.lock().await;
    let stage = Stage::new(name).await?;
    stage.apply(&cluster(&format!("{{{spec}}}"))).await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, followers).await;
    let load = Load::start(&stage.namespace, "a", &stage.password("a").await);
    goes_on(&stage, &load, "the first writes").await;
    Some((stage, load, turn))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_moves_where_the_spec_says_without_loss() {
    let Some((stage, load, _turn)) = staged("move", "followers: 2", 2).await else { return };
    assert_eq!(primary(&stage).await, "a-kv-0");
    for to in ["a-kv-2", "a-kv-1", "a-kv-0"] {
        let spec = format!("{{followers: 2, failover: {{primary: {to}}}}}");
        stage.apply(&cluster(&spec)).await;
        let path = ["get", "kvcluster/a", "-o=jsonpath={.status.primary}"];
        stage.until(&path, |now| now == to).await;
        goes_on(&stage, &load, to).await;
        in_sync(&stage, 2).await;
    }
    let history = status(&stage).await;
    assert!(history["lastFailover"].is_null(), "all of them were asked for: {history}");
    load.check("three planned moves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_primary_is_replaced_and_never_writes_again_under_its_epoch() {
    let Some((stage, load, _turn)) = staged("paused", LOSSLESS, 2).await else { return };
    let old = primary(&stage).await;
    assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Signal(SIGSTOP)));
    let new = moved_from(&stage, &old).await;
    goes_on(&stage, &load, "after the failover").await;
    let record = status(&stage).await["lastFailover"].take();
    assert_eq!((record["from"].as_str(), record["to"].as_str()), (Some(&*old), Some(&*new)));
    assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Signal(SIGCONT)));
    in_sync(&stage, 2).await;
    stage.ready("kvcluster/a").await;
    goes_on(&stage, &load, "after the old primary is back").await;
    let record = status(&stage).await["lastFailover"].take();
    assert!(record["lostRecords"].is_i64(), "the old primary tells what only it had: {record}");
    load.check("a primary paused and continued");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_and_a_deleted_one_cost_no_acknowledged_write() {
    let Some((stage, load, _turn)) = staged("killed", LOSSLESS, 2).await else { return };
    for round in 0..3 {
        let old = primary(&stage).await;
        if round == 1 {
            // It hands over, unless it is back before anybody took over.
            stage.kubectl(&["delete", "pod", &old]).await.expect("it is deleted");
        } else {
            assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Crash));
        }
        goes_on(&stage, &load, "after the primary died").await;
        in_sync(&stage, 2).await;
        stage.ready("kvcluster/a").await;
    }
    load.check("a primary killed, deleted and killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_restarted_one_by_one_and_the_primary_last() {
    let Some((stage, load, _turn)) = staged("rolled", LOSSLESS, 2).await else { return };
    let uids = || async {
        let path = "-o=jsonpath={.items[*].metadata.uid}";
        let text = stage.kubectl(&["get", "pods", path]).await.unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = uids().await;
    assert_eq!(before.len(), 3);
    stage.apply(&cluster(&format!("{{{LOSSLESS}, restart: again}}"))).await;
    let all_new = poll("every pod is new", LIMIT, || async {
        let now = uids().await;
        now.len() == 3 && now.iter().all(|uid| !before.contains(uid))
    });
    if let Err(error) = all_new.await {
        panic!("{error}: {:#}\n{}", status(&stage).await, stage.operator.log_tail());
    }
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 2).await;
    goes_on(&stage, &load, "after the restarts").await;
    load.check("three pods restarted one by one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_without_a_pod_that_the_spec_says_not_to_wait_for() {
    let Some((stage, load, _turn)) = staged("skipped", LOSSLESS, 2).await else { return };
    let uid = |pod: &str| {
        let pod = format!("pod/{pod}");
        let stage = &stage;
        async move { stage.kubectl(&["get", &pod, "-o=jsonpath={.metadata.uid}"]).await }
    };
    let before = [uid("a-kv-0").await, uid("a-kv-1").await, uid("a-kv-2").await];
    assert_eq!(primary(&stage).await, "a-kv-0");
    let hold = stage.nodes.rule(stage.namespace.name(), "a-kv-2", Rule::Hold);
    stage.apply(&cluster(&format!("{{{LOSSLESS}, restart: again}}"))).await;
    let path =
        ["get", "kvcluster/a", "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].message}"];
    stage.until(&path, |text| text.contains("1 of 3 pods are up to date")).await;
    assert_ne!(uid("a-kv-2").await, before[2], "it went first");
    assert_eq!([uid("a-kv-0").await, uid("a-kv-1").await], before[..2], "they wait for it");

    let skips = "rollout: {skipHealthChecks: [a-kv-2]}";
    stage.apply(&cluster(&format!("{{{LOSSLESS}, restart: again, {skips}}}"))).await;
    for (pod, old) in [("a-kv-1", &before[1]), ("a-kv-0", &before[0])] {
        let is_new = poll("it is replaced", LIMIT, || async {
            let now = uid(pod).await;
            now.is_ok() && now != *old
        });
        if let Err(error) = is_new.await {
            panic!("{pod}: {error}: {:#}\n{}", status(&stage).await, stage.operator.log_tail());
        }
    }
    assert_eq!(primary(&stage).await, "a-kv-1", "it handed over to the one that serves");
    drop(hold);
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 2).await;
    goes_on(&stage, &load, "after the restarts").await;
    load.check("a restart past a pod that does not start");
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_come_and_go_and_a_primary_beyond_their_number_hands_over() {
    let Some((stage, load, _turn)) = staged("scaled", "followers: 1", 1).await else { return };
    stage.apply(&cluster("{followers: 2, failover: {primary: a-kv-2}}")).await;
    let path = ["get", "kvcluster/a", "-o=jsonpath={.status.primary}"];
    stage.until(&path, |now| now == "a-kv-2").await;
    stage.apply(&cluster("{followers: 1}")).await;
    stage.until(&path, |now| now != "a-kv-2").await;
    let pods = ["get", "pods", "-o=name"];
    stage.until(&pods, |text| text.lines().count() == 2).await;
    in_sync(&stage, 1).await;
    goes_on(&stage, &load, "with one follower").await;
    load.check("from one follower to two and back");
}

/// A volume keeps its class for life: each is replaced by another one, filled from the primary.
#[tokio::test(flavor = "multi_thread")]
async fn volumes_move_to_another_class_without_loss() {
    let spec = |class: &str| format!("{LOSSLESS}, storage: {{storageClassName: {class}}}");
    let Some((stage, load, _turn)) = staged("class", &spec("standard"), 2).await else { return };
    stage.apply(&cluster(&format!("{{{}}}", spec("spare")))).await;
    let classes = ["get", "pvc", "-o=jsonpath={.items[*].spec.storageClassName}"];
    stage.until(&classes, |all| all == "spare spare spare").await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 2).await;
    goes_on(&stage, &load, "on the new volumes").await;
    let template = "-o=jsonpath={.spec.volumeClaimTemplates[0].spec.storageClassName}";
    let made_with = stage.kubectl(&["get", "statefulset/a-kv", template]).await;
    assert_eq!(made_with.as_deref(), Ok("spare"), "followers to come get it too");
    load.check("three volumes moved one by one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_primary_is_not_replaced_when_that_could_lose_writes() {
    let Some((stage, load, _turn)) = staged("blocked", "followers: 1", 1).await else { return };
    let old = primary(&stage).await;
    assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Signal(SIGSTOP)));
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    stage.until(&["get", "kvcluster/a", reason], |text| text == "FailoverBlocked").await;
    let message = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    let why = stage.kubectl(&["get", "kvcluster/a", message]).await.expect("a message");
    assert!(why.contains("AllowLoss") && why.contains("position"), "{why}");
    stage.apply(&cluster("{followers: 1, failover: {policy: AllowLoss}}")).await;
    moved_from(&stage, &old).await;
    goes_on(&stage, &load, "after a failover that may lose").await;
    assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Signal(SIGCONT)));
    in_sync(&stage, 1).await;
    load.stop();
}
