//! The charts: linted, rendered, and taken by a real API server as they are.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use orrery_e2e_cluster::{Cluster, output_within, tool};
use serde_json::Value as Json;

/// For an installation that waits.
pub(crate) const HELM_LIMIT: Duration = Duration::from_mins(5);

pub(crate) fn chart(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("charts").join(name).display().to_string()
}

pub(crate) fn helm(args: &[&str]) -> Result<String, String> {
    let program = tool("helm").map_err(|error| error.to_string())?;
    let output = output_within(Command::new(program).args(args), HELM_LIMIT)
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Settings that together reach every branch of the templates.
const VARIANTS: [&[&str]; 3] = [
    &[],
    &[
        "--set",
        "replicas=2",
        "--set",
        "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ],
    &["--set", "namespaces={a,b}", "--set", "rbac.aggregateClusterRoles=false"],
];

#[tokio::test(flavor = "multi_thread")]
async fn charts_are_clean_and_an_api_server_takes_what_they_render() {
    let Some(cluster) = Cluster::shared().await else { return };
    for name in ["orrery", "orrery-crds"] {
        helm(&["lint", "--strict", &chart(name)]).unwrap_or_else(|what| panic!("{name}: {what}"));
    }
    let namespace = cluster.namespace("charts").await.expect("a namespace");
    for values in VARIANTS {
        let path = chart("orrery");
        let mut args = vec![
            "template",
            "orrery",
            &path,
            "--namespace",
            namespace.name(),
            "--kube-version",
            "1.34.0",
        ];
        args.extend(values);
        let text = helm(&args).unwrap_or_else(|what| panic!("{values:?}: {what}"));
        // Roles of `namespaces` live in namespaces that this cluster does not have.
        let text = text.replace("namespace: a\n", "namespace: default\n");
        let text = text.replace("namespace: b\n", "namespace: default\n");
        let dry = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let output = cluster.kubectl_with_input(dry, &text).await.expect("kubectl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let crds = helm(&["template", "kinds", &chart("orrery-crds"), "--kube-version", "1.34.0"]);
    let crds = crds.expect("it renders");
    assert!(crds.contains("helm.sh/resource-policy: keep"));
    let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    let output = cluster.kubectl_with_input(dry, &crds).await.expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_value_is_refused() {
    // The tools are built by the same step that builds the cluster.
    let None = Cluster::unavailable().await else { return };
    let refused = helm(&["template", "orrery", &chart("orrery"), "--set", "replica=2"]);
    assert!(refused.expect_err("the schema knows no such value").contains("replica"));
}

/// Every value of a chart with its path: what is no map, and maps that are empty.
fn values(at: &str, value: &Json, into: &mut Vec<(String, Json)>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, value) in map {
                values(&format!("{at}{}{key}", if at.is_empty() { "" } else { "." }), value, into);
            }
        }
        _ => into.push((at.to_owned(), value.clone())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_has_a_type_and_every_misspelling_is_refused() {
    let None = Cluster::unavailable().await else { return };
    for name in ["orrery", "orrery-crds"] {
        let path = chart(name);
        let text = std::fs::read_to_string(format!("{path}/values.yaml")).expect("it has values");
        let defaults: Json = serde_saphyr::from_str(&text).expect("values are YAML");
        let mut all = Vec::new();
        values("", &defaults, &mut all);
        assert!(all.len() >= 2, "{name} has values");
        let mut taken = Vec::new();
        let mut try_one = |set: String| {
            let args = ["template", "x", &path, "--kube-version", "1.34.0", "--set-json", &set];
            match helm(&args) {
                Ok(_) => taken.push(set),
                Err(why) => assert!(why.contains("values don't meet the specification"), "{why}"),
            }
        };
        for (at, value) in &all {
            // No value of any chart is a list of lists.
            try_one(format!("{at}=[[1]]"));
            // Beside a key of a fixed map another is unknown; maps of labels are free.
            if !at.contains("labels.") {
                try_one(format!("{at}x={value}"));
            }
        }
        assert!(taken.is_empty(), "{name}: the schema takes {taken:?}");
    }
}

/// Values that have the right type and still cannot be.
#[tokio::test(flavor = "multi_thread")]
async fn values_out_of_bounds_are_refused_and_good_ones_are_taken() {
    let None = Cluster::unavailable().await else { return };
    let render = |set: &str| {
        let path = chart("orrery");
        helm(&["template", "x", &path, "--kube-version", "1.34.0", "--set-json", set])
    };
    for bad in [
        "image.repository=\"\"",
        "image.digest=\"latest\"",
        "image.pullPolicy=\"Sometimes\"",
        "replicas=0",
        "replicas=9",
        "namespaces=[\"Not_A_Name\"]",
        "leaderElection.leaseDurationSeconds=1",
        "leaderElection.renewDeadlineSeconds=0",
        "leaderElection.retryPeriodSeconds=0",
        "log.format=\"xml\"",
        "log.level=\"\"",
        "tracing.endpoint=\"collector:4317\"",
        "monitoring.podMonitors.interval=\"often\"",
        "monitoring.rules.runbooks=\"ftp://x\"",
        "resources.limits.memory=true",
        "serviceAccount.annotations.a=1",
        "podAnnotations.a=1",
        "nodeSelector.a=1",
        "tolerations=[{\"effect\":\"Never\"}]",
        "imagePullSecrets=[{\"nam\":\"x\"}]",
    ] {
        assert!(render(bad).is_err(), "{bad} is taken");
    }
    for good in [
        "imagePullSecrets=[{\"name\":\"x\"}]",
        "tolerations=[{\"key\":\"a\",\"operator\":\"Exists\",\"effect\":\"NoSchedule\"}]",
        "affinity={\"nodeAffinity\":{}}",
        "nodeSelector={\"kubernetes.io/arch\":\"amd64\"}",
        "resources={\"limits\":{\"memory\":\"1Gi\",\"cpu\":2}}",
        "log.level=\"info,orrery_runtime=debug\"",
    ] {
        render(good).unwrap_or_else(|why| panic!("{good}: {why}"));
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    let text = render(&format!("image={{\"digest\":\"{digest}\",\"tag\":\"x\"}}")).expect("taken");
    assert_eq!(
        text.matches(&format!("@{digest}")).count(),
        2,
        "container and data planes:\n{text}"
    );
    let traced = render("tracing.endpoint=\"http://collector:4317\"").expect("taken");
    assert!(traced.contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
    assert!(!render("replicas=1").expect("taken").contains("PodDisruptionBudget"));
    assert!(render("replicas=2").expect("taken").contains("PodDisruptionBudget"));
    for kind in ["kvcluster", "kvnamespace"] {
        for role in ["viewer", "editor"] {
            let name = format!("name: x-{kind}-{role}\n");
            assert!(traced.contains(&name), "{name} is missing");
        }
    }
    assert!(!render("rbac.aggregateClusterRoles=false").expect("taken").contains("aggregate-to-"));
}
