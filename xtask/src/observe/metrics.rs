//! `docs/metrics.md`, from what the programs themselves write about their metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::Method;
use orrery_api::condition::ConditionSet;
use orrery_api::{ConditionType, Reason, Time};
use orrery_runtime::metrics::Metrics;

const KV: &str = "One set per pod. Of several shards each has its own, with the label `shard`: all but what is about the process\n(`ready`, `start_time_seconds`, `resident_memory_bytes`, `volume_…`, `tls_…`).";

const SCHEDULER: &str = "One set per pod. Targets that jobs name by an address of their own are together the target with the empty name.";

const HEAD: &str = "\
<!-- Made from the code by `make generate`; edit the help texts there. -->

# Metrics

Operator and data planes serve `/metrics` in the OpenMetrics text format: the operator on port 8080, a data plane on port 9401
(both named `http`). The chart makes a PodMonitor for each when `monitoring.podMonitors` is on and the cluster knows the
kind; it sets `job` to `orrery-operator`, `orrery-kv` or `orrery-scheduler`, and `kvcluster` or `scheduler` to the name of the
object a pod belongs to.

Names and labels are stable within a minor version. A test compares this page with what running programs serve, in both
directions.
";

/// One family.
struct Described {
    kind: String,
    help: String,
    labels: Vec<String>,
}

pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    let parts = [
        (
            "Operator",
            "Names known from controller-runtime, so that existing dashboards work.",
            operator(),
        ),
        ("Key-value data plane", KV, orrery_kv::metrics_text()),
        (
            "Scheduler data plane",
            SCHEDULER,
            orrery_scheduler::metrics_text().expect("a thread can be started"),
        ),
    ];
    for (title, about, text) in parts {
        let _ = write!(
            page,
            "\n## {title}\n\n{about}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        );
        for (name, described) in described(&text) {
            let Described { kind, help, labels } = described;
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
            let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
        }
    }
    page
}

/// The operator's metrics after one of everything happened, so that no family is empty.
fn operator() -> String {
    let metrics = Metrics::default();
    let now = Time::new(jiff::Timestamp::UNIX_EPOCH);
    let ready = ConditionSet::new(1).with(ConditionType::Ready, true, Reason::Progressing, "");
    metrics.controller("kvcluster", 1);
    metrics.triggered("kvcluster", "default/default".to_owned());
    metrics.round("kvcluster", "default/default").failed("Transient");
    metrics.api_request(&Method::GET, Some(200));
    metrics.set_watches(1, 0, 0);
    metrics.object("KVCluster", "uid", &ready.merge(&[], now));
    metrics.encode()
}

/// Families of a text, under the names a query uses.
fn described(text: &str) -> BTreeMap<String, Described> {
    let (mut helps, mut kinds, mut labels) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            // The library ends every help text with a full stop.
            helps.insert(name.to_owned(), help.trim_end_matches('.').to_owned());
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            kinds.insert(name.to_owned(), kind.to_owned());
        } else if let Some((name, rest)) = line.split_once('{') {
            let names = rest.split('}').next().unwrap_or_default().split(',');
            let names = names.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
            let names: Vec<String> = names.filter(|name| name != "le").collect();
            labels.insert(name.to_owned(), names);
        }
    }
    let family = |(name, kind): (String, String)| {
        let sample = match kind.as_str() {
            "counter" => format!("{name}_total"),
            "histogram" => format!("{name}_bucket"),
            _ => name.clone(),
        };
        let help = helps.get(&name).cloned().unwrap_or_default();
        let labels = labels.get(&sample).cloned().unwrap_or_default();
        let shown = if kind == "counter" { sample } else { name };
        (shown, Described { kind, help, labels })
    };
    kinds.clone().into_iter().map(family).collect()
}
