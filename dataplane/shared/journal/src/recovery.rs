//! What opening does: finds the newest usable snapshot, walks the tail, and decides where the
//! journal ends.
//!
//! The rule. Let `b` be the first position of the last segment without an intact frame.
//! - If a snapshot is at or above `b`, or any intact frame header behind it has a watermark at or
//!   above `b`, then `b` was durable once: `Corrupt`.
//! - Otherwise `b` belongs to the last group ever written, and that group was not known to be
//!   synced: the journal ends before `b`, and what is left of the group is forgotten for good.
//!
//! In any other segment a bad frame is `Corrupt`, because the next segment was begun only when all
//! records before it were durable. `docs/journal.md` has the proof and the one blind spot.

use std::sync::Arc;

use crate::disk::{read_all, read_all_into};
use crate::format::{EPOCH_FILE, Name, SegmentHeader, segment_name};
use crate::segment::{self, Active};
use crate::shared::Files;
use crate::walk::{Cursor, Step, search};
use crate::{Disk, DiskFile, Epoch, JournalError, Options, Position, epoch, snapshot, version};

/// The files of a folder, by what their names say.
#[derive(Debug, Default)]
struct Listing {
    segments: Vec<u64>,
    snapshots: Vec<u64>,
    spares: Vec<u64>,
    temporaries: Vec<String>,
    epoch: bool,
}

/// An opened folder.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) files: Files,
    pub(crate) spares: Vec<u64>,
    pub(crate) epoch: u64,
    /// Position of the snapshot to start from, 0 for none.
    pub(crate) snapshot: u64,
    /// Position of the last record.
    pub(crate) last: u64,
    /// No record appended from now on may have a lower epoch.
    pub(crate) last_epoch: u64,
    /// Where to go on writing; `None` if the last segment ends in a tear.
    pub(crate) active: Option<Active>,
    /// Whether the last record is vouched for by a mark.
    pub(crate) marked: bool,
}

/// Lists the folder, if it is of a version that this program knows. Changes nothing.
fn list(disk: &dyn Disk) -> Result<Listing, JournalError> {
    let mut listing = Listing::default();
    let names = disk.list().map_err(|e| JournalError::io("list", "the folder", e))?;
    version::check(disk, &names)?;
    for name in names {
        match Name::parse(&name) {
            Name::Segment(first) => listing.segments.push(first),
            Name::Snapshot(at) => listing.snapshots.push(at),
            Name::Spare(number) => listing.spares.push(number),
            Name::Temporary => listing.temporaries.push(name),
            Name::Epoch => listing.epoch = true,
            Name::Foreign => {}
        }
    }
    listing.segments.sort_unstable();
    listing.snapshots.sort_unstable();
    listing.spares.sort_unstable();
    Ok(listing)
}

/// Opens the folder, which the caller has locked.
pub(crate) fn recover(disk: &Arc<dyn Disk>, options: &Options) -> Result<Found, JournalError> {
    let listing = list(&**disk)?;
    // Names seen here may not be durable yet if the process before died, and what is acknowledged
    // from now on relies on them.
    disk.sync_dir().map_err(|e| JournalError::io("sync", "the folder", e))?;
    for name in &listing.temporaries {
        crate::prepare::remove(&**disk, name);
    }
    if !listing.epoch {
        return create(&**disk, options, &listing);
    }
    let epoch = epoch::load(&**disk, Some(options.shard))?;
    let (snapshot, usable) = choose_snapshot(&**disk, options, &listing)?;
    // A snapshot got its name only when the journal was durable up to it, so even a damaged one
    // is proof of that.
    let proven = listing.snapshots.last().copied().unwrap_or(0);
    let walked = walk_tail(&**disk, options, &listing.segments, snapshot, proven)?;
    if walked.epoch > epoch {
        return Err(behind(epoch, walked.last, walked.epoch));
    }
    Ok(Found {
        files: Files { segments: listing.segments, snapshots: usable, ..Files::default() },
        spares: listing.spares,
        epoch,
        snapshot,
        last: walked.last,
        last_epoch: walked.epoch,
        active: walked.active,
        marked: walked.marked,
    })
}

