//! A primary and two followers on machines that die, are cut off, stop and are emptied, while clients
//! on another machine write through the Service: nothing acknowledged is lost, and writes go on. How
//! long they did not is printed, not judged: the machine may be busy.

#[path = "group/stage.rs"]
mod stage;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use orrery_e2e_cluster::{RealNodes, not_run};
use orrery_e2e_tests::postgres::Postgres;
use orrery_e2e_tests::setting;
use stage::Stage;

use crate::minio;
use crate::product::Product;

/// Every write is on two disks before it is acknowledged.
const REPLICATED: &str = "{followers: 2, synchronousFollowers: 1}";

/// Every write is in the engine of this kind before it is acknowledged.
fn carried(backend: &str) -> String {
    format!("{{followers: 2, journal: {{backend: {backend}, ref: {{name: engine}}}}}}")
}

/// A database on neither machine, as one that someone runs for you, for the journals of the product's
/// objects. None, with the reason printed, where there is no PostgreSQL.
pub(crate) async fn database(
    product: &Product,
    nodes: &RealNodes,
    folder: &Path,
) -> Option<Postgres> {
    let host = nodes.outside().to_string();
    let database = Postgres::start_at(folder, &host, |program| nodes.command(program));
    let database = database.map_err(|why| not_run(&why)).ok()?;
    has_engine(product, &database.secret()).await;
    Some(database)
}

