//! The tree that `orrery status` prints. Pure: from objects to text.

use std::fmt::Write as _;

use orrery_local::table::align;
use serde_json::Value as Json;

use crate::commands::family::Family;

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Good,
    Bad,
    Plain,
}

/// Whether the object is ready.
pub(super) fn is_well(object: &Json) -> bool {
    condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// The object on top, then children with the pods below their StatefulSet, then declared objects.
pub(super) fn render(object: &Json, family: &Family, coloured: bool) -> String {
    let mut lines = Vec::new();
    let children = family.children.iter().map(|(word, child)| (*word, child));
    let mut below: Vec<(&str, &Json)> = children.collect();
    below.extend(family.declared.iter().map(|one| (text(&one["kind"]), one)));
    let last = below.len().saturating_sub(1);
    for (n, (word, child)) in below.iter().enumerate() {
        let (branch, rest) = if n == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let name = text(&child["metadata"]["name"]);
        let (mood, said) = state(word, child);
        lines.push((format!("{branch}{word} {name}"), mood, said));
        if *word == "StatefulSet" {
            for (n, pod) in family.pods.iter().enumerate() {
                let branch = if n + 1 == family.pods.len() { "└─ " } else { "├─ " };
                let (mood, mut said) = pod_state(pod);
                let name = text(&pod["metadata"]["name"]);
                said.push_str(&role(object, name));
                lines.push((format!("{rest}{branch}Pod {name}"), mood, said));
            }
        }
    }
    let rows: Vec<Vec<String>> =
        lines.iter().map(|(head, _, said)| vec![head.clone(), said.clone()]).collect();
    let mut out = head(object, coloured);
    for (line, (_, mood, said)) in align(&rows).lines().zip(&lines) {
        let painted = match line.rfind(said.as_str()) {
            Some(at) if !said.is_empty() => {
                format!("{}{}", &line[..at], paint(*mood, &line[at..], coloured))
            }
            _ => line.to_owned(),
        };
        let _ = writeln!(out, "{painted}");
    }
    out
}

/// What a pod is to its object: primary, or of which of several shards.
fn role(object: &Json, pod: &str) -> String {
    let status = &object["status"];
    let shards: Vec<&Json> = status["shards"].as_array().into_iter().flatten().collect();
    if shards.len() > 1 {
        let own = shards.iter().filter(|shard| shard["owner"] == pod);
        let own: Vec<String> = own.map(|shard| shard["id"].to_string()).collect();
        return match own.len() {
            0 => ", primary of no shard".to_owned(),
            1 => format!(", primary of shard {}", own[0]),
            _ => format!(", primary of shards {}", own.join(", ")),
        };
    }
    if status["primary"] == pod { ", primary".to_owned() } else { String::new() }
}

fn head(object: &Json, coloured: bool) -> String {
    let metadata = &object["metadata"];
    let (mood, said) = ready(object);
    let mut out = format!(
        "{} {}/{}   {}\n",
        text(&object["kind"]),
        text(&metadata["namespace"]),
        text(&metadata["name"]),
        paint(mood, &said, coloured)
    );
    for type_ in ["Stalled", "Degraded"] {
        if let Some(found) = condition(object, type_).filter(|found| found["status"] == "True") {
            let said = format!("{type_}: {}", text(&found["message"]));
            let _ = writeln!(out, "│  {}", paint(Mood::Bad, &said, coloured));
        }
    }
    out
}

fn ready(object: &Json) -> (Mood, String) {
    let Some(ready) = condition(object, "Ready") else {
        return (Mood::Bad, "the operator has not looked at it yet".to_owned());
    };
    let mood = if ready["status"] == "True" { Mood::Good } else { Mood::Bad };
    let mut said = text(&ready["reason"]).to_owned();
    if !text(&ready["message"]).is_empty() {
        let _ = write!(said, ": {}", text(&ready["message"]));
    }
    (mood, said)
}

fn state(word: &str, child: &Json) -> (Mood, String) {
    match word {
        "StatefulSet" => {
            let wanted = child["spec"]["replicas"].as_i64().unwrap_or(0);
            let ready = child["status"]["readyReplicas"].as_i64().unwrap_or(0);
            let mood = if ready == wanted { Mood::Good } else { Mood::Bad };
            (mood, format!("{ready} of {wanted} pods ready"))
        }
        "Service" => {
            let ports = child["spec"]["ports"].as_array().into_iter().flatten();
            let ports: Vec<String> = ports.map(|port| port["port"].to_string()).collect();
            (Mood::Plain, format!("port {}", ports.join(", ")))
        }
        "PersistentVolumeClaim" => {
            let phase = text(&child["status"]["phase"]);
            let size = text(&child["status"]["capacity"]["storage"]);
            let mood = if phase == "Bound" { Mood::Good } else { Mood::Bad };
            (mood, format!("{phase} {size}").trim_end().to_owned())
        }
        "ConfigMap" | "Secret" | "PodDisruptionBudget" | "NetworkPolicy" => {
            (Mood::Plain, String::new())
        }
        _ => ready(child),
    }
}

/// What a pod does, and if it does not, why.
fn pod_state(pod: &Json) -> (Mood, String) {
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return (Mood::Bad, "ends".to_owned());
    }
    let container = &pod["status"]["containerStatuses"][0];
    let restarts = container["restartCount"].as_i64().unwrap_or(0);
    let is_ready = condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True");
    let waiting = &container["state"]["waiting"];
    let unscheduled = condition(pod, "PodScheduled").filter(|c| c["status"] == "False");
    let mut said = if is_ready {
        "ready".to_owned()
    } else if waiting["reason"].is_string() {
        format!("{}: {}", text(&waiting["reason"]), text(&waiting["message"]))
    } else if let Some(found) = unscheduled {
        format!("{}: {}", text(&found["reason"]), text(&found["message"]))
    } else {
        format!("{}, not ready", text(&pod["status"]["phase"]))
    };
    if restarts > 0 {
        let reason = text(&container["lastState"]["terminated"]["reason"]);
        let _ = write!(said, ", {restarts} restarts");
        if !reason.is_empty() {
            let _ = write!(said, " (last: {reason})");
        }
    }
    (if is_ready { Mood::Good } else { Mood::Bad }, said)
}