/// The epoch file says less than the records do.
pub(crate) fn behind(epoch: u64, last: u64, records: u64) -> JournalError {
    let reason = format!("epoch {epoch} is behind epoch {records} of the records");
    JournalError::corrupt(last, EPOCH_FILE, reason)
}

/// Whether a folder without an epoch file is one whose making was cut off, and nothing is lost.
pub(crate) fn is_fresh(
    disk: &dyn Disk,
    shard: Option<u32>,
    segments: &[u64],
    snapshots: &[u64],
) -> Result<bool, JournalError> {
    let fresh = match segments {
        [] => true,
        [1] => {
            let name = segment_name(1);
            let bytes = read_all(disk, &name).map_err(|e| JournalError::io("read", &name, e))?;
            let header = SegmentHeader::decode(&bytes, &name, 1, shard)?;
            !search(&bytes, &header, 0).any
        }
        _ => false,
    };
    Ok(fresh && snapshots.is_empty())
}

/// Makes the first segment, then the epoch file. The epoch file comes last, so without it a folder
/// may hold a first segment without records and nothing else.
fn create(disk: &dyn Disk, options: &Options, listing: &Listing) -> Result<Found, JournalError> {
    if !is_fresh(disk, Some(options.shard), &listing.segments, &listing.snapshots)? {
        return Err(JournalError::corrupt(0, EPOCH_FILE, "the epoch is missing"));
    }
    let active = segment::begin_first(disk, options, 1, 0)?;
    epoch::store(disk, options.shard, 0)?;
    Ok(Found {
        files: Files { segments: vec![1], ..Files::default() },
        spares: listing.spares.clone(),
        epoch: 0,
        snapshot: 0,
        last: 0,
        last_epoch: 0,
        active: Some(active),
        marked: true,
    })
}

/// The newest intact snapshot, or 0 for none, and the list of those up to it. Passes over damaged
/// ones only while the tail of an older state is still there.
fn choose_snapshot(
    disk: &dyn Disk,
    options: &Options,
    listing: &Listing,
) -> Result<(u64, Vec<u64>), JournalError> {
    let mut usable = listing.snapshots.clone();
    let mut damage = None;
    let chosen = loop {
        let Some(at) = usable.last().copied() else {
            break 0;
        };
        match snapshot::verify(disk, at, Some(options.shard)) {
            Ok(()) => break at,
            Err(error @ JournalError::Corrupt { .. }) => {
                tracing::error!(%error, "passing over a damaged snapshot");
                damage.get_or_insert(error);
                usable.pop();
            }
            Err(error) => return Err(error),
        }
    };
    let tail_exists = listing.segments.iter().any(|first| *first <= chosen + 1);
    match damage {
        Some(error) if !tail_exists => Err(error),
        _ => Ok((chosen, usable)),
    }
}

#[derive(Debug)]
struct Walked {
    last: u64,
    epoch: u64,
    active: Option<Active>,
    marked: bool,
}

