//! `orrery crds`.

use std::process::ExitCode;

use crate::{cli, output, systems};

pub(crate) fn run(arguments: &cli::Crds) -> anyhow::Result<ExitCode> {
    let kinds = systems::kinds();
    let wanted = match &arguments.kind {
        None => kinds.all().collect(),
        Some(name) => vec![super::known(&kinds, name)?],
    };
    let mut text = String::new();
    for info in wanted {
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&info.definition)?);
    }
    output::print(&text);
    Ok(ExitCode::SUCCESS)
}