fn condition<'a>(object: &'a Json, type_: &str) -> Option<&'a Json> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == type_)
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn paint(mood: Mood, said: &str, coloured: bool) -> String {
    match mood {
        Mood::Good if coloured => format!("\x1b[32m{said}\x1b[0m"),
        Mood::Bad if coloured => format!("\x1b[31m{said}\x1b[0m"),
        _ => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn family() -> (Json, Family) {
        let object = json!({
            "kind": "KVCluster", "metadata": { "namespace": "shop", "name": "default" },
            "status": { "primary": "default-kv-0", "conditions": [
                { "type": "Ready", "status": "False", "reason": "PodFailing", "message": "1 of 2" },
                { "type": "Degraded", "status": "True", "reason": "x", "message": "1 follower lags" },
            ] },
        });
        let named = |name: &str, rest: Json| {
            let mut child = rest;
            child["metadata"]["name"] = json!(name);
            child
        };
        let pods = vec![
            named(
                "default-kv-0",
                json!({ "status": {
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "True" }],
                "containerStatuses": [{ "restartCount": 2,
                    "lastState": { "terminated": { "reason": "OOMKilled" } } }],
            } }),
            ),
            named(
                "default-kv-1",
                json!({ "status": {
                "phase": "Pending",
                "containerStatuses": [{ "restartCount": 0, "state": { "waiting": {
                    "reason": "ImagePullBackOff", "message": "no such image" } } }],
            } }),
            ),
        ];
        let children = vec![
            (
                "StatefulSet",
                named(
                    "default-kv",
                    json!({
                "spec": { "replicas": 2 }, "status": { "readyReplicas": 1 } }),
                ),
            ),
            ("Service", named("default-kv-rw", json!({ "spec": { "ports": [{ "port": 6379 }] } }))),
            ("Secret", named("default-kv", json!({}))),
        ];
        let declared = vec![named("cache", json!({ "kind": "KVNamespace" }))];
        (object, Family { children, pods, declared })
    }

    #[test]
    fn the_tree_shows_pods_with_reasons_below_their_set() {
        let (object, family) = family();
        let expected = "\
KVCluster shop/default   PodFailing: 1 of 2
│  Degraded: 1 follower lags
├─ StatefulSet default-kv   1 of 2 pods ready
│  ├─ Pod default-kv-0      ready, 2 restarts (last: OOMKilled), primary
│  └─ Pod default-kv-1      ImagePullBackOff: no such image
├─ Service default-kv-rw    port 6379
├─ Secret default-kv
└─ KVNamespace cache        the operator has not looked at it yet
";
        assert_eq!(render(&object, &family, false), expected);
        assert!(!is_well(&object));
    }

    #[test]
    fn a_pod_names_the_shards_it_is_primary_of() {
        let shard = |id: i64, owner: &str| json!({ "id": id, "owner": owner });
        let shards = [shard(0, "a-kv-0"), shard(1, "a-kv-1"), shard(2, "a-kv-0")];
        let object = json!({ "status": { "shards": shards } });
        assert_eq!(role(&object, "a-kv-0"), ", primary of shards 0, 2");
        assert_eq!(role(&object, "a-kv-1"), ", primary of shard 1");
        assert_eq!(role(&object, "a-kv-2"), ", primary of no shard");
        let alone = json!({ "status": { "primary": "a-kv-0", "shards": [shard(0, "a-kv-0")] } });
        assert_eq!(role(&alone, "a-kv-0"), ", primary");
        assert_eq!(role(&alone, "a-kv-1"), "");
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let (object, family) = family();
        let coloured = render(&object, &family, true);
        assert!(coloured.contains("\x1b[31m1 of 2 pods ready\x1b[0m"), "{coloured}");
        let plain = coloured.replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[0m", "");
        assert_eq!(plain, render(&object, &family, false));
    }
}
