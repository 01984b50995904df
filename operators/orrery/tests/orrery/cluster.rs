//! Several shards on one machine: one process, and clients that are sent to the right thread of it.

use std::net::TcpStream;

use crate::stage::{Client, Stage, connect, until};

const CLUSTER: &str = "\
apiVersion: orrery.dev/v1alpha1
kind: KVCluster
metadata: {name: default}
spec:
  shardsPerPod: 3
  resp: {clusterMode: Slots}
";

/// Asks, and asks again where it is sent to.
fn routed(first: &str, words: &[&str]) -> (String, String) {
    let mut address = first.to_owned();
    for _ in 0..3 {
        let stream = until("the port is open", || TcpStream::connect(&address).ok());
        let answer = Client::over(stream).ask(words);
        match answer.strip_prefix("-MOVED ").and_then(|to| to.split_once(' ')) {
            Some((_, other)) => other.clone_into(&mut address),
            None => return (address, answer),
        }
    }
    panic!("sent from shard to shard: {words:?}")
}

#[test]
fn shards_have_ports_of_their_own_and_their_part_of_the_keys() {
    let stage = Stage::new(CLUSTER);
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    assert_eq!(cluster["status"]["shardCount"], 3);
    assert_eq!(cluster["status"]["shards"][1]["slots"], "5461-10921");
    assert!(connect(&cluster).ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    let address = cluster["status"]["endpoints"][0]["address"].as_str().unwrap().to_owned();
    let mut owners = std::collections::BTreeSet::new();
    for number in 0..30 {
        let (owner, answer) = routed(&address, &["SET", &format!("order:{number}"), "paid"]);
        assert_eq!(answer, "+OK");
        owners.insert(owner);
    }
    assert!(owners.len() >= 3, "{owners:?}");
    let bench = stage.run(&["bench", "default"]);
    assert!(String::from_utf8_lossy(&bench.stderr).contains("3 shards"), "{bench:?}");
    up.interrupt();
    let verify = stage.run(&["verify"]);
    let text = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(verify.status.success() && text.contains("3 of 3 journals are whole"), "{text}");

    let up = stage.up();
    stage.ready("KVCluster", "default", 1);
    for number in 0..30 {
        assert_eq!(routed(&address, &["GET", &format!("order:{number}")]).1, "paid");
    }
    up.interrupt();
}

#[test]
fn more_pods_are_for_more_machines() {
    let stage = Stage::new(&CLUSTER.replace("shardsPerPod: 3", "replicas: 3"));
    let mut up = stage.up();
    up.says("spec.replicas: more pods are for more machines");
    assert!(!up.ended().success(), "nothing was started");
}
