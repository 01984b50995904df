//! Machines that are emptied or die under the product.

use orrery_e2e_cluster::poll_for;

use crate::product::{LIMIT, Product};

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
