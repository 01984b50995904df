//! `orrery up`: an archive in a folder below the data folder, and what is recovered from it.

use crate::stage::{Stage, connect};

const ORDERS: &str = "\
apiVersion: orrery.dev/v1alpha1
kind: KVCluster
metadata: {name: orders}
spec:
  archive: {folder: {claimName: backups, path: kv}, intervalSeconds: 1}
";

const COPY: &str = "\
apiVersion: orrery.dev/v1alpha1
kind: KVCluster
metadata: {name: copy}
spec:
  bootstrap:
    recovery:
      archive:
        folder: {claimName: backups, path: kv}
        object: {namespace: default, name: orders}
";

#[test]
fn an_archive_on_this_machine_outlives_the_object_and_another_is_recovered_from_it() {
    let stage = Stage::new(ORDERS);
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "orders", 1);
    let mut client = connect(&cluster);
    for n in 0..100 {
        assert_eq!(client.ask(&["SET", &format!("order:{n}"), "paid"]), "+OK");
    }
    // What is left is put into the archive when the process ends.
    up.interrupt();
    stage.write("copy.yaml", COPY);
    stage.remove("kv.yaml");
    let up = stage.up();
    let copy = stage.ready("KVCluster", "copy", 1);
    assert_eq!(connect(&copy).ask(&["GET", "order:99"]), "paid");
    assert_eq!(connect(&copy).ask(&["DBSIZE"]), ":100");
    up.interrupt();
    let up = stage.up();
    let copy = stage.ready("KVCluster", "copy", 1);
    assert_eq!(connect(&copy).ask(&["DBSIZE"]), ":100", "it is recovered once");
    up.interrupt();
}
