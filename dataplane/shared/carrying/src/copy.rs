//! The folder of a process as a copy of what is carried: opened, brought up to date, begun anew.
//!
//! Must not: append anything that is not carried already.
//!
//! Invariant: what the folder holds is a prefix of what is carried, so it may be thrown away at any time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_journal::{
    Carrier, CarrierError, CopyWriter, Entry, Group, Journal, JournalError, Opened, Options,
    Position, RealDisk, Record,
};

/// Records are read in batches of about this size.
const BATCH_BYTES: usize = 4 << 20;
/// Longest wait for the disk of a copy.
const DISK: Duration = Duration::from_mins(1);

/// Failed to keep a folder a copy of what is carried.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("failed to {action} {}: {source}", path.display())]
    Folder { action: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to open or write the copy of the journal: {0}")]
    Journal(#[from] JournalError),
    #[error("failed to read what is carried: {0}")]
    Carrier(#[from] CarrierError),
    #[error(
        "the folder has {here} records, and {carried} are carried: the engine was emptied or restored \
         from before, or is another one"
    )]
    Ahead { here: u64, carried: u64 },
    #[error("records before {oldest} were removed, and no snapshot takes their place")]
    NoSnapshot { oldest: u64 },
}

impl CopyError {
    /// Whether asking again can help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Carrier(error) if error.is_passing())
    }
}

/// How far a copy got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// It has everything that was carried when it was looked for the last time.
    Up,
    /// What comes next was removed after a snapshot: [`begin_anew`] with that.
    Trimmed,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::Folder { action, path, source }
}

/// Opens what is in the folder; a copy that is damaged is given up.
pub fn open_copy(
    folder: &Path,
    options: Options,
    carrier: &Arc<dyn Carrier>,
) -> Result<Opened, CopyError> {
    let open = |options| -> Result<Opened, CopyError> {
        let disk = RealDisk::new(folder).map_err(failed("make", folder))?;
        Ok(Journal::open_carried(Arc::new(disk), options, Arc::clone(carrier))?)
    };
    match open(options.clone()) {
        Err(CopyError::Journal(error @ JournalError::Corrupt { .. })) => {
            tracing::warn!(%error, "the copy of the journal is given up: it is carried elsewhere");
            fs::remove_dir_all(folder).map_err(failed("remove", folder))?;
            open(options)
        }
        opened => opened,
    }
}

/// Puts a copy that begins with the newest carried snapshot in the place of what is in the folder, which
/// nobody may have open.
pub fn begin_anew(
    folder: &Path,
    options: Options,
    carrier: &Arc<dyn Carrier>,
) -> Result<Opened, CopyError> {
    let carried = carrier.look()?;
    let saved = carried.snapshot.ok_or(CopyError::NoSnapshot { oldest: carried.oldest.0 })?;
    let making = folder.with_extension("copying");
    remove(&making)?;
    let disk = RealDisk::new(&making).map_err(failed("make", &making))?;
    let mut writer = CopyWriter::begin(Arc::new(disk), options.clone(), saved.at, saved.epoch)?;
    let mut content = carrier.load(saved.at)?;
    let copied = io::copy(&mut content, &mut writer).map_err(failed("copy a snapshot to", &making));
    if copied? != saved.bytes {
        let why = "the snapshot that is carried is cut short";
        return Err(failed("copy a snapshot to", &making)(io::Error::other(why)));
    }
    writer.finish()?;
    remove(folder)?;
    fs::rename(&making, folder).map_err(failed("rename", &making))?;
    if let Some(parent) = folder.parent() {
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(failed("sync", parent))?;
    }
    open_copy(folder, options, carrier)
}

fn remove(folder: &Path) -> Result<(), CopyError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Takes what is carried and not here, and shows each record to `take` once it is in the copy. Until it
/// is owned the journal takes records as they were carried.
pub fn catch_up<E: From<CopyError>>(
    journal: &mut Journal,
    carrier: &dyn Carrier,
    mut take: impl FnMut(&Entry<'_>) -> Result<(), E>,
) -> Result<Caught, E> {
    loop {
        let here = journal.last().0;
        let groups = match carrier.read(Position(here), BATCH_BYTES) {
            Err(CarrierError::Trimmed { .. }) => return Ok(Caught::Trimmed),
            read => read.map_err(CopyError::Carrier)?,
        };
        if groups.is_empty() {
            return Ok(Caught::Up);
        }
        for entry in groups.iter().flat_map(Group::entries) {
            let entry = entry.map_err(CopyError::Carrier)?;
            if entry.position == journal.next_position() {
                keep(journal, &entry).map_err(CopyError::Journal)?;
                take(&entry)?;
            }
        }
        journal.flush();
        if journal.last().0 == here {
            return Ok(Caught::Up);
        }
        let settled = journal.wait_durable_until(journal.last(), Instant::now() + DISK);
        settled.map_err(CopyError::Journal)?;
    }
}

fn keep(journal: &mut Journal, entry: &Entry<'_>) -> Result<(), JournalError> {
    if entry.epoch > journal.epoch() {
        journal.raise_epoch(entry.epoch)?;
    }
    let Entry { stream, kind, time_us, body, .. } = *entry;
    let until = Instant::now() + DISK;
    loop {
        let record = Record { stream, kind, time_us, body };
        match journal.append_under(entry.epoch, record) {
            Err(JournalError::QueueFull { .. }) if Instant::now() < until => {
                journal.flush();
                let before = Position(entry.position.0 - 1);
                journal.wait_durable_until(before, until)?;
            }
            appended => return appended.map(drop),
        }
    }
}

#[cfg(test)]
mod tests;
