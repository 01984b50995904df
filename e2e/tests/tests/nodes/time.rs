//! How long a user waits for a service on a node that has the image. Printed, not judged: the
//! machine may be busy.

use std::time::{Duration, Instant};

use crate::product::Product;

const ROUNDS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_becomes_ready() {
    let Some(product) = Product::new("time").await else { return };
    let mut times: Vec<Duration> = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let yaml = format!(
            "{{apiVersion: orrery.dev/v1alpha1, kind: KVCluster, metadata: {{name: a{round}}}, \
             spec: {{deletionPolicy: Delete}}}}"
        );
        product.apply(&yaml).await;
        let object = format!("kvcluster/a{round}");
        product.ready(&object).await;
        times.push(begun.elapsed());
        product.kubectl(&["delete", &object, "--wait=false"]).await.expect("it is deleted");
    }
    times.sort();
    let milliseconds: Vec<_> = times.iter().map(Duration::as_millis).collect();
    let median = u128::midpoint(milliseconds[ROUNDS / 2 - 1], milliseconds[ROUNDS / 2]);
    println!("from kubectl apply to Ready: median {median} ms of {milliseconds:?}");
}
