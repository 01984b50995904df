//! `orrery check`.

use std::process::ExitCode;

use orrery_local::check::{Checked, check};
use orrery_local::folder::Folder;
use orrery_local::objects::Change;

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
        Checked::Right { objects, changes, outlooks, elsewhere } => {
            let what = if objects == 1 { "1 resource is right" } else { "resources are right" };
            let what = if objects == 1 { what.to_owned() } else { format!("{objects} {what}") };
            if changes.is_empty() {
                output::print(&format!("{what}; nothing would change\n"));
            } else {
                let said = |change: &Change| {
                    let of = outlooks.iter().find(|(key, _)| key == change.key());
                    output::change(change) + &output::outlook(of.map_or(&[], |(_, words)| words))
                };
                let changes: String = changes.iter().map(said).collect();
                output::print(&format!("{what}; this would change:\n{changes}"));
            }
            for (key, why) in elsewhere {
                output::print(&output::elsewhere(&key.to_string(), why));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
