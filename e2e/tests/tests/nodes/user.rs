//! What a user does, from the first `kubectl apply` to coming back after a deletion.

use crate::page::{Shell, Step, steps};
use crate::product::Product;

const EXAMPLES: &str = include_str!("../../../../examples/kv.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_hold_data_through_everything_a_user_does() {
    let Some(product) = Product::new("user").await else { return };
    product.apply(EXAMPLES).await;
    product.ready("kvcluster/default").await;
    for object in ["cache", "sessions", "orders"] {
        product.ready(&format!("kvnamespace/{object}")).await;
    }
    product.answers("default", &["SET", "order:1", "paid"], "OK").await;

    let more = ["patch", "kvcluster/default", "--type=merge", "-p"];
    let change = |spec: &'static str| [more[0], more[1], more[2], more[3], spec];
    product.kubectl(&change(r#"{"spec":{"resp":{"databases":32}}}"#)).await.expect("it is taken");
    product.ready("kvcluster/default").await;
    product.answers("default", &["CONFIG", "GET", "databases"], "databases\n32").await;
    product.answers("default", &["GET", "order:1"], "paid").await;

    let log = product.orrery(&["logs", "default", "--cluster", "--lines=1000"]);
    assert!(log.contains("\"message\""), "lines of the data plane: {log}");

    let uid = ["get", "pod/default-kv-0", "-o=jsonpath={.metadata.uid}"];
    let old = product.kubectl(&uid).await.expect("the pod is there");
    let kill = ["delete", "pod/default-kv-0", "--grace-period=0", "--force"];
    product.kubectl(&kill).await.expect("it is killed");
    product.until(&uid, |uid| !uid.contains("rror") && uid != old).await;
    product.answers("default", &["GET", "order:1"], "paid").await;

    let hibernate = change(r#"{"spec":{"operation":"Hibernate"}}"#);
    product.kubectl(&hibernate).await.expect("it is taken");
    product.until(&["get", "pods", "-o=name"], str::is_empty).await;
    product.kubectl(&change(r#"{"spec":{"operation":"Run"}}"#)).await.expect("it is taken");
    product.ready("kvcluster/default").await;
    product.answers("default", &["GET", "order:1"], "paid").await;

    // In this order: a namespace that is left without its engine makes a new one.
    for kind in ["kvnamespace", "kvcluster"] {
        let delete = ["delete", kind, "--all", "--wait", "--timeout=120s"];
        product.kubectl(&delete).await.expect("they are deleted");
    }
    product.until(&["get", "pods", "-o=name"], str::is_empty).await;
    let volume = ["get", "pvc/data-default-kv-0", "-o=jsonpath={.status.phase}"];
    assert_eq!(product.kubectl(&volume).await.as_deref(), Ok("Bound"), "its policy is to retain");
    product.apply(EXAMPLES).await;
    product.ready("kvcluster/default").await;
    product.answers("default", &["GET", "order:1"], "paid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_upgrades_works_as_written() {
    let Some(product) = Product::new("page-upgrade").await else { return };
    product.apply(EXAMPLES).await;
    product.ready("kvcluster/default").await;
    product.answers("default", &["SET", "order:1", "paid"], "OK").await;
    let kubeconfig = product.namespace.cluster().kubeconfig_path();
    let shell = Shell::new(kubeconfig, product.namespace.name());
    let steps = steps(include_str!("../../../../docs/upgrade.md"));
    assert!(steps.len() >= 4, "the page has something to type: {steps:?}");
    for step in steps {
        let Step::Type(script) = step else { panic!("nothing is applied: {step:?}") };
        tokio::task::block_in_place(|| shell.types(&script));
    }
    product.answers("default", &["GET", "order:1"], "paid").await;
}
