//! `orrery check`.

use std::process::ExitCode;

use orrery_local::check::{Checked, check};
use orrery_local::folder::Folder;

use crate::{cli, output, systems};

pub(crate) fn run(arguments: cli::Check) -> anyhow::Result<ExitCode> {
    let data = &arguments.data.data;
    // Without a data folder everything is new.
    let folder = if data.is_dir() { Some(Folder::at(data)?) } else { None };
    match check(arguments.paths, folder.as_ref(), &systems::kinds(), &systems::release())? {
        Checked::Wrong(problems) => {
            output::problems(&problems);
            Ok(ExitCode::FAILURE)
        }
        Checked::Right { objects, changes, elsewhere } => {
            let what = if objects == 1 { "1 resource is right" } else { "resources are right" };
            let what = if objects == 1 { what.to_owned() } else { format!("{objects} {what}") };
            if changes.is_empty() {
                output::print(&format!("{what}; nothing would change\n"));
            } else {
                let changes: String = changes.iter().map(output::change).collect();
                output::print(&format!("{what}; this would change:\n{changes}"));
            }
            for (key, why) in elsewhere {
                output::print(&output::elsewhere(&key.to_string(), why));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
