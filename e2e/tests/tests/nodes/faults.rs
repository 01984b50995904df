//! Machines that are emptied or die under the product.

use std::time::{Duration, Instant};

use orrery_e2e_cluster::poll_for;

use crate::product::{LIMIT, Product};

const GROUP: &str = "{apiVersion: orrery.dev/v1alpha1, kind: KVCluster, metadata: {name: a}, \
    spec: {followers: 1, synchronousFollowers: 1}}";

const SERVICE: &str =
    "{apiVersion: orrery.dev/v1alpha1, kind: KVCluster, metadata: {name: a}, spec: {}}";

const NODE: &str = "-o=jsonpath={.spec.nodeName}";

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_gives_its_service_back_with_the_data() {
    let Some(product) = Product::new("drain").await else { return };
    product.apply(SERVICE).await;
    product.ready("kvcluster/a").await;
    product.answers("a", &["SET", "k", "v"], "OK").await;
    let node = product.kubectl(&["get", "pod/a-kv-0", NODE]).await.expect("the pod is there");
    let selector = format!("--field-selector=spec.nodeName={node}");

    let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"];
    product.kubectl(&drain).await.expect("nothing stops the drain");
    let left = product.kubectl(&["get", "pods", &selector, "-o=name"]).await;
    assert_eq!(left.as_deref(), Ok(""), "the node is empty");
    product.kubectl(&["uncordon", &node]).await.expect("it takes pods again");

    product.ready("kvcluster/a").await;
    product.answers("a", &["GET", "k"], "v").await;
    let both = ["rollout", "status", "deployment/orrery", "--timeout=120s"];
    product.system(&both).await.expect("both replicas of the operator are back");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_operator_takes_over_when_its_node_dies() {
    let Some((product, nodes)) = Product::with_nodes("leader").await else { return };
    let leader = product.leader().await;
    let node = product.system(&["get", &format!("pod/{leader}"), NODE]).await.expect("it runs");
    nodes.kill(&node).await.expect("it is killed");
    let other = poll_for("another leader", LIMIT, || async {
        Some(product.leader().await).filter(|now| *now != leader)
    });
    other.await.expect("the other replica takes over");

    // Until the node is known to be dead the scheduler may choose it.
    let state = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    product.until(&["get", &format!("node/{node}"), state], |ready| ready == "Unknown").await;

    product.apply(SERVICE).await;
    product.ready("kvcluster/a").await;
    product.answers("a", &["SET", "k", "v"], "OK").await;
    nodes.start_node(&node).await.expect("it boots");
}

/// Waits until the follower has everything but the tail.
async fn in_sync(product: &Product) {
    let state = ["get", "kvcluster/a", "-o=jsonpath={.status.followers[0].state}"];
    product.until(&state, |state| state == "InSync").await;
}

/// Writes the numbers from `first` on until `enough` says so, and gives those acknowledged and the
/// longest time between two of them.
async fn write(
    product: &Product,
    first: u32,
    enough: impl Fn(u32) -> bool,
) -> (Vec<u32>, Duration) {
    let (mut acknowledged, mut number, mut gap) = (Vec::new(), first, Duration::ZERO);
    let (begun, mut last) = (Instant::now(), Instant::now());
    while !enough(acknowledged.len() as u32) {
        assert!(begun.elapsed() < LIMIT, "writes do not go on: {acknowledged:?}");
        let reply = product.redis("a", &["SADD", "book", &number.to_string()]).await;
        if reply.is_ok_and(|reply| reply.trim() == "1") {
            acknowledged.push(number);
            gap = gap.max(last.elapsed());
            last = Instant::now();
        }
        number += 1;
    }
    (acknowledged, gap)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_takes_over_when_the_node_of_the_primary_dies() {
    let Some((product, nodes)) = Product::with_nodes("failover").await else { return };
    product.apply(GROUP).await;
    product.ready("kvcluster/a").await;
    in_sync(&product).await;
    // Not the node of the operator that works: its take-over is another test.
    let leader = product.leader().await;
    let spared = product.system(&["get", &format!("pod/{leader}"), NODE]).await.expect("it runs");
    let node_of = async |pod: &str| product.kubectl(&["get", &format!("pod/{pod}"), NODE]).await;
    let on_spared = node_of("a-kv-0").await.as_deref() == Ok(spared.as_str());
    let victim = if on_spared { "a-kv-1" } else { "a-kv-0" };
    let wish = format!("{{\"spec\":{{\"failover\":{{\"primary\":\"{victim}\"}}}}}}");
    product
        .kubectl(&["patch", "kvcluster/a", "--type=merge", "-p", &wish])
        .await
        .expect("it takes it");
    let primary = ["get", "kvcluster/a", "-o=jsonpath={.status.primary}"];
    product.until(&primary, |now| now == victim).await;
    in_sync(&product).await;
    let node = node_of(victim).await.expect("it runs");
    assert_ne!(node, spared, "the pods of a group are spread over the nodes");

    let (mut acknowledged, _) = write(&product, 1, |count| count >= 50).await;
    nodes.kill(&node).await.expect("it is killed");
    let (more, gap) = write(&product, 1_000, |count| count >= 50).await;
    println!("node of the primary killed: writes go on after {} ms", gap.as_millis());
    acknowledged.extend(more);
    assert_ne!(product.until(&primary, |now| !now.is_empty()).await, victim);
    let returned = Instant::now();
    nodes.start_node(&node).await.expect("it boots");
    in_sync(&product).await;
    product.ready("kvcluster/a").await;
    println!("node back: full strength after {} ms", returned.elapsed().as_millis());
    let found = product.redis("a", &["SMEMBERS", "book"]).await.expect("it answers");
    let found: Vec<u32> = found.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let lost: Vec<&u32> = acknowledged.iter().filter(|number| !found.contains(number)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}
