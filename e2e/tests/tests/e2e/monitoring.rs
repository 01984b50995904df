//! What is watched: the page of metrics against running programs, alerts through promtool,
//! dashboards through Grafana's own types, monitors through the schema of prometheus-operator.

#[path = "monitoring/scenarios.rs"]
mod scenarios;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use orrery_e2e_cluster::{Cluster, debian_program, go_module, output_within, tool};

use crate::judges;
use crate::kubernetes::{LIMIT, Stage};
use crate::not_run::or_not_run;

/// The dashboards of the chart.
const DASHBOARDS: [&str; 3] = ["operator", "kv", "scheduler"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of metrics in `docs/metrics.md`, of the part for one program.
fn documented(title: &str) -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let part = page.split("\n## ").find(|part| part.starts_with(title)).expect("there is a part");
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect()
}

/// Names that a program serves, as the page writes them.
fn served(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        })
        .collect()
}

fn http(address: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let ask = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers in text");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_metrics_is_what_running_programs_serve() {
    let Some(stage) = Stage::new("metrics").await else { return };
    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: a}\nspec: {}\n\
             ---\napiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: b}\n\
             spec: {resp: {auth: {secretRef: {name: nowhere}}}}\n\
             ---\napiVersion: orrery.dev/v1alpha1\nkind: Scheduler\nmetadata: {name: c}\n\
             spec: {targets: [{name: billing, host: billing.internal}]}\n",
        )
        .await;
    stage.ready("kvcluster/a").await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    stage.until(&["get", "kvcluster/b", reason], |text| text == "RefNotFound").await;
    let operator = http(&format!("127.0.0.1:{}", stage.http));
    assert_eq!(served(&operator), documented("Operator"), "{operator}");
    assert!(operator.contains("orrery_watches{state=\"deaf\"} 0"), "{operator}");
    let ready = r#"orrery_objects{kind="KVCluster",condition="Ready",status="True"} 1"#;
    assert!(operator.contains(ready), "{operator}");

    let ip = ["get", "pod/a-kv-0", "-o=jsonpath={.status.podIP}"];
    let ip = stage.until(&ip, |ip| !ip.is_empty()).await;
    let kv = http(&format!("{ip}:9401"));
    assert_eq!(served(&kv), documented("Key-value"), "{kv}");
    for line in ["orrery_kv_ready 1", "orrery_kv_writable 1"] {
        assert!(kv.lines().any(|seen| seen == line), "{line} is missing in\n{kv}");
    }

    stage.ready("scheduler/c").await;
    let ip = ["get", "pod/c-scheduler-0", "-o=jsonpath={.status.podIP}"];
    let ip = stage.until(&ip, |ip| !ip.is_empty()).await;
    let scheduler = http(&format!("{ip}:9401"));
    assert_eq!(served(&scheduler), documented("Scheduler"), "{scheduler}");
    let idle = r#"orrery_scheduler_target_queued{target="billing"} 0"#;
    for line in ["orrery_scheduler_ready 1", idle] {
        assert!(scheduler.lines().any(|seen| seen == line), "{line} is missing in\n{scheduler}");
    }
}

/// Every word of a text that could be one of our metrics.
fn named(text: &str) -> BTreeSet<String> {
    const FAMILIES: [&str; 5] =
        ["orrery_", "controller_runtime_", "workqueue_", "leader_election_", "rest_client_"];
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| FAMILIES.iter().any(|family| word.starts_with(family)));
    let family = |word: &str| {
        let of_histogram = word.strip_suffix("_bucket").or_else(|| word.strip_suffix("_count"));
        of_histogram.unwrap_or(word).to_owned()
    };
    ours.map(family).collect()
}

