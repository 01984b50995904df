//! Shards that are spread over pods, on a real API server, while clients of each of them write: they are
//! handed over without a gap when a pod goes, taken over when one dies, and go home when it is back.

#[path = "shards/load.rs"]
mod load;

use std::collections::BTreeMap;

use load::Load;
use orrery_e2e_cluster::{Order, not_run, poll};
use orrery_e2e_tests::postgres::Postgres;

use crate::group::{SIGCONT, SIGSTOP, TURN, cluster, last_lines, status};
use crate::kubernetes::{LIMIT, Stage};

const SHARDS: u32 = 6;
/// Two shards at home in each of three pods.
const SPREAD: &str = "replicas: 3, shardsPerPod: 2, resp: {clusterMode: Slots}";
/// Every write is on two disks before it is acknowledged, and a third one may be lost.
const LOSSLESS: &str = "followers: 2, synchronousFollowers: 1";

/// The shards that each pod is primary of.
async fn owners(stage: &Stage) -> BTreeMap<String, Vec<i64>> {
    let status = status(stage).await;
    let mut owners: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for shard in status["shards"].as_array().into_iter().flatten() {
        let owner = shard["owner"].as_str().unwrap_or_default().to_owned();
        owners.entry(owner).or_default().push(shard["id"].as_i64().unwrap_or(-1));
    }
    owners
}

/// Waits until every shard is at home, and everything is as it should be.
async fn at_home(stage: &Stage) {
    let home = [("a-kv-0", [0, 3]), ("a-kv-1", [1, 4]), ("a-kv-2", [2, 5])];
    let home: BTreeMap<String, Vec<i64>> =
        home.into_iter().map(|(pod, shards)| (pod.to_owned(), shards.to_vec())).collect();
    let all = poll("every shard is at home", LIMIT, || async { owners(stage).await == home });
    if let Err(error) = all.await {
        panic!("{error}: {:#}\n{}", status(stage).await, stage.operator.log_tail());
    }
    stage.ready("kvcluster/a").await;
}

/// Waits until writes to every shard are acknowledged again.
async fn goes_on(stage: &Stage, load: &Load, what: &str) {
    let before = load.acknowledged();
    let more = poll(what, LIMIT, || async {
        let mut now = load.acknowledged().into_iter().zip(&before);
        now.all(|(now, before)| now >= before + 50)
    });
    let Err(error) = more.await else { return };
    let now = load.acknowledged();
    let logs = last_lines(stage);
    let operator = stage.operator.log_tail();
    panic!("{error}: {before:?} {now:?} {:#}\n{operator}\n{logs}", status(stage).await);
}

async fn staged(name: &str, spec: &str) -> Option<(Stage, Load)> {
    let stage = Stage::new(name).await?;
    stage.apply(&cluster(&format!("{{{SPREAD}, {spec}}}"))).await;
    at_home(&stage).await;
    let load = Load::start(&stage.namespace, &stage.password("a").await, SHARDS).await;
    goes_on(&stage, &load, "the first writes").await;
    load.take_gap();
    Some((stage, load))
}

/// A pod that is paused loses its shards, and nothing that was acknowledged; so does one that dies.
async fn lose_pods(stage: &Stage, load: &Load) {
    let namespace = stage.namespace.name();
    assert!(stage.nodes.order(namespace, "a-kv-1", Order::Signal(SIGSTOP)));
    let moved =
        poll("its shards move", LIMIT, || async { !owners(stage).await.contains_key("a-kv-1") });
    moved.await.expect("the others take them over");
    goes_on(stage, load, "after a pod fell asleep").await;
    println!("paused: {} ms without a write to some shard", load.take_gap().as_millis());
    assert!(stage.nodes.order(namespace, "a-kv-1", Order::Signal(SIGCONT)));
    at_home(stage).await;
    goes_on(stage, load, "after it went on").await;
    println!("home again: {} ms", load.take_gap().as_millis());
    assert!(stage.nodes.order(namespace, "a-kv-2", Order::Crash));
    goes_on(stage, load, "after a pod died").await;
    println!("killed: {} ms", load.take_gap().as_millis());
    at_home(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_taken_over_from_pods_that_sleep_or_die_and_go_home() {
    let _turn = TURN.lock().await;
    let Some((stage, load)) = staged("shards", LOSSLESS).await else { return };
    let shown = ["get", "kvcluster/a", "-o=jsonpath={.status.shardCount}"];
    assert_eq!(stage.kubectl(&shown).await.as_deref(), Ok("6"));
    lose_pods(&stage, &load).await;
    load.check("shards whose pods slept and died").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_handed_over_when_pods_are_deleted_or_restarted_one_by_one() {
    let _turn = TURN.lock().await;
    let Some((stage, load)) = staged("handed", LOSSLESS).await else { return };
    stage.kubectl(&["delete", "pod", "a-kv-0"]).await.expect("it is deleted");
    goes_on(&stage, &load, "after a pod was deleted").await;
    println!("deleted: {} ms without a write to some shard", load.take_gap().as_millis());
    at_home(&stage).await;
    let uids = || async {
        let path = "-o=jsonpath={.items[*].metadata.uid}";
        let text = stage.kubectl(&["get", "pods", path]).await.unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = uids().await;
    stage.apply(&cluster(&format!("{{{SPREAD}, {LOSSLESS}, restart: again}}"))).await;
    let all_new = poll("every pod is new", LIMIT, || async {
        let now = uids().await;
        now.len() == 3 && now.iter().all(|uid| !before.contains(uid))
    });
    if let Err(error) = all_new.await {
        panic!("{error}: {:#}\n{}", status(&stage).await, stage.operator.log_tail());
    }
    at_home(&stage).await;
    goes_on(&stage, &load, "after the restarts").await;
    println!("restarted one by one: {} ms", load.take_gap().as_millis());
    load.check("shards whose pods were deleted and restarted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carried_shards_outlive_pods_with_their_volumes() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = match Postgres::start(folder.path()) {
        Ok(postgres) => postgres,
        Err(why) => return not_run(&why),
    };
    let Some(stage) = Stage::new("carriedshards").await else { return };
    let engine = postgres.secret();
    stage
        .apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: engine}}\nstringData: {engine}\n"
        ))
        .await;
    let spec = format!(
        "{{{SPREAD}, followers: 1, journal: {{backend: Postgres, ref: {{name: engine}}}}}}"
    );
    stage.apply(&cluster(&spec)).await;
    at_home(&stage).await;
    let load = Load::start(&stage.namespace, &stage.password("a").await, SHARDS).await;
    goes_on(&stage, &load, "the first writes").await;
    load.take_gap();
    lose_pods(&stage, &load).await;
    // A pod is gone for good, with its volume: the engine has everything.
    let volume = ["delete", "persistentvolumeclaim/data-a-kv-0", "--wait=false"];
    stage.kubectl(&volume).await.expect("it goes with its pod");
    stage.kubectl(&["delete", "pod", "a-kv-0"]).await.expect("it is deleted");
    goes_on(&stage, &load, "after a volume was lost").await;
    at_home(&stage).await;
    load.check("carried shards whose pods slept, died and lost their volume").await;
}

