//! Fills an empty data folder from an archive, once.
//!
//! | in the data folder | meaning |
//! |---|---|
//! | `shard-0.recovering` | in the making; worth nothing |
//! | `shard-0.recovered` | whole; only its name is still to change |
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

use super::config::RecoveryConfig;
use super::fill::{FillError, fill};
use crate::metrics::Shared;
use crate::replication::copy::SHARD;

const RECOVERING: &str = "shard-0.recovering";
const RECOVERED: &str = "shard-0.recovered";
/// In the recovered journal until it has its name: its last position.
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

/// Fills the data folder unless that was done before. Called while no journal is open. A failure
/// was shown to whoever asks for `Report` when this returns.
pub(crate) fn recover(
    config: &RecoveryConfig,
    data: &Path,
    shared: &Shared,
) -> Result<(), RecoverError> {
    let recovered = settle(config, data, shared);
    match &recovered {
        Ok(position) => shared.recovered_position.set(*position),
        Err(error) => {
            tracing::error!(%error, "recovery failed");
            shared.health.set_not_ready("RecoveryFailed", error.to_string());
            thread::sleep(SHOWN);
        }
    }
    recovered.map(|_| ())
}

/// Goes on with whatever is to be done; gives the position that was reached.
fn settle(config: &RecoveryConfig, data: &Path, shared: &Shared) -> Result<u64, RecoverError> {
    fs::create_dir_all(data).map_err(file_error("make", data))?;
    let [shard, recovering, recovered, done] =
        [SHARD, RECOVERING, RECOVERED, DONE].map(|name| data.join(name));
    if !recovered.exists() {
        if done.exists() {
            return position_of(&done);
        }
        if has_files(&shard).map_err(file_error("read", &shard))? {
            return Err(RecoverError::ExistingData { path: shard });
        }
        let position = fetch(config, &recovering, shared)?;
        tracing::info!(position, from = %config.from, "recovered from an archive");
        write(&recovering.join(POSITION), &format!("{position}\n"))?;
        sync_folder(&recovering)?;
        fs::rename(&recovering, &recovered).map_err(file_error("rename", &recovering))?;
        sync_folder(data)?;
    }
    let position = position_of(&recovered.join(POSITION))?;
    write(&done, &format!("{position}\n{}\n", config.from))?;
    sync_folder(data)?;
    if shard.exists() {
        // Empty, as was seen before; this fails if it is not.
        fs::remove_dir(&shard).map_err(file_error("remove", &shard))?;
    }
    fs::rename(&recovered, &shard).map_err(file_error("rename", &recovered))?;
    sync_folder(data)?;
    Ok(position)
}

/// Makes the journal in `folder`, from the start each time: what a failure left is worth nothing.
fn fetch(config: &RecoveryConfig, folder: &Path, shared: &Shared) -> Result<u64, RecoverError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(file_error("start threads for", folder))?;
    let from = &config.from;
    let mut wait = RETRY_MIN;
    loop {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(file_error("remove", folder))?;
        }
        let say = |how_far: String| {
            shared.health.set_not_ready("Recovering", format!("from {from}: {how_far}"));
        };
        say("looking for a way".to_owned());
        match runtime.block_on(fill(config, folder, &say)) {
            Ok(position) => return Ok(position),
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, %from, "failed to reach the archive, trying again");
                let message = format!("from {from}: {error}; it is tried again");
                shared.health.set_not_ready("RecoveryFailed", message);
                thread::sleep(wait);
                wait = (wait * 2).min(RETRY_MAX);
            }
            Err(source) => return Err(RecoverError::Fill { from: from.to_string(), source }),
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
