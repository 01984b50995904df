//! A journal that is carried outside of the pods, on a real API server, while clients write: whoever
//! is promoted has every acknowledged write, whatever it has on its own volume.

use orrery_e2e_cluster::{Order, not_run};
use orrery_e2e_tests::client::{Client, Reply};
use orrery_e2e_tests::postgres::Postgres;

use crate::backup::minio;
use crate::group::load::Load;
use crate::group::{SIGCONT, SIGSTOP, TURN, cluster, goes_on, in_sync, moved_from, primary};
use crate::kubernetes::Stage;

fn secret(content: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: engine}}\nstringData: {content}\n---\n"
    )
}

async fn staged(name: &str, content: &str, backend: &str) -> Option<(Stage, Load)> {
    let stage = Stage::new(name).await?;
    let spec = format!("{{followers: 1, journal: {{backend: {backend}, ref: {{name: engine}}}}}}");
    stage.apply(&format!("{}{}", secret(content), cluster(&spec))).await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 1).await;
    let load = Load::start(&stage.namespace, "a", &stage.password("a").await);
    goes_on(&stage, &load, "the first writes").await;
    Some((stage, load))
}

/// A primary that sleeps, one that is killed, and one whose pod and volume are removed.
async fn lose_primaries(stage: &Stage, load: &Load) {
    let namespace = stage.namespace.name();
    let old = primary(stage).await;
    assert!(stage.nodes.order(namespace, &old, Order::Signal(SIGSTOP)));
    moved_from(stage, &old).await;
    goes_on(stage, load, "after the primary fell asleep").await;
    assert!(stage.nodes.order(namespace, &old, Order::Signal(SIGCONT)));
    in_sync(stage, 1).await;
    let old = primary(stage).await;
    assert!(stage.nodes.order(namespace, &old, Order::Crash));
    goes_on(stage, load, "after the primary died").await;
    in_sync(stage, 1).await;
    stage.ready("kvcluster/a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_postgresql_it_outlives_pods_volumes_and_the_database_server() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut postgres = match Postgres::start(folder.path()) {
        Ok(postgres) => postgres,
        Err(why) => return not_run(&why),
    };
    let started = staged("carried", &postgres.secret(), "Postgres").await;
    let Some((stage, load)) = started else { return };
    let durability = ["get", "kvcluster/a", "-o=jsonpath={.status.durability}"];
    assert_eq!(stage.kubectl(&durability).await.expect("it is there"), "postgres");
    lose_primaries(&stage, &load).await;
    // The database dies under writes; what it had acknowledged is there, and so is the rest.
    postgres.crash();
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Degraded\")].reason}";
    stage.until(&["get", "kvcluster/a", reason], |reason| reason == "JournalAway").await;
    postgres.again().expect("it starts");
    goes_on(&stage, &load, "after the database came back").await;
    stage.ready("kvcluster/a").await;
    load.check("two lost primaries and a lost database");
    let before = lists(&mut stage.connect("a").await);
    // Every pod and every volume is gone: what is carried is everything.
    stage.kubectl(&["delete", "kvcluster/a", "--wait"]).await.expect("it goes");
    let volumes = ["delete", "persistentvolumeclaims", "--all", "--wait"];
    stage.kubectl(&volumes).await.expect("they go");
    let spec = "{followers: 1, journal: {backend: Postgres, ref: {name: engine}}}";
    stage.apply(&cluster(spec)).await;
    stage.ready("kvcluster/a").await;
    let after = lists(&mut stage.connect("a").await);
    assert!(before.iter().any(|list| !list.is_empty()) && after == before);
}

/// What the writers wrote.
fn lists(client: &mut Client) -> Vec<Vec<String>> {
    let list = |book: usize| {
        let reply = client.call(&["LRANGE", &format!("book:{book}"), "0", "-1"]);
        reply.expect("it answers").items().iter().map(Reply::text).collect()
    };
    (0..4).map(list).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket_it_outlives_the_primary() {
    let _turn = TURN.lock().await;
    let Some(minio) = minio::start() else { return };
    let started = staged("bucket", &minio.journal_secret(), "ObjectStore").await;
    let Some((stage, load)) = started else { return };
    lose_primaries(&stage, &load).await;
    load.check("two lost primaries");
}
