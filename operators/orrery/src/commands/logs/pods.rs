//! Logs of the pods of an object of a cluster.

use std::process::ExitCode;
use std::thread;

use anyhow::bail;

use super::show;
use crate::cluster::Cluster;
use crate::commands::Target;
use crate::commands::family::pods;
use crate::{cli, output};

pub(super) fn run(arguments: &cli::Logs) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(&arguments.choice)?;
    let namespace = cluster.namespace.clone();
    let names = names(&cluster, &arguments.target)?;
    let several = names.len() > 1;
    let prefix = |name: &str| if several { format!("{name}: ") } else { String::new() };
    let path = |name: &str| {
        let (lines, follow) = (arguments.lines, arguments.follow);
        format!("/api/v1/namespaces/{namespace}/pods/{name}/log?tailLines={lines}&follow={follow}")
    };
    if !arguments.follow {
        for name in &names {
            show(&cluster.get_text(&path(name))?, &prefix(name));
        }
        return Ok(ExitCode::SUCCESS);
    }
    // A connection has one runtime, so each pod that is followed has a connection of its own.
    thread::scope(|scope| {
        let follow = |name: &str| {
            let shown = prefix(name);
            let print = |line: &str| output::print(&format!("{shown}{line}\n"));
            Cluster::connect(&arguments.choice)?.follow_text(&path(name), print)
        };
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || follow(name))).collect();
        for thread in threads {
            let Ok(ended) = thread.join() else { bail!("failed to follow a pod") };
            ended?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Names of the pods of an object; a pod may be named itself.
fn names(cluster: &Cluster, target: &[String]) -> anyhow::Result<Vec<String>> {
    // A pod may be named itself.
    if let [name] = target {
        let itself = format!("/api/v1/namespaces/{}/pods/{name}", cluster.namespace);
        if !name.contains('/') && cluster.has(&itself)? {
            return Ok(vec![name.clone()]);
        }
    }
    let found = Target::of(target, cluster)?;
    let pods = pods(cluster, &cluster.namespace, found.system, &found.name)?;
    let named = |pod: &serde_json::Value| pod["metadata"]["name"].as_str().map(str::to_owned);
    let names: Vec<String> = pods.iter().filter_map(named).collect();
    if !names.is_empty() {
        return Ok(names);
    }
    bail!(
        "{} {} has no pods in namespace {}; see: orrery status {} -n {}",
        found.singular,
        found.name,
        cluster.namespace,
        found.name,
        cluster.namespace
    )
}
