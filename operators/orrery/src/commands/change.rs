//! `orrery restart`, `hibernate`, `pause`, `fence`, `unfence`, `resume`, `promote`: one field of a spec
//! each.

use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::cluster::Cluster;
use crate::{cli, output};

/// What is asked for.
pub(crate) enum Change<'a> {
    Restart,
    Hibernate,
    Pause,
    Fence,
    Unfence,
    Resume,
    Promote(&'a str),
}

pub(crate) fn run(on: &cli::OnObject, change: &Change<'_>) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(&on.cluster)?;
    let target = super::Target::of(&on.target, &cluster)?;
    let object = cluster.get(&target.path)?;
    let (spec, said) = plan(change, &object, Timestamp::now())?;
    cluster.merge(&target.path, &json!({ "spec": spec }))?;
    output::print(&format!(
        "{}/{} {said}\nsee how it goes: orrery status {} -n {}\n",
        target.singular, target.name, target.name, cluster.namespace
    ));
    Ok(ExitCode::SUCCESS)
}

/// The fields of the spec that carry a change, and what is said about it.
fn plan(change: &Change<'_>, object: &Json, now: Timestamp) -> anyhow::Result<(Json, String)> {
    let operation = object["spec"]["operation"].as_str().unwrap_or("Run");
    let set = |operation: &str, said: &str| (json!({ "operation": operation }), said.to_owned());
    Ok(match change {
        Change::Restart if operation != "Run" => {
            bail!("its operation is {operation}: nothing restarts until `orrery resume`")
        }
        Change::Restart => {
            let value = Timestamp::from_second(now.as_second())?.to_string();
            (json!({ "restart": value }), "restarts its pods, one after the other".to_owned())
        }
        Change::Hibernate => set("Hibernate", "stops its pods; volumes and addresses are kept"),
        Change::Pause => set("Pause", "is left alone from now on; its pods go on"),
        Change::Fence => set(
            "Fence",
            "refuses writes as soon as its pods have read it, within about a minute; reads go on",
        ),
        Change::Unfence if operation != "Fence" => {
            bail!("it is not fenced: its operation is {operation}")
        }
        Change::Unfence => {
            set("Run", "takes writes again as soon as its pods have read it, within about a minute")
        }
        Change::Resume => set("Run", "is carried out again"),
        Change::Promote(pod) => {
            let followers = object["status"]["followers"].as_array();
            let names: Vec<&str> =
                followers.into_iter().flatten().filter_map(|f| f["name"].as_str()).collect();
            if object["status"]["shardCount"].as_i64().is_some_and(|shards| shards > 1) {
                bail!(
                    "it has several shards, whose primaries are spread over its pods by the operator"
                )
            }
            if object["status"]["primary"] == **pod {
                bail!("{pod} is the primary already")
            }
            if names.is_empty() {
                bail!("it has no followers; `spec.followers` gives it some")
            }
            if !names.contains(pod) {
                bail!("{pod} does not follow; those that do: {}", names.join(", "))
            }
            (json!({ "failover": { "primary": pod } }), format!("moves its primary to {pod}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: &Change<'_>, object: &Json) -> String {
        plan(change, object, Timestamp::UNIX_EPOCH).expect_err("it is refused").to_string()
    }

    #[test]
    fn each_change_is_one_field() {
        let object = json!({
            "spec": {},
            "status": { "primary": "a-kv-0", "followers": [{ "name": "a-kv-1" }] },
        });
        for (change, expected) in [
            (Change::Restart, json!({ "restart": "1970-01-01T00:00:00Z" })),
            (Change::Hibernate, json!({ "operation": "Hibernate" })),
            (Change::Pause, json!({ "operation": "Pause" })),
            (Change::Fence, json!({ "operation": "Fence" })),
            (Change::Resume, json!({ "operation": "Run" })),
            (Change::Promote("a-kv-1"), json!({ "failover": { "primary": "a-kv-1" } })),
        ] {
            let (spec, _) = plan(&change, &object, Timestamp::UNIX_EPOCH).expect("it may be");
            assert_eq!(spec, expected);
        }
    }

    #[test]
    fn what_would_have_no_effect_is_refused_with_what_to_do() {
        let alone = json!({ "spec": { "operation": "Hibernate" } });
        assert!(refusal(&Change::Restart, &alone).contains("orrery resume"));
        assert!(refusal(&Change::Promote("a-kv-1"), &alone).contains("spec.followers"));
        assert!(refusal(&Change::Unfence, &alone).contains("not fenced"));
        let fenced = json!({ "spec": { "operation": "Fence" } });
        let (spec, _) = plan(&Change::Unfence, &fenced, Timestamp::UNIX_EPOCH).expect("it may be");
        assert_eq!(spec, json!({ "operation": "Run" }));
        let group = json!({ "status": { "primary": "p", "followers": [{ "name": "f" }] } });
        assert!(refusal(&Change::Promote("p"), &group).contains("already"));
        assert!(refusal(&Change::Promote("x"), &group).contains("those that do: f"));
    }
}