/// Without followers nobody takes over: a shard is where its volume is.
#[tokio::test(flavor = "multi_thread")]
async fn shards_without_followers_wait_for_their_pods() {
    let _turn = TURN.lock().await;
    let Some(stage) = Stage::new("waiting").await else { return };
    stage.apply(&cluster("{replicas: 2, resp: {clusterMode: Slots}}")).await;
    stage.ready("kvcluster/a").await;
    let owners_are = |what: &'static str| {
        let stage = &stage;
        poll(what, LIMIT, move || async move {
            let owners = owners(stage).await;
            owners.get("a-kv-0") == Some(&vec![0]) && owners.get("a-kv-1") == Some(&vec![1])
        })
    };
    owners_are("each pod has a shard").await.expect("they start");
    let load = Load::start(&stage.namespace, &stage.password("a").await, 2).await;
    goes_on(&stage, &load, "the first writes").await;
    assert!(stage.nodes.order(stage.namespace.name(), "a-kv-1", Order::Crash));
    goes_on(&stage, &load, "after a pod died").await;
    stage.kubectl(&["delete", "pod", "a-kv-0"]).await.expect("it is deleted");
    goes_on(&stage, &load, "after a pod was deleted").await;
    owners_are("each pod has its shard again").await.expect("they come back");
    load.check("shards without followers").await;
}

/// Where every pod has every shard, pods may come and go: the shards are spread over those that are there.
#[tokio::test(flavor = "multi_thread")]
async fn shards_are_spread_anew_when_followers_come_and_go() {
    let _turn = TURN.lock().await;
    let Some(stage) = Stage::new("scaledshards").await else { return };
    let spec = |followers: i32| {
        cluster(&format!(
            "{{shardsPerPod: 3, followers: {followers}, synchronousFollowers: 1, \
             resp: {{clusterMode: Slots}}}}"
        ))
    };
    let spread = |pods: &'static [(&'static str, &'static [i64])]| {
        let stage = &stage;
        async move {
            let home: BTreeMap<String, Vec<i64>> =
                pods.iter().map(|(pod, own)| ((*pod).to_owned(), own.to_vec())).collect();
            let all =
                poll("every shard is at home", LIMIT, || async { owners(stage).await == home });
            if let Err(error) = all.await {
                panic!("{error}: {:#}\n{}", status(stage).await, stage.operator.log_tail());
            }
            stage.ready("kvcluster/a").await;
        }
    };
    stage.apply(&spec(1)).await;
    spread(&[("a-kv-0", &[0, 2]), ("a-kv-1", &[1])]).await;
    let load = Load::start(&stage.namespace, &stage.password("a").await, 3).await;
    goes_on(&stage, &load, "the first writes").await;
    stage.apply(&spec(2)).await;
    spread(&[("a-kv-0", &[0]), ("a-kv-1", &[1]), ("a-kv-2", &[2])]).await;
    goes_on(&stage, &load, "with a pod more").await;
    stage.apply(&spec(1)).await;
    spread(&[("a-kv-0", &[0, 2]), ("a-kv-1", &[1])]).await;
    let pods = ["get", "pods", "-o=name"];
    stage.until(&pods, |text| text.lines().count() == 2).await;
    goes_on(&stage, &load, "with a pod less").await;
    println!("pods came and went: {} ms", load.take_gap().as_millis());
    load.check("shards whose pods came and went").await;
}
