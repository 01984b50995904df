//! The pieces of a Grafana dashboard, as the JSON its provisioning reads.
//!
//! Must not: know a metric.

use serde_json::{Value, json};

/// Newest dashboard schema that Grafana 10 and later read without migration.
const SCHEMA_VERSION: u32 = 39;
/// A dashboard is this wide.
const WIDTH: u32 = 24;
const HEIGHT: u32 = 8;

/// One panel: title, unit as Grafana names it, and queries with their legends.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) what: &'static str,
    pub(super) queries: &'static [(&'static str, &'static str)],
}

/// A dashboard of time series, three in a row; `variables` are label names users pick values of,
/// each with the query that lists them.
pub(super) fn dashboard(
    uid: &str,
    title: &str,
    variables: &[(&str, &str)],
    panels: &[Panel],
) -> Value {
    let panels: Vec<Value> = (0_u32..).zip(panels).map(|(n, panel)| series(n, panel)).collect();
    let mut list = vec![json!({
        "name": "datasource", "type": "datasource", "label": "Data source", "query": "prometheus",
    })];
    list.extend(variables.iter().map(|(name, query)| {
        json!({
            "name": name, "type": "query", "label": name, "datasource": datasource(),
            "query": query, "refresh": 2, "sort": 1, "multi": true, "includeAll": true,
            "allValue": ".*",
            "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        })
    }));
    json!({
        "uid": uid,
        "title": title,
        "tags": ["orrery"],
        "annotations": { "list": [] },
        "schemaVersion": SCHEMA_VERSION,
        "editable": false,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": { "from": "now-1h", "to": "now" },
        "timezone": "browser",
        "templating": { "list": list },
        "panels": panels,
    })
}

fn series(number: u32, panel: &Panel) -> Value {
    let (width, row) = (WIDTH / 3, number / 3);
    let queries = ('A'..='Z').zip(panel.queries);
    let targets: Vec<Value> = queries
        .map(|(id, (expr, legend))| {
            json!({
                "refId": id.to_string(), "datasource": datasource(), "expr": expr,
                "legendFormat": legend, "range": true,
            })
        })
        .collect();
    json!({
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.what,
        "datasource": datasource(),
        "gridPos": { "h": HEIGHT, "w": width, "x": (number % 3) * width, "y": row * HEIGHT },
        "fieldConfig": {
            "defaults": { "unit": panel.unit, "min": 0.0, "custom": { "fillOpacity": 10 } },
            "overrides": [],
        },
        "options": {
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
        "targets": targets,
    })
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}
