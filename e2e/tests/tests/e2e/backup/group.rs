//! Goal: the archive of an object with followers goes on when its primary dies under load, and gives
//! back what was there at a Backup of before, at a moment behind the failover, and in the end, into
//! objects with followers. Method: as without followers; between two Backups a primary is paused until it was
//! replaced, and its successor is killed. The archive is a folder, or a bucket whose server is killed
//! as well.

use orrery_e2e_cluster::{Order, poll};
use orrery_e2e_tests::client::{Client, Reply};
use orrery_e2e_tests::minio::{Minio, PASSWORD, USER};

use super::minio::{self, BUCKET};
use super::{CLAIM, Data, a_moment, dump, now, object, set};
use crate::group::load::Load;
use crate::group::{
    LOSSLESS, SIGCONT, SIGSTOP, TURN, cluster, goes_on, in_sync, moved_from, primary,
};
use crate::kubernetes::{LIMIT, Stage};

const ORDERS: usize = 300;

/// The orders alone: other keys are written to all the time.
fn orders(data: &Data) -> Data {
    let orders = data.iter().filter(|(key, _)| key.starts_with("order:"));
    orders.map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl Stage {
    async fn connect_primary(&self, name: &str) -> Client {
        let object = format!("kvcluster/{name}");
        let path = ["get", &object, "-o=jsonpath={.status.primary}"];
        let pod = self.until(&path, |pod| !pod.is_empty()).await;
        self.connect_pod(&pod, &self.password(name).await).await
    }

    /// Recovers a new object with followers, and waits until each of its pods has everything.
    async fn recovered_group(&self, name: &str, recovery: &str, followers: usize) -> Data {
        let spec = format!(
            "{{followers: {followers}, synchronousFollowers: 1, bootstrap: {{recovery: {recovery}}}}}"
        );
        self.apply(&object("KVCluster", name, &spec)).await;
        self.ready(&format!("kvcluster/{name}")).await;
        let found = dump(&mut self.connect_primary(name).await);
        let password = self.password(name).await;
        for number in 0..=followers {
            let pod = format!("{name}-kv-{number}");
            let what = format!("{pod} has everything");
            let has_all = || async {
                let mut client = self.connect_pod(&pod, &password).await;
                let size = client.call(&["DBSIZE"]).expect("it answers");
                size == Reply::Integer(found.len() as i64) && dump(&mut client) == found
            };
            poll(&what, LIMIT, has_all).await.unwrap_or_else(|error| panic!("{error}"));
        }
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_with_followers_goes_on_after_a_failover_and_gives_everything_back() {
    let _turn = TURN.lock().await;
    let Some(stage) = Stage::new("backup-group").await else { return };
    stage.apply(CLAIM).await;
    comes_back(&stage, "folder: {claimName: backups, path: kv}", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_in_a_bucket_that_is_away_for_a_while() {
    let Some(mut minio) = minio::start() else { return };
    let _turn = TURN.lock().await;
    let Some(stage) = Stage::new("backup-bucket").await else { return };
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: bucket}}\n\
         stringData: {{AWS_ACCESS_KEY_ID: {USER}, AWS_SECRET_ACCESS_KEY: {PASSWORD}}}\n"
    );
    stage.apply(&secret).await;
    let endpoint = minio.endpoint();
    let bucket = format!(
        "bucket: {{name: {BUCKET}, prefix: team/kv, endpoint: \"{endpoint}\", secretRef: {{name: bucket}}}}"
    );
    comes_back(&stage, &bucket, Some(&mut minio)).await;
    assert!(!stage.operator.log_tail().contains(PASSWORD));
}

/// The story of an object whose archive is in `place`.
async fn comes_back(stage: &Stage, place: &str, minio: Option<&mut Minio>) {
    let archive = format!("archive: {{{place}, intervalSeconds: 1}}");
    stage.apply(&cluster(&format!("{{{LOSSLESS}, deletionPolicy: Snapshot, {archive}}}"))).await;
    stage.ready("kvcluster/a").await;
    in_sync(stage, 2).await;
    let mut client = stage.connect_primary("a").await;
    for n in 0..ORDERS {
        set(&mut client, &format!("order:{n}"), "paid");
    }
    let at_backup = dump(&mut client);
    let load = Load::start(&stage.namespace, "a", &stage.password("a").await);
    goes_on(stage, &load, "the first writes").await;
    stage.backup("first", "a").await;

    // One is replaced and comes back while the next one archives; the next one dies.
    let old = primary(stage).await;
    assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Signal(SIGSTOP)));
    let new = moved_from(stage, &old).await;
    goes_on(stage, &load, "after the failover").await;
    assert!(stage.nodes.order(stage.namespace.name(), &old, Order::Signal(SIGCONT)));
    in_sync(stage, 2).await;
    assert!(stage.nodes.order(stage.namespace.name(), &new, Order::Crash));
    goes_on(stage, &load, "after the primary died").await;
    in_sync(stage, 2).await;
    if let Some(minio) = minio {
        away_for_a_while(stage, &load, minio).await;
    }
    let mut client = stage.connect_primary("a").await;
    for n in (0..ORDERS).step_by(3) {
        set(&mut client, &format!("order:{n}"), "sent");
    }
    goes_on(stage, &load, "more of it").await;
    load.check("a primary paused and one killed between two Backups");
    let (at_moment, moment) = (dump(&mut client), now());
    a_moment().await;
    client.call(&["FLUSHALL"]).expect("it answers");
    set(&mut client, "oops", "gone");
    let at_end = dump(&mut client);
    stage.backup("second", "a").await;
    let epoch = async |name: &str| {
        let path = "-o=jsonpath={.status.epoch}";
        let told = stage.kubectl(&["get", "backup", name, path]).await.expect("it is there");
        told.trim().parse::<u64>().expect("a number")
    };
    assert!(epoch("first").await > 0);
    assert!(epoch("first").await < epoch("second").await, "of another primary");

    // The last snapshot is taken, and then all volumes go.
    stage.kubectl(&["delete", "kvcluster/a", "--wait=false"]).await.expect("it is there");
    stage.gone("kvcluster/a").await;
    for number in 0..3 {
        stage.gone(&format!("pvc/data-a-kv-{number}")).await;
    }

    let found = stage.recovered_group("before", "{backup: {name: first}}", 1).await;
    assert!(orders(&found) == orders(&at_backup), "{} keys", found.len());
    let namespace = stage.namespace();
    let from = format!("archive: {{{place}, object: {{namespace: {namespace}, name: a}}}}");
    let recovery = format!("{{{from}, targetTime: \"{moment}\"}}");
    let found = stage.recovered_group("between", &recovery, 2).await;
    assert!(found == at_moment, "{} keys instead of {}", found.len(), at_moment.len());
    let found = stage.recovered_group("whole", &format!("{{{from}}}"), 1).await;
    assert_eq!(found, at_end);
    // What was recovered is a group like any other.
    let mut client = stage.connect_primary("between").await;
    set(&mut client, "later", "1");
}

/// A store that is away stops no write. The object says so, and is whole again once what was put aside
/// is there.
async fn away_for_a_while(stage: &Stage, load: &Load, minio: &mut Minio) {
    minio.kill();
    let degraded = "-o=jsonpath={.status.conditions[?(@.type==\"Degraded\")].reason}";
    let reason = ["get", "kvcluster/a", degraded];
    stage.until(&reason, |text| text == "ArchiveFailing").await;
    goes_on(stage, load, "without the store").await;
    minio.again().expect("it starts");
    stage.until(&reason, |text| text == "FullStrength").await;
    goes_on(stage, load, "with the store").await;
}
