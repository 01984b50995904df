//! Fetches what leads to the moment asked for, and makes a journal of it in an empty folder.
//!
//! Everything is checked before it is used: parts and groups against their checksums and names, and
//! that every record is the one behind the record before.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_archive::{Archive, ArchiveError, Plan, SnapshotName, Target};
use orrery_archive::{base, group, plan};
use orrery_blob::Store;
use orrery_journal::{
    CopyWriter, Epoch, Journal, JournalError, Options, Position, RealDisk, Record,
};

use super::config::RecoveryConfig;

/// Longest wait for the disk.
const DISK: Duration = Duration::from_mins(1);
/// How often an object that cannot be fetched is asked for again.
const RETRIES: u32 = 4;
/// Wait before the first of them, doubled with each.
const RETRY: Duration = Duration::from_millis(500);

/// Failed to make a journal of an archive.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("failed to write what is recovered: {0}")]
    Journal(#[from] JournalError),
    #[error("failed to write what is recovered: {0}")]
    Disk(#[from] io::Error),
    /// The engine cannot go on with what is there.
    #[error("{0}")]
    Engine(String),
}

impl FillError {
    /// The archive could not be reached, or was just being changed: later may be better.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Archive(ArchiveError::Store(_)))
    }
}

/// Makes the journal of `config`'s target in the empty `folder`; gives its last position. `say` is
/// told how far it is.
pub async fn fill(
    config: &RecoveryConfig,
    options: Options,
    folder: &Path,
    say: &dyn Fn(String),
) -> Result<u64, FillError> {
    let store = Store::open(&config.from, &config.access).map_err(ArchiveError::from)?;
    let archive = Archive::new(store);
    let view = patiently(|| archive.view(config.line)).await?;
    let snapshots = view.snapshots(&patiently(|| archive.snapshots()).await?);
    let begin = base(&snapshots, config.target).map_or(0, |snapshot| snapshot.position);
    let groups = patiently(|| archive.groups_behind(begin)).await?;
    let pieces = view.pieces(groups.into_iter().map(|(name, _)| name));
    let plan = plan(&snapshots, &pieces, config.target)?;
    let end = end(&archive, &plan, config.target, begin).await?;
    if let Some(name) = plan.snapshot {
        image(&archive, name, (RealDisk::new(folder)?, options.clone()), say).await?;
    }
    let disk = RealDisk::new(folder)?;
    let mut journal = Journal::open(Arc::new(disk), options)?.journal;
    records(&archive, &plan, end, &mut journal, say).await?;
    journal.flush();
    journal.wait_durable_until(journal.last(), Instant::now() + DISK)?;
    Ok(journal.close()?.0)
}

/// What the engine said of itself whose archive it is.
pub async fn engine(config: &RecoveryConfig) -> Result<Option<Vec<u8>>, FillError> {
    let store = Store::open(&config.from, &config.access).map_err(ArchiveError::from)?;
    let archive = Archive::new(store);
    Ok(patiently(|| archive.engine()).await?.map(|said| said.to_vec()))
}

/// Whether the archive begins with the very first record, or has none: then there was nothing before
/// the earliest moment that it tells of.
pub async fn begins_at_first(config: &RecoveryConfig) -> Result<bool, FillError> {
    let store = Store::open(&config.from, &config.access).map_err(ArchiveError::from)?;
    let archive = Archive::new(store);
    let groups = patiently(|| archive.groups_behind(0)).await?;
    if groups.iter().any(|(name, _)| name.first == 1) {
        return Ok(true);
    }
    Ok(groups.is_empty() && patiently(|| archive.snapshots()).await?.is_empty())
}

/// Fetches something; what cannot be reached is asked for again a few times.
async fn patiently<T, F>(mut fetch: impl FnMut() -> F) -> Result<T, ArchiveError>
where
    F: Future<Output = Result<T, ArchiveError>>,
{
    for retry in 0..RETRIES {
        match fetch().await {
            Err(ArchiveError::Store(error)) if !error.is_not_found() => {
                tracing::warn!(%error, "failed to read the archive, trying again");
                tokio::time::sleep(RETRY * 2_u32.pow(retry)).await;
            }
            result => return result,
        }
    }
    fetch().await
}

async fn image(
    archive: &Archive,
    name: SnapshotName,
    (disk, options): (RealDisk, Options),
    say: &dyn Fn(String),
) -> Result<(), FillError> {
    let manifest = patiently(|| archive.manifest(name)).await?;
    let (at, epoch) = (Position(manifest.position), Epoch(manifest.epoch));
    let mut writer = CopyWriter::begin(Arc::new(disk), options, at, epoch)?;
    let (total, mut done) = (manifest.bytes().max(1), 0);
    for number in 0..manifest.parts.len() {
        let part = patiently(|| archive.part(&manifest, number)).await?;
        let part = part.unwrap_or_default();
        writer.write_all(&part)?;
        done += part.len() as u64;
        say(format!("{} % of the snapshot of record {at}", done * 100 / total));
    }
    writer.finish()?;
    Ok(())
}

/// The last position of the way. Of a moment only the records tell: they are looked at from the
/// end.
async fn end(
    archive: &Archive,
    plan: &Plan,
    target: Target,
    base: u64,
) -> Result<u64, ArchiveError> {
    let target_us = match target {
        Target::Newest => return Ok(plan.pieces.last().map_or(base, |piece| piece.last)),
        Target::Position(position) => return Ok(position),
        Target::Time(target_us) => target_us,
    };
    let mut earliest_us = i64::MAX;
    for piece in plan.pieces.iter().rev() {
        let group = patiently(|| archive.group(piece.name)).await?;
        if let Some(last) = group.last_at(target_us, piece.first..=piece.last) {
            return Ok(last);
        }
        earliest_us = earliest_us.min(piece.name.earliest_us);
    }
    if plan.snapshot.is_none() {
        return Err(ArchiveError::BeforeAll { target_us, earliest_us });
    }
    Ok(base)
}

async fn records(
    archive: &Archive,
    plan: &Plan,
    end: u64,
    journal: &mut Journal,
    say: &dyn Fn(String),
) -> Result<(), FillError> {
    let first = journal.last().0;
    let wanted = plan.pieces.iter().filter(|piece| piece.first <= end);
    for piece in wanted {
        let group = patiently(|| archive.group(piece.name)).await?;
        let range = piece.first..=piece.last.min(end);
        for record in group.records().filter(|record| range.contains(&record.position)) {
            let next = journal.last().0 + 1;
            if record.position != next {
                return Err(ArchiveError::Gap { first: next, last: record.position - 1 }.into());
            }
            append(journal, &record)?;
        }
        let now = journal.last().0;
        let percent = (now - first) * 100 / (end - first).max(1);
        say(format!("record {now} of {end}, {percent} % of what is behind the snapshot"));
    }
    Ok(())
}

fn append(journal: &mut Journal, record: &group::Record<'_>) -> Result<(), JournalError> {
    if record.epoch > journal.epoch().0 {
        journal.raise_epoch(Epoch(record.epoch))?;
    }
    let group::Record { stream, kind, time_us, body, .. } = *record;
    let content = Record { stream, kind, time_us, body };
    let deadline = Instant::now() + DISK;
    loop {
        match journal.append_under(Epoch(record.epoch), content) {
            Err(JournalError::QueueFull { .. }) if Instant::now() < deadline => {
                journal.flush();
                journal.wait_durable_until(journal.last(), deadline)?;
            }
            appended => return appended.map(|_| ()),
        }
    }
}
