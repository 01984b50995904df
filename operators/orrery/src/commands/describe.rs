//! `orrery describe`.

use std::process::ExitCode;

use jiff::Timestamp;
use orrery_local::control::Request;
use orrery_local::jsonpath;
use orrery_local::snapshot::Snapshot;
use orrery_local::table::{align, duration};
use serde_json::Value as Json;

use crate::{cli, output};

pub(crate) fn run(arguments: &cli::Describe) -> anyhow::Result<ExitCode> {
    let snapshot = super::ask(&arguments.data.data, Request::Get)?;
    let (kind, name) = (Some(arguments.kind.as_str()), arguments.name.as_deref());
    let found = super::select(&snapshot, kind, name, arguments.namespace.as_deref())?;
    let texts: Vec<String> =
        found.into_iter().map(|object| describe(object, &snapshot, Timestamp::now())).collect();
    output::print(&texts.join("\n"));
    Ok(ExitCode::SUCCESS)
}

fn describe(object: &Json, snapshot: &Snapshot, now: Timestamp) -> String {
    let at = |path: &str| {
        let found = jsonpath::find(object, path);
        found.first().map(|value| jsonpath::text(value)).unwrap_or_default()
    };
    let (kind, namespace, name) = (at(".kind"), at(".metadata.namespace"), at(".metadata.name"));
    let mut head = vec![
        vec!["Name:".to_owned(), name.clone()],
        vec!["Namespace:".to_owned(), namespace.clone()],
        vec!["Kind:".to_owned(), kind.clone()],
        vec!["Created:".to_owned(), at(".metadata.creationTimestamp")],
        vec!["Generation:".to_owned(), at(".metadata.generation")],
    ];
    if !at(".status.version").is_empty() {
        head.push(vec!["Version:".to_owned(), at(".status.version")]);
    }
    let mut text = align(&head);
    text.push_str("Spec:\n");
    text.push_str(&indented(&yaml(&object["spec"])));
    text.push_str("Conditions:\n");
    let mut rows = vec![row(["TYPE", "STATUS", "REASON", "MESSAGE"])];
    for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
        let field = |name: &str| jsonpath::text(&condition[name]);
        rows.push(vec![field("type"), field("status"), field("reason"), field("message")]);
    }
    text.push_str(&indented(&align(&rows)));
    text.push_str(&processes(snapshot, &kind, &namespace, &name));
    text.push_str(&events(snapshot, &format!("{kind} {namespace}/{name}"), now));
    text
}

fn processes(snapshot: &Snapshot, kind: &str, namespace: &str, name: &str) -> String {
    let own: Vec<_> = snapshot
        .processes
        .iter()
        .filter(|p| p.owner.kind == kind && p.owner.namespace == namespace && p.owner.name == name)
        .collect();
    if own.is_empty() {
        return String::new();
    }
    let mut rows = vec![row(["PROCESS", "PID", "RESTARTS", "PORTS", "STATE"])];
    for process in &own {
        let ports: Vec<String> =
            process.ports.iter().map(|(name, port)| format!("{name}={port}")).collect();
        rows.push(vec![
            process.name.clone(),
            process.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            process.restarts.to_string(),
            ports.join(" "),
            process.state.clone(),
        ]);
    }
    format!("Processes:\n{}", indented(&align(&rows)))
}

fn events(snapshot: &Snapshot, about: &str, now: Timestamp) -> String {
    let mine = |process: &str| {
        snapshot.processes.iter().any(|p| p.name == process && p.owner.to_string() == about)
    };
    let mut rows = vec![row(["AGE", "ABOUT", "EVENT"])];
    for event in snapshot.events.iter().filter(|e| e.about == about || mine(&e.about)) {
        let age = now.as_second() - event.at.timestamp().as_second();
        rows.push(vec![duration(age), event.about.clone(), event.text.clone()]);
    }
    if rows.len() == 1 { String::new() } else { format!("Events:\n{}", indented(&align(&rows))) }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn yaml(value: &Json) -> String {
    serde_yaml::to_string(value).unwrap_or_default()
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}\n")).collect();
    lines.concat()
}
