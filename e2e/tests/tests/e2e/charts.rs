//! The charts: linted, rendered, and taken by a real API server as they are.

use std::path::Path;
use std::process::Command;

use orrery_e2e_cluster::{Cluster, tool};

fn chart(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("charts").join(name).display().to_string()
}

fn helm(args: &[&str]) -> Result<String, String> {
    let program = tool("helm").map_err(|error| error.to_string())?;
    let output = Command::new(program).args(args).output().map_err(|error| error.to_string())?;
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
