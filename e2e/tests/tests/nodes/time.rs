//! How long a user waits for a service on a node that has the image. Printed, not judged: the
//! machine may be busy.

use std::time::{Duration, Instant};

use crate::product::Product;

/// How often; `make e2e` sets ten.
const ROUNDS: &str = "ORRERY_TEST_ROUNDS";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_becomes_ready() {
    let Some(product) = Product::new("time").await else { return };
    let rounds = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok());
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..rounds.unwrap_or(3_usize).max(1) {
        let begun = Instant::now();
        let yaml = format!(
            "{{apiVersion: orrery.dev/v1alpha1, kind: KVCluster, metadata: {{name: a{round}}}, \
             spec: {{}}}}"
        );
        product.apply(&yaml).await;
        let object = format!("kvcluster/a{round}");
        product.ready(&object).await;
        times.push(begun.elapsed());
        product.kubectl(&["delete", &object, "--wait=false"]).await.expect("it is deleted");
    }
    times.sort();
    let milliseconds: Vec<_> = times.iter().map(Duration::as_millis).collect();
    let median = milliseconds[milliseconds.len() / 2];
    println!("from kubectl apply to Ready: median {median} ms of {milliseconds:?}");
}
