//! Goal: what was in an archive comes back, exactly, at the position of a Backup and at a moment in
//! between; and a last snapshot comes before the end of a volume. Method: real data planes archive
//! into a folder of a claim; then the object and its volume are deleted, and new objects are
//! recovered from the folder.

#[path = "backup/group.rs"]
mod group;
#[path = "../common/minio.rs"]
pub(crate) mod minio;

use std::collections::BTreeMap;

use orrery_e2e_cluster::poll;
use orrery_e2e_tests::client::{Client, Reply};

use crate::kubernetes::{LIMIT, Stage};

const CLAIM: &str = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: backups}\n\
                     spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: orrery.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n\
         spec: {spec}\n"
    )
}

const SUCCEEDED: &str = "-o=jsonpath={.status.conditions[?(@.type==\"Succeeded\")].status}";
const REASON: &str = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";

type Data = BTreeMap<String, String>;

/// Everything there is, by key.
fn dump(client: &mut Client) -> Data {
    let keys = client.call(&["KEYS", "*"]).expect("it answers");
    let mut data = Data::new();
    for key in keys.items().iter().map(Reply::text) {
        let kind = client.call(&["TYPE", key.as_str()]).expect("it answers");
        let value = if kind.text() == "list" {
            let list = client.call(&["LRANGE", key.as_str(), "0", "-1"]).expect("it answers");
            list.items().iter().map(Reply::text).collect::<Vec<_>>().join(" ")
        } else {
            client.call(&["GET", key.as_str()]).expect("it answers").text()
        };
        data.insert(key, value);
    }
    data
}

fn set(client: &mut Client, key: &str, value: &str) {
    let ok = client.call(&["SET", key, value]).expect("it answers");
    assert_eq!(ok, Reply::Simple("OK".into()));
}

/// Now, as RFC 3339 with microseconds.
fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_microsecond(now.as_microsecond()).expect("a time").to_string()
}

