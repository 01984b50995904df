//! `orrery backup`: makes a Backup, and shows how far it is.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::cluster::Cluster;
use crate::output::{self, Progress};
use crate::{cli, systems};

const KIND: &str = "Backup";
/// The system whose engines have archives.
const SYSTEM: &str = "kv";
const POLL: Duration = Duration::from_millis(500);
/// Answers that may be missed while waiting: a server restarts.
const MISSED_MAX: u32 = 60;

pub(crate) fn run(arguments: &cli::backup::Backup) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(&arguments.on.cluster)?;
    let target = super::Target::of_system(&arguments.on.target, &cluster, SYSTEM)?;
    let object = cluster.get(&target.path)?;
    let name = arguments.name.clone().unwrap_or_else(|| name_of(&target.name, Timestamp::now()));
    let backup = plan(&object, &target.name, &name, arguments.deadline)?;
    let kinds = systems::kinds();
    let info = kinds.find(KIND).context("this release has no Backup")?;
    let folder =
        format!("/apis/{}/namespaces/{}/{}", info.api_version, cluster.namespace, info.plural);
    cluster.create(&folder, &backup)?;
    let next = format!("kubectl get backup {name} -n {}", cluster.namespace);
    if !arguments.wait {
        output::print(&format!("backup/{name} is made\nsee how it goes: {next}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = Progress::new();
    let mut missed = 0;
    loop {
        match cluster.get(&format!("{folder}/{name}")) {
            Ok(found) => {
                missed = 0;
                match look(&found) {
                    State::Going { percent, text } => progress.show(percent, &text),
                    State::Over { succeeded, text } => {
                        progress.end();
                        output::print(&format!("backup/{name} {text}\n"));
                        return Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE });
                    }
                }
            }
            Err(error) if missed == MISSED_MAX => return Err(error),
            Err(_) => missed += 1,
        }
        std::thread::sleep(POLL);
    }
}

/// The object's name and the time, cut so that it is a name.
fn name_of(object: &str, now: Timestamp) -> String {
    let head: String = object.chars().take(200).collect();
    format!("{head}-{}", now.strftime("%Y%m%d-%H%M%S"))
}

/// The Backup to make.
fn plan(object: &Json, cluster: &str, name: &str, deadline: Duration) -> anyhow::Result<Json> {
    if object["spec"]["archive"].is_null() {
        bail!("it has no archive; `spec.archive` gives it one")
    }
    Ok(json!({
        "apiVersion": "orrery.dev/v1alpha1",
        "kind": KIND,
        "metadata": { "name": name },
        "spec": { "cluster": { "name": cluster }, "deadlineSeconds": deadline.as_secs() },
    }))
}

#[derive(Debug, PartialEq)]
enum State {
    Going { percent: u64, text: String },
    Over { succeeded: bool, text: String },
}

/// What a Backup says of itself.
fn look(backup: &Json) -> State {
    let status = &backup["status"];
    let condition = |kind: &str| {
        let all = status["conditions"].as_array().into_iter().flatten();
        all.clone().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
    };
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let succeeded = condition("Succeeded");
    match succeeded["status"].as_str() {
        Some("True") => {
            let (position, place) = (&status["position"], text(&status["location"]));
            State::Over { succeeded: true, text: format!("is at {place}, position {position}") }
        }
        Some("False") => {
            let (reason, message) = (text(&succeeded["reason"]), text(&succeeded["message"]));
            State::Over { succeeded: false, text: format!("failed: {reason}: {message}") }
        }
        _ => {
            let step = match text(&status["step"]) {
                step if step.is_empty() => text(&condition("Ready")["message"]),
                step => step,
            };
            State::Going { percent: status["percent"].as_u64().unwrap_or(0), text: step }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_names_its_cluster_which_must_have_an_archive() {
        let minute = Duration::from_mins(1);
        let refused = plan(&json!({"spec": {}}), "a", "b", minute).expect_err("it is refused");
        assert!(refused.to_string().contains("spec.archive"));
        let object = json!({"spec": {"archive": {}}});
        let made = plan(&object, "a", "b", minute).expect("it may be");
        assert_eq!(made["spec"], json!({"cluster": {"name": "a"}, "deadlineSeconds": 60}));
        assert_eq!(name_of("orders", Timestamp::UNIX_EPOCH), "orders-19700101-000000");
        assert!(name_of(&"x".repeat(300), Timestamp::UNIX_EPOCH).len() <= 253);
    }

    #[test]
    fn what_a_backup_says_is_told_in_a_line() {
        let going = |status: Json| look(&json!({ "status": status }));
        assert_eq!(going(Json::Null), State::Going { percent: 0, text: String::new() });
        let waits = json!({"conditions": [{"type": "Ready", "message": "waits for a"}]});
        assert_eq!(going(waits), State::Going { percent: 0, text: "waits for a".into() });
        assert_eq!(
            going(json!({"percent": 40, "step": "archiving"})),
            State::Going { percent: 40, text: "archiving".into() }
        );
        let done = json!({"position": 7, "location": "file:///b",
            "conditions": [{"type": "Succeeded", "status": "True"}]});
        assert_eq!(
            going(done),
            State::Over { succeeded: true, text: "is at file:///b, position 7".into() }
        );
        let failed = json!({"conditions": [
            {"type": "Succeeded", "status": "False", "reason": "DeadlineExceeded", "message": "late"}
        ]});
        assert_eq!(
            going(failed),
            State::Over { succeeded: false, text: "failed: DeadlineExceeded: late".into() }
        );
    }
}
