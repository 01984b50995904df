//! Fills an empty data folder from an archive, once.
//!
//! | in the data folder | meaning |
//! |---|---|
//! | `<name>.recovering` | in the making; worth nothing |
//! | `<name>.recovered` | whole; only its name is still to change |
//! | `recovered` | it was done, with the last position and where from: never again, whatever the configuration says |
//!
//! The change is a row of renames that goes on after any interruption. Nothing that is there is ever
//! replaced. An archive that cannot be reached is tried again for ever; one that does not lead to
//! what was asked for is a refusal, which is shown for a while before the process ends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use orrery_blob::Address;
use orrery_kit::health::Health;
use tokio::runtime::Runtime;

use super::fill::FillError;

/// In the recovered folder until it has its name: its last position.
const POSITION: &str = "recovered-position";
const DONE: &str = "recovered";
/// Wait for an archive that cannot be reached, doubled up to the other one.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// How long a refusal is shown: several rounds of whoever looks.
const SHOWN: Duration = Duration::from_secs(30);

/// Failed to fill the data folder.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("failed to recover: {} holds data already", path.display())]
    ExistingData { path: PathBuf },
    #[error("failed to recover from {from}: {source}")]
    Fill { from: String, source: FillError },
    #[error("failed to {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecoverError {
    let path = path.to_owned();
    move |source| RecoverError::File { action, path, source }
}

fn sync_folder(path: &Path) -> Result<(), RecoverError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(file_error("sync", path))
}

/// What is filled, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Recovery<'a> {
    pub from: &'a Address,
    pub data: &'a Path,
    /// Name of the folder in the data folder that is filled.
    pub folder: &'a str,
    /// Where it is said how far it is.
    pub health: &'a Health,
}

impl Recovery<'_> {
    /// Fills the folder unless that was done before; gives the position that was reached. Called while
    /// no journal is open. `fill` makes what is to be there in an empty folder, and says how far it is.
    /// A failure was shown to whoever asks for `Report` when this returns.
    pub fn run(
        &self,
        fill: impl Fn(&Runtime, &Path, &dyn Fn(String)) -> Result<u64, FillError>,
    ) -> Result<u64, RecoverError> {
        let recovered = self.settle(fill);
        if let Err(error) = &recovered {
            tracing::error!(%error, "recovery failed");
            self.health.set_not_ready("RecoveryFailed", error.to_string());
            thread::sleep(SHOWN);
        }
        recovered
    }

    /// Goes on with whatever is to be done; gives the position that was reached.
    fn settle(
        &self,
        fill: impl Fn(&Runtime, &Path, &dyn Fn(String)) -> Result<u64, FillError>,
    ) -> Result<u64, RecoverError> {
        let Self { from, data, folder, .. } = *self;
        fs::create_dir_all(data).map_err(file_error("make", data))?;
        let (filled, done) = (data.join(folder), data.join(DONE));
        let [recovering, recovered] =
            ["recovering", "recovered"].map(|state| data.join(format!("{folder}.{state}")));
        if !recovered.exists() {
            if done.exists() {
                return position_of(&done);
            }
            if has_files(&filled).map_err(file_error("read", &filled))? {
                return Err(RecoverError::ExistingData { path: filled });
            }
            let position = self.fetch(&recovering, fill)?;
            tracing::info!(position, %from, "recovered from an archive");
            write(&recovering.join(POSITION), &format!("{position}\n"))?;
            sync_folder(&recovering)?;
            fs::rename(&recovering, &recovered).map_err(file_error("rename", &recovering))?;
            sync_folder(data)?;
        }
        let position = position_of(&recovered.join(POSITION))?;
        write(&done, &format!("{position}\n{from}\n"))?;
        sync_folder(data)?;
        if filled.exists() {
            // Empty, as was seen before; this fails if it is not.
            fs::remove_dir(&filled).map_err(file_error("remove", &filled))?;
        }
        fs::rename(&recovered, &filled).map_err(file_error("rename", &recovered))?;
        sync_folder(data)?;
        Ok(position)
    }

    /// Makes what is wanted in `folder`, from the start each time: what a failure left is worth nothing.
    fn fetch(
        &self,
        folder: &Path,
        fill: impl Fn(&Runtime, &Path, &dyn Fn(String)) -> Result<u64, FillError>,
    ) -> Result<u64, RecoverError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(file_error("start threads for", folder))?;
        let Self { from, health, .. } = *self;
        let mut wait = RETRY_MIN;
        loop {
            if folder.exists() {
                fs::remove_dir_all(folder).map_err(file_error("remove", folder))?;
            }
            let say = |how_far: String| {
                health.set_not_ready("Recovering", format!("from {from}: {how_far}"));
            };
            say("looking for a way".to_owned());
            match fill(&runtime, folder, &say) {
                Ok(position) => return Ok(position),
                Err(error) if error.is_passing() => {
                    tracing::warn!(%error, %from, "failed to reach the archive, trying again");
                    let message = format!("from {from}: {error}; it is tried again");
                    health.set_not_ready("RecoveryFailed", message);
                    thread::sleep(wait);
                    wait = (wait * 2).min(RETRY_MAX);
                }
                Err(source) => return Err(RecoverError::Fill { from: from.to_string(), source }),
            }
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), RecoverError> {
    let written = || {
        let mut file = File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    written().map_err(file_error("write", path))
}

/// The first line of a file that [`write`] made; 0 when it was cut before it was of use.
fn position_of(path: &Path) -> Result<u64, RecoverError> {
    let text = fs::read_to_string(path).map_err(file_error("read", path))?;
    Ok(text.lines().next().and_then(|line| line.parse().ok()).unwrap_or(0))
}

fn has_files(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
