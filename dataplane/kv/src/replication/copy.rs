//! A full copy of the primary's data, made beside what is here, and the change from one to the other.
//!
//! | folder | content |
//! |---|---|
//! | `shard-0` | the journal in use |
//! | `shard-0.copying` | a copy in the making; worth nothing |
//! | `shard-0.copy` | a whole copy that is to take its place |
//! | `shard-0.old` | what it replaces |
//! | `discarded-<epoch>` | segments with records that the primary of that epoch does not have |
//!
//! A copy is whole once it has the record that was the primary's last when it began: only then does it
//! have everything that this process may have confirmed before. The change is a row of renames that
//! [`settle`] goes on with after any interruption.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_journal::{CopyWriter, Epoch, Journal, JournalError, Options, Position, RealDisk};
use serde::{Deserialize, Serialize};

use super::link::Plan;
use super::wire::{CopyPlan, Record};
use crate::rdb::{Item, RdbError, Reader};

/// The journal in use.
pub(crate) const SHARD: &str = "shard-0";
const COPYING: &str = "shard-0.copying";
const COPY: &str = "shard-0.copy";
const OLD: &str = "shard-0.old";
/// In a copy: `<common> <epoch>`, what is to be put aside of what it replaces.
const REPLACES: &str = "replaces";
/// Longest wait for the disk at the end of a copy.
const DISK: Duration = Duration::from_mins(1);

/// Failed to make or to take over a copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("failed to {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to write the copy: {0}")]
    Journal(#[from] JournalError),
    #[error("the primary sent a copy in disorder: {0}")]
    Disorder(&'static str),
    #[error("the primary sent an image that cannot be used: {0}")]
    Image(#[from] RdbError),
}

/// Reads an image to its end: what is here is not given up for one that cannot be loaded.
fn verify(image: impl Read, databases: u16) -> Result<(), CopyError> {
    for item in Reader::new(image)? {
        if let Item::Key { db, .. } = item?
            && db >= u32::from(databases)
        {
            return Err(RdbError::Malformed("a database that is not configured").into());
        }
    }
    Ok(())
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::File { action, path, source }
}

fn sync_folder(path: &Path) -> Result<(), CopyError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(file_error("sync", path))
}

/// Files name their shard.
fn of_shard(shard: u32) -> Options {
    Options { shard, ..Options::default() }
}

enum Stage {
    Image(Option<CopyWriter>),
    Records(Box<Journal>),
}

/// A copy in the making.
pub(crate) struct Copying {
    data: PathBuf,
    shard: u32,
    databases: u16,
    plan: CopyPlan,
    epoch: u64,
    stage: Stage,
    image_bytes: u64,
    last: u64,
}

impl Copying {
    /// Begins in an empty folder of the process that `of` is about. `epoch` is that of the primary.
    pub(crate) fn begin(of: &Plan, plan: CopyPlan, epoch: u64) -> Result<Self, CopyError> {
        let Plan { data, shard, databases, .. } = of;
        let (shard, databases) = (*shard, *databases);
        let folder = data.join(COPYING);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(file_error("remove", &folder))?;
        }
        let disk = RealDisk::new(&folder).map_err(file_error("make", &folder))?;
        let writer = (plan.at > 0)
            .then(|| {
                let (at, at_epoch) = (Position(plan.at), Epoch(plan.at_epoch));
                CopyWriter::begin(Arc::new(disk), of_shard(shard), at, at_epoch)
            })
            .transpose()?;
        let stage = Stage::Image(writer);
        let (data, last) = (data.to_owned(), plan.at);
        Ok(Self { data, shard, databases, plan, epoch, stage, image_bytes: 0, last })
    }

    pub(crate) fn take_piece(&mut self, content: &[u8]) -> Result<(), CopyError> {
        let Stage::Image(Some(writer)) = &mut self.stage else {
            return Err(CopyError::Disorder("a piece of no image"));
        };
        self.image_bytes += content.len() as u64;
        writer.write_all(content).map_err(file_error("write", &self.data.join(COPYING)))
    }

    pub(crate) fn end_image(&mut self) -> Result<(), CopyError> {
        let Stage::Image(writer) = &mut self.stage else {
            return Err(CopyError::Disorder("a second end of the image"));
        };
        if let Some(writer) = writer.take() {
            writer.finish()?;
        }
        let folder = self.data.join(COPYING);
        let disk = RealDisk::new(&folder).map_err(file_error("open", &folder))?;
        let opened = Journal::open(Arc::new(disk), of_shard(self.shard))?;
        if let Some(image) = opened.recovery.snapshot()? {
            verify(image, self.databases)?;
        }
        self.stage = Stage::Records(Box::new(opened.journal));
        Ok(())
    }

    pub(crate) fn take_record(&mut self, record: &Record) -> Result<(), CopyError> {
        let Stage::Records(journal) = &mut self.stage else {
            return Err(CopyError::Disorder("a record before the end of the image"));
        };
        if record.position != self.last + 1 {
            return Err(CopyError::Disorder("a record out of its place"));
        }
        if record.epoch > journal.epoch().0 {
            journal.raise_epoch(Epoch(record.epoch))?;
        }
        let Record { stream, kind, time_us, ref body, .. } = *record;
        let content = orrery_journal::Record { stream, kind, time_us, body };
        let deadline = Instant::now() + DISK;
        loop {
            match journal.append_under(Epoch(record.epoch), content) {
                Err(JournalError::QueueFull { .. }) if Instant::now() < deadline => {
                    journal.flush();
                    journal.wait_durable_until(Position(self.last), deadline)?;
                }
                appended => {
                    appended?;
                    break;
                }
            }
        }
        self.last = record.position;
        Ok(())
    }

    /// It has everything the primary had when it began.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::Records(_)) && self.last >= self.plan.target
    }

    /// How far it is, in percent; 100 only when it is whole.
    pub(crate) fn percent(&self) -> u64 {
        let of_image = self.image_bytes * 100 / self.plan.image_bytes.max(1);
        if self.is_whole() { 100 } else { of_image.min(99) }
    }

    /// Makes it durable and gives it the name under which [`settle`] takes it over.
    pub(crate) fn finish(self) -> Result<(), CopyError> {
        if let Stage::Records(mut journal) = self.stage {
            journal.flush();
            journal.wait_durable_until(journal.last(), Instant::now() + DISK)?;
            journal.close()?;
        }
        let (copying, copy) = (self.data.join(COPYING), self.data.join(COPY));
        let replaces = copying.join(REPLACES);
        let written = || {
            let mut file = File::create(&replaces)?;
            write!(file, "{} {}", self.plan.common, self.epoch)?;
            file.sync_all()
        };
        written().map_err(file_error("write", &replaces))?;
        sync_folder(&copying)?;
        if copy.exists() {
            fs::remove_dir_all(&copy).map_err(file_error("remove", &copy))?;
        }
        fs::rename(&copying, &copy).map_err(file_error("rename", &copying))?;
        sync_folder(&self.data)
    }
}

