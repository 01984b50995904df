//! `orrery verify`: reads every journal below a data folder, also while `orrery up` runs on it, and
//! salvages damaged ones if asked to. Must not: change the data, or be in the way of who runs on it.

mod scheduler;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orrery_journal::{
    Damage, Disk, JournalError, RealDisk, Salvage, SalvageError, salvage, scrub_running,
};
use orrery_local::lock::{Lock, LockError};

use crate::cli;
use crate::output::{self, Progress};

/// Deeper than any volume of ours keeps a journal.
const DEPTH_MAX: usize = 8;
/// Between two looks at what may be damage or the doing of a process: it finishes a folder or an epoch
/// in less, on a disk that syncs in tens of milliseconds.
const PAUSE: Duration = Duration::from_millis(500);
/// The name of a folder that is filled with a copy of a journal ends so; it is not one yet.
const COPY_SUFFIX: &str = ".copy";
/// What takes longer says how far it is.
const LONG: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &cli::verify::Verify) -> anyhow::Result<ExitCode> {
    if let Some(cli::verify::Of::Scheduler(proof)) = &arguments.of {
        return scheduler::run(proof);
    }
    let folder = super::open(&arguments.data.data)?;
    let _lock = match Lock::take(&folder) {
        Ok(lock) => Some(lock),
        Err(LockError::Held { pid, .. }) => {
            let pid = pid.map_or_else(String::new, |pid| format!(" by process {pid}"));
            if arguments.salvage.is_some() {
                bail!("the data is in use{pid}; stop it with `orrery down` first");
            }
            output::print(&format!("the data is in use{pid}: it is read beside it\n"));
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(target) = arguments.salvage.as_ref().filter(|target| target.exists()) {
        bail!("{} exists; name a folder that does not", target.display());
    }
    let mut journals = Vec::new();
    find(&folder.root().join("volumes"), 0, &mut journals)?;
    journals.sort();
    let (mut damaged, mut salvaged) = (0, 0);
    for journal in &journals {
        let shown = journal.strip_prefix(folder.root()).unwrap_or(journal);
        let disk = RealDisk::read_only(journal.clone());
        let damages =
            scrub(&disk, shown).with_context(|| format!("failed to read {}", shown.display()))?;
        if damages.is_empty() {
            let files = disk.list().map_or(0, |files| files.len());
            output::print(&format!("{}: {files} files, no damage\n", shown.display()));
            continue;
        }
        for damage in &damages {
            output::print(&format!("{}/{}\n", shown.display(), line(damage)));
        }
        damaged += 1;
        if let Some(target) = &arguments.salvage {
            salvaged += usize::from(rescue(&disk, shown, &target.join(shown))?);
        }
    }
    match (journals.len(), damaged) {
        (0, _) => output::print("there is no journal yet\n"),
        (all, 0) => output::print(&format!("{all} of {all} journals are whole\n")),
        (all, bad) if bad == salvaged => {
            output::print(&format!(
                "{bad} of {all} journals are damaged and were salvaged\n{NEXT}"
            ));
        }
        (all, bad) => bail!("{bad} of {all} journals are damaged; restore them from a backup"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads one journal. One that was replaced by a copy meanwhile is read as far as it is there.
fn scrub(disk: &RealDisk, shown: &Path) -> Result<Vec<Damage>, JournalError> {
    let mut pause = || std::thread::sleep(PAUSE);
    let doing = format!("reads {}", shown.display());
    let found = watched(&doing, |told| scrub_running(disk, told, &mut pause));
    if found.is_err() && !disk.folder().exists() {
        return Ok(Vec::new());
    }
    found
}

/// What to do with what was salvaged.
const NEXT: &str = "\
A backup may hold more. To go on with what was salvaged, move the damaged folder away and put the new
one in its place.
";

fn line(damage: &Damage) -> String {
    format!("{}: position {}: {}", damage.file, damage.position, damage.reason)
}

/// Salvages one journal. False if there is nothing left of it.
fn rescue(disk: &RealDisk, shown: &Path, target: &Path) -> anyhow::Result<bool> {
    let to: Arc<dyn Disk> = Arc::new(RealDisk::new(target)?);
    let doing = format!("salvages {}", shown.display());
    match watched(&doing, |told| salvage(disk, &to, told)) {
        Ok(found) => {
            output::print(&told(&found, target));
            Ok(true)
        }
        Err(SalvageError::NothingLeft { reason }) => {
            output::print(&format!("  nothing can be salvaged: {reason}\n"));
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("failed to salvage {}", shown.display())),
    }
}

/// What was salvaged, what was not, and why.
fn told(found: &Salvage, target: &Path) -> String {
    let snapshot = match found.snapshot.0 {
        0 => String::new(),
        at => format!("the snapshot at {at}, "),
    };
    let records = match found.records() {
        0 => "no records".to_owned(),
        _ => format!("records {} to {}", found.snapshot.0 + 1, found.last),
    };
    let place = target.display();
    let mut lines =
        vec![format!("salvaged into {place}: {snapshot}{records}, epoch {}", found.epoch)];
    lines.extend(found.passed_over.iter().map(|damage| format!("done without {}", line(damage))));
    lines.extend(found.ends.iter().map(|end| format!("ends at {}", line(end))));
    if found.left_out > 0 {
        lines.push(format!("left out: {} intact records behind the end", found.left_out));
    }
    lines.push(match found.lost_at_least() {
        0 => "no record is known to be lost".to_owned(),
        lost => format!("lost: at least {lost} records, up to {}", found.proven),
    });
    format!("  {}\n", lines.join("\n  "))
}

/// Says how far `work` is once it has run long.
fn watched<T>(doing: &str, work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> T) -> T {
    let (begun, mut progress) = (Instant::now(), Progress::new());
    let done = work(&mut |done, of| {
        if begun.elapsed() > LONG {
            progress.show(done * 100 / of.max(1), doing);
        }
    });
    progress.end();
    done
}

/// Folders that hold the segments of a journal.
fn find(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let is_copy = folder.as_os_str().as_encoded_bytes().ends_with(COPY_SUFFIX.as_bytes());
    if depth > DEPTH_MAX || is_copy {
        return Ok(());
    }
    let entries = match std::fs::read_dir(folder) {
        // There is none yet, or it was removed since its parent was listed.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut is_journal = false;
    for entry in entries {
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
