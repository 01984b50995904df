//! Lists of objects as kubectl would print them: the columns come from the kind's definition.

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::jsonpath;
use crate::kinds::KindInfo;

/// What a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Columns of lower priority too.
    pub wide: bool,
    /// A first column for the namespace.
    pub namespaces: bool,
    /// Names as `kind/name`, for lists of several kinds.
    pub kinds: bool,
}

/// The list of objects of one kind, header first; empty without objects.
pub fn render(info: &KindInfo, objects: &[&Json], shape: Shape, now: Timestamp) -> String {
    if objects.is_empty() {
        return String::new();
    }
    let columns: Vec<_> =
        info.columns.iter().filter(|column| shape.wide || column.priority == 0).collect();
    let mut rows = Vec::new();
    let mut header = Vec::new();
    if shape.namespaces {
        header.push("NAMESPACE".to_owned());
    }
    header.push("NAME".to_owned());
    header.extend(columns.iter().map(|column| column.name.to_uppercase()));
    rows.push(header);
    for object in objects {
        let metadata = |field: &str| jsonpath::text(&object["metadata"][field]);
        let mut row = Vec::new();
        if shape.namespaces {
            row.push(metadata("namespace"));
        }
        let name = metadata("name");
        row.push(if shape.kinds { format!("{}/{name}", info.singular) } else { name });
        for column in &columns {
            let found = jsonpath::find(object, &column.path);
            let cell = match found.as_slice() {
                [] | [Json::Null] => String::new(),
                [value] if column.kind == "date" => age(value, now),
                values => {
                    let texts: Vec<String> = values.iter().map(|v| jsonpath::text(v)).collect();
                    texts.join(",")
                }
            };
            row.push(cell);
        }
        rows.push(row);
    }
    align(&rows)
}

fn age(value: &Json, now: Timestamp) -> String {
    let then: Option<Timestamp> = value.as_str().and_then(|text| text.parse().ok());
    then.map_or_else(|| "<invalid>".to_owned(), |then| duration(now.as_second() - then.as_second()))
}

/// A duration as kubectl shortens it: the two greatest units, one when it is long.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |great: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{great}{unit}"),
        small => format!("{great}{unit}{small}{small_unit}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ => two(days / 365, "y", days % 365, "d"),
    }
}

/// Columns of equal width, three blanks apart, nothing at the ends of lines.
pub fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Column;
    use serde_json::json;

    fn info() -> KindInfo {
        let column = |name: &str, kind: &str, path: &str, priority| Column {
            name: name.into(),
            kind: kind.into(),
            path: path.into(),
            priority,
        };
        KindInfo {
            kind: "KVCluster".into(),
            plural: "kvclusters".into(),
            singular: "kvcluster".into(),
            short_names: vec!["kv".into()],
            api_version: "orrery.dev/v1alpha1".into(),
            schema: json!({}),
            columns: vec![
                column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", 0),
                column("Age", "date", ".metadata.creationTimestamp", 0),
                column("Memory", "string", ".spec.memory.limit", 1),
            ],
            definition: json!({}),
        }
    }

    #[test]
    fn a_list_looks_like_that_of_kubectl() {
        let first = json!({
            "metadata": {"name": "default", "namespace": "shop",
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"memory": {"limit": "4Gi"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let second = json!({"metadata": {"name": "a", "namespace": "other"}});
        let now: Timestamp = "2026-01-01T00:05:07Z".parse().unwrap();
        let narrow = render(&info(), &[&first, &second], Shape::default(), now);
        assert_eq!(narrow, "NAME      READY   AGE\ndefault   True    5m7s\na\n");
        let shape = Shape { wide: true, namespaces: true, kinds: true };
        let wide = render(&info(), &[&first], shape, now);
        let expected = "NAMESPACE   NAME                READY   AGE    MEMORY\n\
                        shop        kvcluster/default   True    5m7s   4Gi\n";
        assert_eq!(wide, expected);
        assert_eq!(render(&info(), &[], shape, now), "");
    }

    #[test]
    fn durations_are_shortened_as_kubectl_does() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (307, "5m7s"),
            (601, "10m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (864_000, "10d"),
            (63_072_000, "2y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_kind_answers_to_all_its_names() {
        for name in ["KVCluster", "kvclusters", "kvcluster", "KV"] {
            assert!(info().is_called(name), "{name}");
        }
        assert!(!info().is_called("kvnamespace"));
    }
}