/// Records that were put aside because the primary of an epoch does not have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Discarded {
    pub(crate) records: u64,
    pub(crate) epoch: u64,
}

/// Takes over a whole copy, if there is one, and puts aside what it replaces.
///
/// Called while no journal is open. `id`: the shard whose journal it is.
pub(crate) fn settle(data: &Path, id: u32) -> Result<Discarded, CopyError> {
    let [shard, copying, copy, old] = [SHARD, COPYING, COPY, OLD].map(|name| data.join(name));
    if copying.exists() {
        fs::remove_dir_all(&copying).map_err(file_error("remove", &copying))?;
    }
    if copy.exists() {
        if shard.exists() && !old.exists() {
            fs::rename(&shard, &old).map_err(file_error("rename", &shard))?;
        }
        fs::rename(&copy, &shard).map_err(file_error("rename", &copy))?;
        sync_folder(data)?;
    }
    if !old.exists() {
        return Ok(Discarded::default());
    }
    let replaces = shard.join(REPLACES);
    let text = fs::read_to_string(&replaces).map_err(file_error("read", &replaces))?;
    let numbers = text.split_once(' ').and_then(|(common, epoch)| {
        Some((common.parse::<u64>().ok()?, epoch.parse::<u64>().ok()?))
    });
    let Some((common, epoch)) = numbers else {
        let unreadable = io::ErrorKind::InvalidData.into();
        return Err(file_error("understand", &replaces)(unreadable));
    };
    Ok(Discarded { records: put_aside(data, &old, common, epoch, id)?, epoch })
}

/// Keeps the segments of `old` that hold records above `common`, and removes the rest. Gives
/// the number of those records, as far as it can be told.
fn put_aside(
    data: &Path,
    old: &Path,
    common: u64,
    epoch: u64,
    shard: u32,
) -> Result<u64, CopyError> {
    let aside = data.join(format!("discarded-{epoch}"));
    let names = fs::read_dir(old).map_err(file_error("list", old))?;
    let mut firsts: Vec<(u64, PathBuf)> = names
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let digits = path.file_name()?.to_str()?.strip_prefix("segment-")?.to_owned();
            Some((digits.parse().ok()?, path))
        })
        .collect();
    firsts.sort();
    // A segment reaches up to the next one, the last one up to its end.
    let ends = firsts.iter().skip(1).map(|(next, _)| next - 1).chain([u64::MAX]);
    let diverged: Vec<&PathBuf> = firsts
        .iter()
        .zip(ends)
        .filter(|(_, end)| *end > common)
        .map(|((_, path), _)| path)
        .collect();
    let last = last_position(old, shard);
    if last.is_none_or(|last| last > common) {
        fs::create_dir_all(&aside).map_err(file_error("make", &aside))?;
        for path in diverged {
            let to = aside.join(path.file_name().unwrap_or_default());
            fs::rename(path, &to).map_err(file_error("rename", path))?;
        }
        sync_folder(&aside)?;
    }
    fs::remove_dir_all(old).map_err(file_error("remove", old))?;
    sync_folder(data)?;
    Ok(last.map_or(0, |last| last.saturating_sub(common)))
}

/// The last position of a closed journal; `None` when nobody can say.
fn last_position(folder: &Path, shard: u32) -> Option<u64> {
    let disk = RealDisk::new(folder).ok()?;
    let options = Options { preallocate: false, ..of_shard(shard) };
    let opened = Journal::open(Arc::new(disk), options).ok()?;
    Some(opened.journal.last().0)
}
