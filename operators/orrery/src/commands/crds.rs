//! `orrery crds`.

use std::process::ExitCode;

use crate::{cli, output, systems};

pub(crate) fn run(arguments: &cli::Crds) -> anyhow::Result<ExitCode> {
    let kinds = systems::kinds();
    let wanted: Vec<_> = match &arguments.kind {
        None => kinds.all().collect(),
        Some(name) => vec![super::known(&kinds, name)?],
    };
    let mut text = String::new();
    for definition in orrery_api::generate::crds() {
        if wanted.iter().any(|info| info.plural == definition.spec.names.plural) {
            text.push_str("---\n");
            text.push_str(&orrery_api::generate::crd_yaml(&definition));
        }
    }
    output::print(&text);
    Ok(ExitCode::SUCCESS)
}