/// Lets the clock go on, so that what follows is later for sure.
async fn a_moment() {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

impl Stage {
    async fn backup(&self, name: &str, cluster: &str) {
        let spec = format!("{{cluster: {{name: {cluster}}}}}");
        self.apply(&object("Backup", name, &spec)).await;
        self.until(&["get", &format!("backup/{name}"), SUCCEEDED], |text| text == "True").await;
    }

    async fn gone(&self, target: &str) {
        let what = format!("{target} is gone");
        let gone = || async { self.kubectl(&["get", target]).await.is_err() };
        poll(&what, LIMIT, gone).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn recovered(&self, name: &str, recovery: &str) -> Data {
        let spec = format!("{{bootstrap: {{recovery: {recovery}}}}}");
        self.apply(&object("KVCluster", name, &spec)).await;
        self.ready(&format!("kvcluster/{name}")).await;
        dump(&mut self.connect(name).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_comes_back_at_a_position_at_a_moment_and_whole() {
    let Some(stage) = Stage::new("backup").await else { return };
    let archive = "archive: {folder: {claimName: backups, path: kv}, intervalSeconds: 1}";
    stage.apply(CLAIM).await;
    let spec = format!("{{deletionPolicy: Delete, {archive}}}");
    stage.apply(&object("KVCluster", "orders", &spec)).await;
    stage.ready("kvcluster/orders").await;
    let mut client = stage.connect("orders").await;
    for n in 0..500 {
        set(&mut client, &format!("order:{n}"), &format!("paid {n}"));
    }
    let at_backup = dump(&mut client);
    stage.backup("first", "orders").await;

    for n in 400..600 {
        set(&mut client, &format!("order:{n}"), "sent");
    }
    client.call(&["DEL", "order:7"]).expect("it answers");
    let (at_moment, moment) = (dump(&mut client), now());
    a_moment().await;
    client.call(&["FLUSHALL"]).expect("it answers");
    set(&mut client, "oops", "gone");
    let at_end = dump(&mut client);
    assert_eq!((at_backup.len(), at_moment.len(), at_end.len()), (500, 599, 1));
    // A schedule takes the second one.
    let spec = "{cluster: {name: orders}, schedule: '* * * * *', retainLast: 1}";
    stage.apply(&object("BackupSchedule", "minutely", spec)).await;
    let last = ["get", "backupschedule/minutely", "-o=jsonpath={.status.lastBackup}"];
    let second = stage.until(&last, |name| name.starts_with("minutely-")).await;
    stage.until(&["get", &format!("backup/{second}"), SUCCEEDED], |text| text == "True").await;
    stage.kubectl(&["delete", "backupschedule/minutely"]).await.expect("it is there");

    stage.kubectl(&["delete", "kvcluster/orders", "--wait=false"]).await.expect("it is there");
    stage.gone("kvcluster/orders").await;
    stage.gone("pvc/data-orders-kv-0").await;

    let found = stage.recovered("at-backup", "{backup: {name: first}}").await;
    assert!(found == at_backup, "{} keys instead of {}", found.len(), at_backup.len());
    // What it was recovered from may go, once it is known.
    stage.kubectl(&["delete", "backup/first"]).await.expect("it is there");
    stage.ready("kvcluster/at-backup").await;
    let namespace = stage.namespace();
    let from = format!(
        "archive: {{folder: {{claimName: backups, path: kv}}, \
         object: {{namespace: {namespace}, name: orders}}}}"
    );
    let recovery = format!("{{{from}, targetTime: \"{moment}\"}}");
    let found = stage.recovered("at-moment", &recovery).await;
    assert!(found == at_moment, "{} keys instead of {}", found.len(), at_moment.len());
    let found = stage.recovered("whole", &format!("{{{from}}}")).await;
    assert_eq!(found, at_end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_waits_for_its_backup_and_says_when_there_is_none_to_come() {
    let Some(stage) = Stage::new("recovery").await else { return };
    let spec = "{bootstrap: {recovery: {backup: {name: later}}}}";
    stage.apply(&object("KVCluster", "copy", spec)).await;
    let reason = ["get", "kvcluster/copy", REASON];
    stage.until(&reason, |text| text == "RefNotFound").await;
    stage.apply(&object("Backup", "later", "{cluster: {name: orders}}")).await;
    stage.until(&reason, |text| text == "BackupUnfinished").await;
    stage.apply(CLAIM).await;
    let spec = "{archive: {folder: {claimName: backups}, intervalSeconds: 1}}";
    stage.apply(&object("KVCluster", "orders", spec)).await;
    stage.ready("kvcluster/orders").await;
    // An empty engine has nothing to take: the Backup is tried again until there is something.
    set(&mut stage.connect("orders").await, "a", "1");
    stage.ready("kvcluster/copy").await;

    // A Backup that failed for good.
    let failed = "{cluster: {name: nowhere}, deadlineSeconds: 60}";
    stage.apply(&object("Backup", "failed", failed)).await;
    let spec = "{bootstrap: {recovery: {backup: {name: failed}}}}";
    stage.apply(&object("KVCluster", "never", spec)).await;
    stage.until(&["get", "backup/failed", SUCCEEDED], |text| text == "False").await;
    stage.until(&["get", "kvcluster/never", REASON], |text| text == "BackupFailed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_snapshot_comes_before_the_end_of_the_volume() {
    let Some(stage) = Stage::new("last").await else { return };
    stage.apply(CLAIM).await;
    let spec = "{deletionPolicy: Snapshot, archive: {folder: {claimName: backups}}}";
    for name in ["orders", "asleep"] {
        stage.apply(&object("KVCluster", name, spec)).await;
        stage.ready(&format!("kvcluster/{name}")).await;
    }
    let mut client = stage.connect("orders").await;
    for n in 0..100 {
        set(&mut client, &format!("order:{n}"), "paid");
    }
    let before = dump(&mut client);
    stage.kubectl(&["delete", "kvcluster/orders", "--wait=false"]).await.expect("it is there");
    stage.gone("kvcluster/orders").await;
    stage.gone("pvc/data-orders-kv-0").await;
    let namespace = stage.namespace();
    let recovery = format!(
        "{{archive: {{folder: {{claimName: backups}}, \
         object: {{namespace: {namespace}, name: orders}}}}}}"
    );
    assert_eq!(stage.recovered("again", &recovery).await, before);

    // Where no snapshot can be taken, nothing is lost and the way out works.
    let patch = ["patch", "kvcluster/asleep", "--type=merge", "-p"];
    let change = async |spec: &str| {
        let words = [&patch[..], &[spec]].concat();
        stage.kubectl(&words).await.expect("it is there");
    };
    change("{\"spec\": {\"operation\": \"Hibernate\"}}").await;
    stage.until(&["get", "kvcluster/asleep", REASON], |text| text == "Hibernated").await;
    stage.gone("pod/asleep-kv-0").await;
    stage.kubectl(&["delete", "kvcluster/asleep", "--wait=false"]).await.expect("it is there");
    stage.until(&["get", "kvcluster/asleep", REASON], |text| text == "SnapshotFailed").await;
    stage.kubectl(&["get", "pvc/data-asleep-kv-0"]).await.expect("the volume is there");
    change("{\"spec\": {\"deletionPolicy\": \"Retain\"}}").await;
    stage.gone("kvcluster/asleep").await;
    stage.kubectl(&["get", "pvc/data-asleep-kv-0"]).await.expect("the volume is there still");
}