#[test]
fn every_metric_of_alerts_and_dashboards_exists() {
    let mut known = documented("Operator");
    known.extend(documented("Key-value"));
    known.extend(documented("Scheduler"));
    let dashboards = DASHBOARDS.map(|name| format!("dashboards/{name}.json"));
    for file in dashboards.iter().map(String::as_str).chain(["alerts.yaml"]) {
        let used = named(&read(&format!("charts/orrery/files/{file}")));
        assert!(used.len() > 5, "{file} uses metrics");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

/// Names of the alerts of the chart.
fn alerts() -> BTreeSet<String> {
    let rules = read("charts/orrery/files/alerts.yaml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn every_alert_has_a_page_that_says_what_to_do_and_every_page_an_alert() {
    let folder = root().join("docs/runbooks");
    let pages = std::fs::read_dir(&folder).expect("there are pages");
    let pages: BTreeSet<String> = pages
        .filter_map(|page| page.expect("it lists").file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".md")?.to_owned()))
        .filter(|name| name != "README")
        .collect();
    assert_eq!(alerts(), pages);
    for name in pages {
        let page = read(&format!("docs/runbooks/{name}.md"));
        for part in ["# ", "## What users see", "## Why", "## What to do\n\n1. "] {
            assert!(page.contains(part), "{name}: {part} is missing");
        }
    }
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let promtool = or_not_run!(debian_program("promtool", "prometheus"));
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("alerts.yaml");
    std::fs::write(&rules, read("charts/orrery/files/alerts.yaml")).expect("it is written");
    let run = |args: &[&str], file: &Path| {
        let mut command = Command::new(&promtool);
        let output = output_within(command.args(args).arg(file), LIMIT).expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = said + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {args:?}: {said}");
    };
    run(&["check", "rules"], &rules);
    let tests = folder.path().join("tests.yaml");
    std::fs::write(&tests, scenarios::promtool_file("alerts.yaml")).expect("it is written");
    run(&["test", "rules"], &tests);
    let tested: BTreeSet<String> = scenarios::firing().map(str::to_owned).collect();
    assert_eq!(tested, alerts(), "each alert is seen firing in a scenario");
}

#[test]
fn dashboards_are_what_grafana_reads() {
    for name in DASHBOARDS {
        let dashboard = read(&format!("charts/orrery/files/dashboards/{name}.json"));
        let judged = or_not_run!(judges::ask("dashboard", &dashboard));
        judged.unwrap_or_else(|complaint| panic!("{name}: {complaint}"));
        let broken = dashboard.replace("\"legendFormat\"", "\"legend_format\"");
        let broken = broken.replacen("\"gridPos\"", "\"grid\"", 1);
        let judged = or_not_run!(judges::ask("dashboard", &broken));
        judged.expect_err("a field that Grafana does not know is refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_are_made_where_their_kinds_are_and_an_api_server_takes_them() {
    let Some(cluster) = Cluster::shared().await else { return };
    let source =
        or_not_run!(go_module("github.com/prometheus-operator/prometheus-operator", "v0.85.0"));
    let mut kinds = String::new();
    for kind in ["podmonitors", "prometheusrules"] {
        let file = format!("example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml");
        let text = std::fs::read_to_string(source.join(file)).expect("the module has its kinds");
        write!(kinds, "---\n{text}\n").expect("a string takes it");
    }
    let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let applied = cluster.kubectl_with_input(args, &kinds).await.expect("kubectl runs");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "crd"];
    for kind in ["podmonitors", "prometheusrules"] {
        let name = format!("{kind}.monitoring.coreos.com");
        let args = wait.iter().copied().chain([name.as_str()]);
        assert!(cluster.kubectl(args).await.expect("kubectl runs").status.success());
    }

    let chart = root().join("charts/orrery");
    let render = |more: &[&str]| {
        let helm = tool("helm").expect("it was built with the cluster");
        let mut command = Command::new(helm);
        command.args(["template", "orrery"]).arg(&chart).args(["--kube-version", "1.34.0"]);
        let output = output_within(command.args(more), LIMIT).expect("helm runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("YAML is text")
    };
    let (absent, present) =
        (render(&[]), render(&["--api-versions", "monitoring.coreos.com/v1/PodMonitor"]));
    assert!(!absent.contains("monitoring.coreos.com") && !absent.contains("grafana_dashboard"));
    assert_eq!(present.matches("kind: PodMonitor").count(), 3);
    assert_eq!(present.matches("grafana_dashboard: \"1\"").count(), DASHBOARDS.len());
    assert!(present.contains("docs/runbooks/OrreryKvDown.md"), "the page of an alert is named");
    let narrow = render(&[
        "--set=monitoring.force=true,namespaces={default},monitoring.dashboards.enabled=false",
        "--set=monitoring.podMonitors.labels.release=prometheus,monitoring.rules.labels.a=b",
    ]);
    assert!(narrow.contains("release: prometheus") && !narrow.contains("grafana_dashboard"));
    let off = render(&[
        "--set=monitoring.force=true,monitoring.podMonitors.enabled=false",
        "--set=monitoring.rules.enabled=false,monitoring.dashboards.enabled=false",
    ]);
    assert_eq!(off, absent);
    for text in [present, narrow] {
        let dry = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let output = cluster.kubectl_with_input(dry, &text).await.expect("kubectl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
