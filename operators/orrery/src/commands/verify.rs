//! `orrery verify`: reads every journal below a data folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use orrery_journal::{Disk as _, RealDisk, scrub};
use orrery_local::lock::{Lock, LockError};

use crate::{cli, output};

/// Deeper than any volume of ours keeps a journal.
const DEPTH_MAX: usize = 8;

pub(crate) fn run(arguments: &cli::Verify) -> anyhow::Result<ExitCode> {
    let folder = super::open(&arguments.data.data)?;
    let _lock = match Lock::take(&folder) {
        Ok(lock) => lock,
        Err(LockError::Held { pid, .. }) => {
            let pid = pid.map_or_else(String::new, |pid| format!(" by process {pid}"));
            bail!("the data is in use{pid}; stop it with `orrery down` first");
        }
        Err(error) => return Err(error.into()),
    };
    let mut journals = Vec::new();
    find(&folder.root().join("volumes"), 0, &mut journals)?;
    journals.sort();
    let mut damaged = 0;
    for journal in &journals {
        let shown = journal.strip_prefix(folder.root()).unwrap_or(journal);
        let disk = RealDisk::new(journal.clone())?;
        let damages =
            scrub(&disk).with_context(|| format!("failed to read {}", shown.display()))?;
        if damages.is_empty() {
            let files = disk.list().map_or(0, |files| files.len());
            output::print(&format!("{}: {files} files, no damage\n", shown.display()));
        }
        for damage in &damages {
            output::print(&format!(
                "{}/{}: position {}: {}\n",
                shown.display(),
                damage.file,
                damage.position,
                damage.reason
            ));
        }
        damaged += usize::from(!damages.is_empty());
    }
    match (journals.len(), damaged) {
        (0, _) => output::print("there is no journal yet\n"),
        (all, 0) => output::print(&format!("{all} of {all} journals are whole\n")),
        (all, bad) => bail!("{bad} of {all} journals are damaged; restore them from a backup"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Folders that hold the segments of a journal.
fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if depth > DEPTH_MAX || !folder.is_dir() {
        return Ok(());
    }
    let mut is_journal = false;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, depth + 1, found)?;
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            is_journal |= name.starts_with("segment-") || name.starts_with("snapshot-");
        }
    }
    if is_journal {
        found.push(folder.to_owned());
    }
    Ok(())
}