async fn has_engine(product: &Product, content: &str) {
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: engine}}, stringData: {content}}}"
    );
    product.apply(&secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_keeps_every_acknowledged_write_whatever_happens_to_its_machines() {
    let Some((product, nodes)) = Product::with_nodes("group").await else { return };
    let stage = Stage::new(product, nodes, REPLICATED).await;
    a_planned_move(&stage).await;
    the_machine_of_the_primary_dies(&stage).await;
    the_machine_of_primary_and_operator_is_cut_off(&stage).await;
    the_machine_of_the_primary_stops_and_goes_on(&stage).await;
    all_pods_are_replaced(&stage).await;
    the_machine_of_the_primary_is_drained(&stage).await;
    at_random(&stage).await;
    stage.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_in_a_database_keeps_every_acknowledged_write() {
    let Some((product, nodes)) = Product::with_nodes("carried").await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let Some(_database) = database(&product, &nodes, folder.path()).await else { return };
    let stage = Stage::new(product, nodes, &carried("Postgres")).await;
    a_planned_move(&stage).await;
    the_machine_of_the_primary_dies(&stage).await;
    the_machine_of_the_primary_stops_and_goes_on(&stage).await;
    at_random(&stage).await;
    stage.check();
}

/// The bucket is on neither machine either.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_in_a_bucket_keeps_every_acknowledged_write() {
    let Some((product, nodes)) = Product::with_nodes("bucket").await else { return };
    let host = nodes.outside().to_string();
    let Some(minio) = minio::start_at(&host, |program| nodes.command(program)) else { return };
    has_engine(&product, &minio.journal_secret()).await;
    let stage = Stage::new(product, nodes, &carried("ObjectStore")).await;
    a_planned_move(&stage).await;
    the_machine_of_the_primary_dies(&stage).await;
    the_machine_of_the_primary_stops_and_goes_on(&stage).await;
    at_random(&stage).await;
    stage.check();
}

/// The same faults in random order, for as long as `ORRERY_CHAOS_SECONDS` says.
async fn at_random(stage: &Stage) {
    let until = Instant::now() + Duration::from_secs(setting("ORRERY_CHAOS_SECONDS", 0));
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_micros();
    while Instant::now() < until {
        match clock() % 5 {
            0 => the_machine_of_the_primary_dies(stage).await,
            1 => the_machine_of_primary_and_operator_is_cut_off(stage).await,
            2 => the_machine_of_the_primary_stops_and_goes_on(stage).await,
            3 => all_pods_are_replaced(stage).await,
            _ => the_machine_of_the_primary_is_drained(stage).await,
        }
    }
}

/// To the machine that has no other pod of the group: its loss leaves both followers.
async fn a_planned_move(stage: &Stage) {
    let begun = stage.begin();
    stage.prefer(&stage.alone).await;
    stage.primary_is(&stage.alone).await;
    stage.goes_on(&begun, "planned move").await;
    stage.is_whole(Instant::now(), "planned move").await;
}

async fn the_machine_of_the_primary_dies(stage: &Stage) {
    stage.primary_is(&stage.alone).await;
    stage.operator_works_on(&stage.home).await;
    let begun = stage.begin();
    stage.nodes.kill(&stage.victim).await.expect("it is killed");
    stage.goes_on(&begun, "node of the primary killed").await;
    let returns = Instant::now();
    stage.nodes.start_node(&stage.victim).await.expect("it boots");
    stage.is_whole(returns, "node of the primary killed").await;
}

/// The worst of all: those who decide are gone with the primary, and go on beside it.
async fn the_machine_of_primary_and_operator_is_cut_off(stage: &Stage) {
    stage.primary_is(&stage.alone).await;
    stage.operator_works_on(&stage.victim).await;
    let leader = stage.product.leader().await;
    let restarts = stage.restarts(&leader).await;
    let begun = stage.begin();
    let cut = stage.nodes.isolate(&stage.victim).await.expect("it is cut off");
    let beside = stage.writer_beside_the_primary().await;
    stage.goes_on(&begun, "node of the primary and of the operator cut off").await;
    assert_eq!(beside.acknowledged(), [0], "the old primary acknowledged a write while cut off");
    drop(cut);
    stage.is_whole(Instant::now(), "node of the primary and of the operator cut off").await;
    stage.no_other_epoch(beside);
    let then = stage.restarts(&leader).await;
    assert_eq!(then, restarts, "the operator that lost its lease is a candidate again as it is");
}

async fn the_machine_of_the_primary_stops_and_goes_on(stage: &Stage) {
    stage.primary_is(&stage.alone).await;
    stage.operator_works_on(&stage.home).await;
    let begun = stage.begin();
    let stopped = stage.nodes.pause(&stage.victim).await.expect("it is stopped");
    let beside = stage.writer_beside_the_primary().await;
    stage.goes_on(&begun, "node of the primary stopped").await;
    drop(stopped);
    stage.is_whole(Instant::now(), "node of the primary stopped").await;
    stage.no_other_epoch(beside);
}

async fn all_pods_are_replaced(stage: &Stage) {
    let before = stage.uids().await;
    let begun = stage.begin();
    // A value that was not there before.
    stage.patch(&format!(r#"{{"spec":{{"restart":"{}"}}}}"#, before[0])).await;
    stage.all_replaced(&before).await;
    stage.goes_on(&begun, "three pods restarted one by one").await;
    stage.is_whole(begun.at, "three pods restarted one by one").await;
}

async fn the_machine_of_the_primary_is_drained(stage: &Stage) {
    stage.primary_is(&stage.alone).await;
    let begun = stage.begin();
    let drain = |node| ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data"];
    let wait = ["--timeout=120s"];
    let first = [&drain(&stage.victim)[..], &wait].concat();
    stage.product.kubectl(&first).await.expect("nothing stops the drain");
    stage.goes_on(&begun, "node of the primary drained").await;
    // With one pod away no other may go: its volume is on the drained machine.
    let selector = "--pod-selector=app.kubernetes.io/instance=a";
    let second = [&drain(&stage.home)[..], &[selector, "--timeout=5s"]].concat();
    let refused = stage.product.kubectl(&second).await.expect_err("one pod is away already");
    assert!(refused.contains("disruption budget"), "{refused}");
    let returns = Instant::now();
    for node in [&stage.victim, &stage.home] {
        stage.product.kubectl(&["uncordon", node]).await.expect("it takes pods again");
    }
    stage.is_whole(returns, "node of the primary drained").await;
}