/// Walks every segment that holds records above `snapshot`, checking all of them.
fn walk_tail(
    disk: &dyn Disk,
    options: &Options,
    segments: &[u64],
    snapshot: u64,
    proven: u64,
) -> Result<Walked, JournalError> {
    let below = segments.partition_point(|first| *first <= snapshot + 1);
    let tail = &segments[below.saturating_sub(1)..];
    if below == 0 {
        let reason = "no segment holds it".to_owned();
        return Err(JournalError::corrupt(snapshot + 1, &segment_name(snapshot + 1), reason));
    }
    let mut epoch = 0;
    let mut bytes = Vec::new();
    for (index, first) in tail.iter().enumerate() {
        let name = segment_name(*first);
        let file = disk.open(&name).map_err(|e| JournalError::io("open", &name, e))?;
        let read = read_all_into(disk, &name, &mut bytes);
        read.map_err(|e| JournalError::io("read", &name, e))?;
        let header = SegmentHeader::decode(&bytes, &name, *first, Some(options.shard))?;
        if header.epoch < epoch {
            return Err(JournalError::corrupt(*first, &name, "the epoch fell"));
        }
        if let Some(next) = tail.get(index + 1) {
            epoch = check_sealed(&bytes, &header, &name, next - 1)?;
        } else {
            let end = find_end(&bytes, &header, &name, proven)?;
            return settle(file, &bytes, &header, options, &end);
        }
    }
    Err(JournalError::corrupt(snapshot + 1, "the folder", "it has no segment"))
}

/// Checks a segment that is followed by another; gives the epoch of its last record.
pub(crate) fn check_sealed(
    bytes: &[u8],
    header: &SegmentHeader,
    name: &str,
    last: u64,
) -> Result<u64, JournalError> {
    let mut cursor = Cursor::new(header);
    while cursor.last < last {
        let bad = cursor.last + 1;
        match cursor.step(bytes) {
            Step::Record(..) => {}
            Step::End(reason) => return Err(JournalError::corrupt(bad, name, reason)),
            Step::Disorder(reason) => return Err(JournalError::corrupt(bad, name, reason)),
        }
    }
    Ok(cursor.epoch)
}

/// Where the last segment ends.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) cursor: Cursor,
    /// Frames of a torn group lie behind the end.
    pub(crate) torn: bool,
}

/// Finds the end of the last segment by the rule above. Records up to `proven` are known to have
/// been durable.
pub(crate) fn find_end(
    bytes: &[u8],
    header: &SegmentHeader,
    name: &str,
    proven: u64,
) -> Result<End, JournalError> {
    let mut cursor = Cursor::new(header);
    let reason = loop {
        match cursor.step(bytes) {
            Step::Record(..) => {}
            Step::End(reason) => break reason,
            Step::Disorder(reason) => {
                return Err(JournalError::corrupt(cursor.last + 1, name, reason));
            }
        }
    };
    let bad = cursor.last + 1;
    let left = search(bytes, header, cursor.offset);
    let proven = left.watermark.max(proven);
    if proven >= bad {
        let reason = format!("{reason}, but records up to {proven} were durable");
        return Err(JournalError::corrupt(bad, name, reason));
    }
    if left.any {
        tracing::warn!(
            position = %Position(bad),
            epoch = %Epoch(cursor.epoch),
            file = name,
            offset = cursor.offset,
            reason,
            "cut a torn group that was never acknowledged",
        );
    }
    Ok(End { cursor, torn: left.any })
}

/// Makes durable what was found: the last group may so far be only in the page cache, even if a
/// sync of it failed before, so it is written again. Only then may it be counted as recovered.
fn settle(
    file: Box<dyn DiskFile>,
    bytes: &[u8],
    header: &SegmentHeader,
    options: &Options,
    end: &End,
) -> Result<Walked, JournalError> {
    let name = segment_name(header.first);
    let cursor = &end.cursor;
    let marked = cursor.watermark == cursor.last;
    // A mark vouches for the records before it and not for itself: were it lost, what comes behind it
    // would be lost with it.
    let unproven = &bytes[cursor.unproven..cursor.offset];
    if !unproven.is_empty() {
        file.write_at(unproven, cursor.unproven as u64)
            .and_then(|()| file.sync())
            .map_err(|e| JournalError::io("make durable the end of", &name, e))?;
    }
    let length = bytes.len() as u64;
    let capacity = if options.preallocate { length } else { options.segment_bytes };
    let active = (!end.torn).then(|| Active::resume(file, header, cursor.offset as u64, capacity));
    Ok(Walked { last: cursor.last, epoch: cursor.epoch, active, marked })
}
