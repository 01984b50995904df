//! What GitOps tools make of our objects in every state: Argo CD's script under its interpreter,
//! kstatus itself, Flux' expressions. And new kinds over old ones: objects stay.

use std::path::Path;

use orrery_e2e_cluster::{Cluster, ClusterError, Options, output_within};
use serde_json::{Value as Json, json};

use crate::charts::HELM_LIMIT;
use crate::judges;
use crate::kubernetes::{LIMIT, Stage};
use crate::not_run::or_not_run;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An object, and what Argo CD, kstatus and Flux are to say of it.
struct Seen {
    state: &'static str,
    object: Json,
    verdicts: [&'static str; 3],
}

fn judged(object: &Json) -> Result<[String; 3], ClusterError> {
    let argo = json!({ "config": read("docs/gitops/argocd-cm.yaml"), "object": object });
    let flux = json!({ "kustomization": read("docs/gitops/flux.yaml"), "object": object });
    let ask = |judge: &str, input: &Json| -> Result<String, ClusterError> {
        Ok(judges::ask(judge, &input.to_string())?.unwrap_or_else(|complaint| complaint))
    };
    Ok([ask("argo-health", &argo)?, ask("kstatus", object)?, ask("flux", &flux)?])
}

async fn get(stage: &Stage, target: &str) -> Json {
    let text = stage.kubectl(&["get", target, "-o=json"]).await.expect("it is there");
    serde_json::from_str(&text).expect("kubectl writes JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_kstatus_and_flux_understand_every_state() {
    let _ = or_not_run!(judges::ask("kstatus", "{}"));
    let Some(stage) = Stage::new("gitops").await else { return };
    let cluster = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: {name}}}\n\
             spec: {spec}\n"
        )
    };
    let mut seen = Vec::new();
    stage.apply(&cluster("a", "{}")).await;
    stage.ready("kvcluster/a").await;
    let verdicts = ["Healthy", "Current", "Current"];
    seen.push(Seen { state: "ready", object: get(&stage, "kvcluster/a").await, verdicts });

    stage.apply(&cluster("wrong", "{defaultClass: Config}")).await;
    let stalled = "-o=jsonpath={.status.conditions[?(@.type==\"Stalled\")].status}";
    stage.until(&["get", "kvcluster/wrong", stalled], |text| text == "True").await;
    let verdicts = ["Degraded", "Failed", "Failed"];
    seen.push(Seen { state: "stalled", object: get(&stage, "kvcluster/wrong").await, verdicts });

    stage.apply(&cluster("waits", "{resp: {auth: {secretRef: {name: nowhere}}}}")).await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    stage.until(&["get", "kvcluster/waits", reason], |text| text == "RefNotFound").await;
    let verdicts = ["Progressing", "InProgress", "InProgress"];
    seen.push(Seen { state: "waiting", object: get(&stage, "kvcluster/waits").await, verdicts });

    // Changed, and nobody has looked yet.
    let mut unobserved = seen[0].object.clone();
    unobserved["metadata"]["generation"] = json!(2);
    let verdicts = ["Progressing", "InProgress", "InProgress"];
    seen.push(Seen { state: "changed", object: unobserved, verdicts });
    let mut fresh = seen[0].object.clone();
    fresh["status"] = json!({});
    let object = fresh.clone();
    let verdicts = ["Progressing", "Current", "InProgress"];
    seen.push(Seen { state: "never looked at", object, verdicts });

    for (operation, wanted) in
        [("Fence", "FencedBySpec"), ("Hibernate", "Hibernated"), ("Pause", "Paused")]
    {
        stage.apply(&cluster("a", &format!("{{operation: {operation}}}"))).await;
        stage.until(&["get", "kvcluster/a", reason], |text| text == wanted).await;
        if operation != "Pause" {
            let ready = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            stage.until(&["get", "kvcluster/a", ready], |text| text == "True").await;
        }
        let object = get(&stage, "kvcluster/a").await;
        // While paused the generation that says so is not carried out.
        let waited = if operation == "Pause" { "InProgress" } else { "Current" };
        let verdicts = ["Suspended", waited, waited];
        seen.push(Seen { state: operation, object, verdicts });
    }
    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVNamespace\nmetadata: {name: lost}\n\
             spec: {clusterRef: {name: nowhere}, match: {prefix: 'x:'}}\n",
        )
        .await;
    stage.until(&["get", "kvnamespace/lost", reason], |text| text == "RefNotFound").await;
    let object = get(&stage, "kvnamespace/lost").await;
    let verdicts = ["Progressing", "InProgress", "InProgress"];
    seen.push(Seen { state: "namespace without engine", object, verdicts });

    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: Backup\nmetadata: {name: b}\n\
             spec: {cluster: {name: a}}\n---\n\
             apiVersion: orrery.dev/v1alpha1\nkind: Backup\nmetadata: {name: early}\n\
             spec: {cluster: {name: nowhere}}\n---\n\
             apiVersion: orrery.dev/v1alpha1\nkind: BackupSchedule\nmetadata: {name: nightly}\n\
             spec: {cluster: {name: a}, schedule: '0 2 * * *', suspend: true}\n",
        )
        .await;
    for (target, wanted, verdicts) in [
        ("backup/b", "NoArchive", ["Degraded", "Failed", "Failed"]),
        ("backup/early", "RefNotFound", ["Progressing", "InProgress", "InProgress"]),
        ("backupschedule/nightly", "Suspended", ["Suspended", "Current", "Current"]),
    ] {
        stage.until(&["get", target, reason], |text| text == wanted).await;
        seen.push(Seen { state: target, object: get(&stage, target).await, verdicts });
    }

    let wrong: Vec<String> = seen
        .iter()
        .filter_map(|Seen { state, object, verdicts }| {
            let found = judged(object).expect("the judges were built");
            let line = || format!("{state}: {found:?}, not {verdicts:?}: {}", object["status"]);
            (found != *verdicts).then(line)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Without a status, and without expressions Flux asks kstatus.
    let catalog = json!({ "apiVersion": "orrery.dev/v1alpha1", "kind": "ReleaseCatalog",
        "metadata": { "name": "default", "generation": 2 }, "spec": { "releases": [] } });
    let argo = json!({ "config": read("docs/gitops/argocd-cm.yaml"), "object": catalog });
    for (judge, input, verdict) in
        [("argo-health", argo, "Healthy"), ("kstatus", catalog, "Current")]
    {
        let said = judges::ask(judge, &input.to_string()).expect("the judges were built");
        assert_eq!(said.as_deref(), Ok(verdict), "{judge}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_of_argo_make_objects_that_the_api_server_takes() {
    let _ = or_not_run!(judges::ask("kstatus", "{}"));
    let Some(stage) = Stage::new("actions").await else { return };
    stage
        .apply("apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: a}\nspec: {}\n")
        .await;
    stage.ready("kvcluster/a").await;
    let mut object = get(&stage, "kvcluster/a").await;
    let config = read("docs/gitops/argocd-cm.yaml");
    let ask = |object: &Json, action: &str| {
        let input = json!({ "config": config, "object": object, "action": action });
        let answer = judges::ask("argo-action", &input.to_string()).expect("they were built");
        answer.expect("the script runs")
    };
    assert_eq!(ask(&object, ""), "hibernate pause restart");
    let operation = |object: &Json| object["spec"]["operation"].as_str().map(str::to_owned);
    for (action, wanted) in [("hibernate", "Hibernate"), ("pause", "Pause"), ("resume", "Run")] {
        let made: Json = serde_json::from_str(&ask(&object, action)).expect("an object");
        assert_eq!(operation(&made).as_deref(), Some(wanted));
        let mut spec = json!({ "spec": made["spec"] });
        spec["apiVersion"] = object["apiVersion"].clone();
        spec["kind"] = object["kind"].clone();
        spec["metadata"] = json!({ "name": "a" });
        stage.dry_run(&spec.to_string()).await.unwrap_or_else(|error| panic!("{action}: {error}"));
    }
    let made: Json = serde_json::from_str(&ask(&object, "restart")).expect("an object");
    assert!(made["spec"]["restart"].as_str().is_some_and(|text| text.ends_with('Z')), "{made}");

    object["spec"]["operation"] = json!("Hibernate");
    object["status"]["followers"] = json!([
        { "name": "a-kv-1", "state": "Behind" }, { "name": "a-kv-2", "state": "InSync" },
    ]);
    assert_eq!(ask(&object, ""), "pause promote resume");
    let made: Json = serde_json::from_str(&ask(&object, "promote")).expect("an object");
    assert_eq!(made["spec"]["failover"]["primary"], "a-kv-2");
}

/// The kinds as they were before: fewer fields and columns, one rule less.
fn older(crds: &str) -> String {
    let mut all: Vec<Json> = serde_saphyr::from_multiple(crds).expect("definitions are YAML");
    for crd in &mut all {
        let version = &mut crd["spec"]["versions"][0];
        version["additionalPrinterColumns"] = json!([]);
        let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        spec.as_object_mut().expect("a schema").remove("x-kubernetes-validations");
        let fields = spec["properties"].as_object_mut().expect("fields");
        for field in ["failover", "synchronousFollowers", "maintenanceWindows"] {
            fields.remove(field);
        }
    }
    let texts: Vec<String> = all.iter().map(Json::to_string).collect();
    texts.join("\n---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_chart_of_kinds_keeps_the_objects_of_the_older_one() {
    // Kinds belong to a whole cluster, so this one is not shared.
    if let Some(why) = Cluster::unavailable().await {
        eprintln!("not run: {why}");
        return;
    }
    if std::env::var_os("ORRERY_TEST_KUBECONFIG").is_some() {
        eprintln!("not run: the kinds of an existing cluster are left alone");
        return;
    }
    let cluster = Cluster::start(Options::default()).await.expect("a cluster starts");
    let helm = orrery_e2e_cluster::tool("helm").expect("it was built with the cluster");
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/orrery-crds");
    let mut template = std::process::Command::new(&helm);
    template.args(["template", "kinds"]).arg(&chart).args(["--kube-version", "1.34.0"]);
    let rendered = output_within(&mut template, LIMIT).expect("helm runs");
    let rendered = String::from_utf8(rendered.stdout).expect("YAML is text");

    // The release before: the same chart with older kinds in it.
    let folder = tempfile::tempdir().expect("a folder");
    let before = folder.path().join("orrery-crds");
    std::fs::create_dir_all(before.join("templates")).expect("a folder");
    let meta = "apiVersion: v2\nname: orrery-crds\nversion: 0.0.9\n";
    std::fs::write(before.join("Chart.yaml"), meta).expect("it is written");
    // What was rendered is a template again.
    let kinds = older(&rendered).replace("{{", "{{ \"{{\" }}");
    std::fs::write(before.join("templates/kinds.yaml"), kinds).expect("it is written");
    let run = |args: &[&str], chart: &Path| {
        let mut command = std::process::Command::new(&helm);
        command.args(args).arg(chart).env("KUBECONFIG", cluster.kubeconfig_path());
        let output = output_within(&mut command, HELM_LIMIT).expect("helm runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["upgrade", "--install", "--wait", "kinds"], &before);
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    assert!(cluster.kubectl(wait).await.expect("kubectl runs").status.success());
    let object = |spec: &str| {
        format!(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: old}}\nspec: {spec}\n"
        )
    };
    // With the rule that came later this would be refused.
    let old = object("{memcached: {mode: \"On\", port: 6379}, resp: {port: 6379}}");
    cluster.apply_yaml(&old).await.expect("the older kinds take it");
    let uid = ["get", "kvcluster/old", "-o=jsonpath={.metadata.uid} {.spec.resp.port}"];
    let before = cluster.kubectl(uid).await.expect("kubectl runs").stdout;
    assert!(!before.is_empty());

    run(&["upgrade", "--wait", "kinds"], &chart);
    let after = cluster.kubectl(uid).await.expect("kubectl runs").stdout;
    assert_eq!(String::from_utf8_lossy(&before), String::from_utf8_lossy(&after));
    let refused = cluster.apply_yaml(&object("{synchronousFollowers: 1}")).await;
    refused.expect_err("the newer kinds know the field and its rule");
    let mended = "{memcached: {mode: \"Off\", port: 11211}, synchronousFollowers: 0}";
    cluster.apply_yaml(&object(mended)).await.expect("it can be mended");

    // Uninstalling keeps kinds and objects.
    let mut uninstall = std::process::Command::new(&helm);
    uninstall.args(["uninstall", "kinds"]).env("KUBECONFIG", cluster.kubeconfig_path());
    let output = output_within(&mut uninstall, HELM_LIMIT).expect("helm runs");
    assert!(output.status.success());
    let kept = cluster.kubectl(uid).await.expect("kubectl runs").stdout;
    assert_eq!(String::from_utf8_lossy(&before), String::from_utf8_lossy(&kept));
}
