//! A pool on nodes that run pods: the runner in an image, found by its name, asked by the engine.

use crate::product::Product;

const SCHEDULER: &str = "\
apiVersion: orrery.dev/v1alpha1
kind: Scheduler
metadata: {name: default}
spec: {partitions: 1}
";

/// The image is the product's own: there is no other on the nodes, and it has no shell.
fn pool(image: &str) -> String {
    format!(
        r#"{{"spec":{{"pools":[{{"name":"tools","image":"{image}","size":2,
            "imagePullPolicy":"IfNotPresent","env":[{{"name":"NO_COLOR","value":"1"}}]}}]}}}}"#
    )
}

fn schedule(name: &str, pool: &str, command: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: Schedule\nmetadata: {{name: {name}}}\n\
         spec:\n  when: {{every: 2s}}\n\
         \x20 action: {{pooledPod: {{pool: {pool}, command: {command}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_in_pods_that_are_warm_and_go_on_when_one_is_lost() {
    let Some(product) = Product::new("pools").await else { return };
    product.apply(SCHEDULER).await;
    product.ready("scheduler/default").await;
    let image = ["get", "pod/default-scheduler-0", "-o=jsonpath={.spec.containers[0].image}"];
    let image = product.kubectl(&image).await.expect("the pod is there");
    let pool = pool(image.trim());
    let patch = ["patch", "scheduler/default", "--type=merge", "-p", &pool];
    product.kubectl(&patch).await.expect("it is taken");
    let wanted =
        ["get", "deployment/default-scheduler-pool-tools", "-o=jsonpath={.status.readyReplicas}"];
    product.until(&wanted, |ready| ready == "2").await;
    product.ready("scheduler/default").await;

    product.apply(&schedule("works", "tools", "[/orrery, version]")).await;
    product.apply(&schedule("fails", "tools", "[/orrery, no-such-command]")).await;
    product.apply(&schedule("lacks", "tolls", "[/orrery, version]")).await;
    let result = |name: &str| {
        let object = format!("schedule/{name}");
        ["get".to_owned(), object, "-o=jsonpath={.status.lastRun.result}".to_owned()]
    };
    for (name, ended) in [("works", "Succeeded"), ("fails", "Failed")] {
        let result = result(name);
        product.until(&result.each_ref().map(String::as_str), |text| text == ended).await;
    }
    let stalled = "-o=jsonpath={.status.conditions[?(@.type==\"Stalled\")].reason}";
    product.until(&["get", "schedule/lacks", stalled], |text| text == "TargetMissing").await;

    // One pod is killed, another takes its place; runs go on.
    let select = "--selector=app.kubernetes.io/name=scheduler-pool";
    let names = ["get", "pods", select, "-o=jsonpath={.items[*].metadata.name}"];
    let before = product.kubectl(&names).await.expect("they are there");
    let first = before.split(' ').next().expect("there are two");
    let kill = ["delete", "pod", first, "--grace-period=0", "--force"];
    product.kubectl(&kill).await.expect("it is killed");
    product.until(&names, |now| !now.contains(first) && now.split(' ').count() == 2).await;
    product.until(&wanted, |ready| ready == "2").await;
    let nominal = ["get", "schedule/works", "-o=jsonpath={.status.lastRun.nominal}"];
    let then = product.kubectl(&nominal).await.expect("it ran");
    let ended =
        ["get", "schedule/works", "-o=jsonpath={.status.lastRun.nominal} {.status.lastRun.result}"];
    product
        .until(&ended, |text| text.ends_with(" Succeeded") && !text.starts_with(then.trim()))
        .await;

    // Its pods sleep with it, and a pool that is taken away goes with all that it had.
    let hibernate = r#"{"spec":{"operation":"Hibernate"}}"#;
    product
        .kubectl(&["patch", "scheduler/default", "--type=merge", "-p", hibernate])
        .await
        .expect("it is taken");
    product.until(&["get", "pods", "-o=name"], str::is_empty).await;
    let less = r#"{"spec":{"operation":"Run","pools":null}}"#;
    product
        .kubectl(&["patch", "scheduler/default", "--type=merge", "-p", less])
        .await
        .expect("it is taken");
    product.ready("scheduler/default").await;
    let left = ["get", "deployments,services,secrets,networkpolicies", "-o=name"];
    product.until(&left, |names| !names.contains("pool-tools")).await;
    product.until(&["get", "schedule/works", stalled], |text| text == "TargetMissing").await;
}
