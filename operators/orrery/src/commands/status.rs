//! `orrery status`: an object of a cluster as a tree, down to its pods.

mod tree;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use super::family::{engines, family};
use crate::cluster::Cluster;
use crate::{cli, output};

pub(crate) fn run(on: &cli::Status) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(&on.cluster)?;
    let objects = engines(&cluster, &on.target)?;
    if objects.is_empty() {
        output::print(&format!(
            "there is none in namespace {}; another: -n NAME\n",
            cluster.namespace
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut is_well = true;
    let mut texts = Vec::new();
    for object in &objects {
        let family = family(&cluster, object)?;
        is_well &= tree::is_well(object);
        texts.push(tree::render(object, &family, coloured));
    }
    output::print(&texts.join("\n"));
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
