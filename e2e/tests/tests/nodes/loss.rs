//! A policy that allows loss: what a failover lost is exactly what the status says.

use std::net::SocketAddr;
use std::time::Duration;

use orrery_e2e_cluster::{Dialer, poll_for};
use orrery_e2e_tests::client::{Client, Reply};

use crate::product::{LIMIT, Product};

const GROUP: &str = "{apiVersion: orrery.dev/v1alpha1, kind: KVCluster, metadata: {name: a}, \
    spec: {followers: 1, failover: {policy: AllowLoss}}}";

const KEY: &str = "book";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For one answer: a primary whose lease ran out keeps its answers back.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A client of one pod, from a machine.
async fn client(product: &Product, from: &Dialer, pod: &str) -> Client {
    let ip = ["get", &format!("pod/{pod}"), "-o=jsonpath={.status.podIP}"];
    let ip = product.kubectl(&ip).await.expect("it has an address");
    let address = SocketAddr::new(ip.parse().expect("an address"), 6379);
    let key = "-o=go-template={{.data.password|base64decode}}";
    let password = product.kubectl(&["get", "secret/a-kv", key]).await.expect("a password");
    let stream = from.dial(address, CONNECT_LIMIT).expect("it listens");
    let mut client = Client::over(stream).expect("a connection");
    client.stream().set_read_timeout(Some(ANSWER_LIMIT)).expect("a limit");
    assert_eq!(client.call(&["AUTH", &password]).expect("it answers"), Reply::Simple("OK".into()));
    client
}

/// Appends one number; the journal position once it was acknowledged.
fn append(client: &mut Client, number: u64) -> Option<u64> {
    let reply = client.call(&["RPUSH", KEY, &number.to_string()]).ok()?;
    matches!(reply, Reply::Integer(_)).then_some(())?;
    let info = client.call(&["INFO", "durability"]).ok()?.text();
    let position = info.lines().find_map(|line| line.strip_prefix("journal_position:"))?;
    position.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_may_lose_writes_says_exactly_which() {
    let Some((product, nodes)) = Product::with_nodes("loss").await else { return };
    product.apply(GROUP).await;
    product.ready("kvcluster/a").await;
    let in_sync = "-o=jsonpath={.status.followers[*].state}";
    product.until(&["get", "kvcluster/a", in_sync], |state| state == "InSync").await;
    let status = product.object("kvcluster/a").await.expect("it is there")["status"].clone();
    let old = status["primary"].as_str().expect("a name").to_owned();
    let node = ["get", &format!("pod/{old}"), "-o=jsonpath={.spec.nodeName}"];
    let node = product.kubectl(&node).await.expect("it is there");
    let home = nodes.names().iter().find(|name| **name != node).expect("there are two").clone();

    let mut beside = client(&product, &nodes.dialer(&node).expect("it lives"), &old).await;
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while number < 100 {
        number += 1;
        let position = append(&mut beside, number).expect("nothing is wrong yet");
        acknowledged.push((number, position));
    }
    // What it acknowledges from now on, for the rest of its lease, only it has.
    let cut = nodes.isolate(&node).await.expect("it is cut off");
    loop {
        number += 1;
        let Some(position) = append(&mut beside, number) else { break };
        acknowledged.push((number, position));
    }

    let failover = poll_for("another primary", LIMIT, || async {
        let object = product.object("kvcluster/a").await.unwrap_or_default();
        let failover = object["status"]["lastFailover"].clone();
        (failover["from"] == *old).then_some(failover)
    });
    let failover = failover.await.expect("the policy allows it");
    let (new, position) = (failover["to"].as_str(), failover["position"].as_u64());
    let (new, position) = (new.expect("a name"), position.expect("a number"));
    let serves = "-o=jsonpath={.status.conditions[?(@.type==\"Available\")].status}";
    product.until(&["get", "kvcluster/a", serves], |status| status == "True").await;
    let mut client = client(&product, &nodes.dialer(&home).expect("it lives"), new).await;
    let kept = client.call(&["LRANGE", KEY, "0", "-1"]).expect("it answers");
    let kept: Vec<u64> = kept.items().iter().map(|n| n.text().parse().expect("ours")).collect();
    let announced = acknowledged.iter().filter(|(_, at)| *at <= position).map(|(n, _)| *n);
    assert_eq!(
        kept,
        announced.collect::<Vec<u64>>(),
        "what lies above {position} is lost: {failover}"
    );
    let lost = (acknowledged.len() - kept.len()) as u64;
    assert!(lost > 0, "nothing was lost: {failover}");

    // The old primary comes back and tells how many there were: those, and the one at most that it
    // wrote and did not acknowledge any more.
    drop(cut);
    let told = "-o=jsonpath={.status.lastFailover.lostRecords}";
    let told =
        product.until(&["get", "kvcluster/a", told], |text| text.parse::<u64>().is_ok()).await;
    let told: u64 = told.parse().expect("it was one");
    assert!(told == lost || told == lost + 1, "{told} of {lost} acknowledged ones");
    println!(
        "{lost} of {} acknowledged writes were lost, and {told} announced",
        acknowledged.len()
    );
    product.until(&["get", "kvcluster/a", in_sync], |state| state == "InSync").await;
}
