//! What is watched and how: the page of metrics, the alerts, the dashboards. Each is made here and
//! committed; the chart renders the last two.
//!
//! Must not: name a metric that the programs do not serve; `e2e/tests` compares with live output.

mod alerts;
mod dashboards;
mod metrics;
mod panel;

/// Relative path and content of every file.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut files = vec![
        ("docs/metrics.md".to_owned(), metrics::page()),
        ("charts/orrery/files/alerts.yaml".to_owned(), alerts::rules()),
        ("docs/runbooks/README.md".to_owned(), alerts::index()),
    ];
    files.extend(dashboards::files());
    files
}
