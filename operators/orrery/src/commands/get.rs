//! `orrery get`.

use std::process::ExitCode;

use orrery_local::control::Request;
use orrery_local::kinds::KindInfo;
use serde_json::{Value as Json, json};

use crate::cli::{self, Format};
use crate::{output, systems};

pub(crate) fn run(arguments: &cli::Get) -> anyhow::Result<ExitCode> {
    let snapshot = super::ask(&arguments.data.data, Request::Get)?;
    let (kind, name) = (arguments.kind.as_deref(), arguments.name.as_deref());
    let found = super::select(&snapshot, kind, name, arguments.namespace.as_deref())?;
    let objects: Vec<Json> = found.into_iter().cloned().collect();
    let whole = || match (name, objects.as_slice()) {
        (Some(_), [one]) => one.clone(),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    };
    match arguments.output {
        Some(Format::Json) => {
            output::print(&format!("{}\n", serde_json::to_string_pretty(&whole())?));
        }
        Some(Format::Yaml) => output::print(&serde_yaml::to_string(&whole())?),
        None | Some(Format::Wide) => {
            let kinds = systems::kinds();
            let infos: Vec<&KindInfo> = kinds.all().collect();
            let wide = arguments.output == Some(Format::Wide);
            let lists = output::lists(&objects, &infos, wide);
            output::print(if lists.is_empty() { "there is none\n" } else { &lists });
        }
    }
    output::problems(&snapshot.problems);
    if !snapshot.problems.is_empty() {
        eprintln!("the files are wrong as they are now; what was accepted before is shown");
    }
    Ok(ExitCode::SUCCESS)
}
