//! Looking for damage before it is needed: over a closed folder, or beside a running journal, from
//! within its process or from another one.
//!
//! Reads, never repairs. A torn group at the end of the last segment is no damage.

use std::io;
use std::sync::Arc;

use crate::disk::read_all;
use crate::format::{EPOCH_FILE, Name, SegmentHeader, segment_name, snapshot_name};
use crate::recovery::{behind, check_sealed, find_end, is_fresh};
use crate::shared::Shared;
use crate::walk::{Cursor, Step, search};
use crate::{Disk, JournalError, Position, epoch, snapshot, version};

/// How often [`scrub_running`] looks before it believes what it sees.
const LOOKS: usize = 3;

/// One file that cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first position that cannot be vouched for; 0 if the damage is not about one.
    pub position: Position,
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Damage {
    /// No file holds the record at `position`, which must be somewhere.
    pub(crate) fn missing(position: u64) -> Self {
        let reason = "the record is missing".to_owned();
        Self { position: Position(position), file: segment_name(position), reason }
    }

    pub(crate) fn new(file: &str, error: &JournalError) -> Self {
        match error {
            JournalError::Corrupt { position, file, reason } => {
                Self { position: *position, file: file.clone(), reason: reason.clone() }
            }
            other => Self { position: Position(0), file: file.to_owned(), reason: other.chain() },
        }
    }
}

/// Checks every file of a folder that no journal has open. A missing segment between two others is
/// damage too, and so is a missing epoch. The error is for a folder that cannot be listed, or is of a
/// version that this program does not know.
pub fn scrub(disk: &dyn Disk) -> Result<Vec<Damage>, JournalError> {
    scrub_told(disk, &mut |_, _| {})
}

/// As [`scrub`]; `progress` hears how many bytes are done, of how many, after each file.
pub fn scrub_told(
    disk: &dyn Disk,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Damage>, JournalError> {
    look(disk, &|_| true, progress)
}

/// As [`scrub_told`], for a folder whose journal may be open in another process. It takes no lock and
/// writes nothing; with [`RealDisk::read_only`](crate::RealDisk::read_only) it could not.
///
/// What is seen of a file that is written, trimmed or used again meanwhile may look like damage. So
/// whatever is suspected is looked at again, from a new listing: a group that was not there when its
/// place was read is there once a later one was seen; a segment that was used again has lost its name
/// before; a segment or snapshot that seemed to be missing has a name by now. What is still wrong at the
/// same position in every look is damage. `pause` is called before each look but the first: long enough
/// for a process to finish the making of a folder or of an epoch.
pub fn scrub_running(
    disk: &dyn Disk,
    progress: &mut dyn FnMut(u64, u64),
    pause: &mut dyn FnMut(),
) -> Result<Vec<Damage>, JournalError> {
    let mut damages = scrub_told(disk, progress)?;
    for _ in 1..LOOKS {
        if damages.is_empty() {
            break;
        }
        pause();
        let is_suspect = |name: &str| damages.iter().any(|damage| damage.file == name);
        let again = look(disk, &is_suspect, &mut |_, _| {})?;
        let seen = |damage: &Damage| (damage.position, damage.file.clone());
        damages.retain(|damage| again.iter().any(|other| seen(other) == seen(damage)));
    }
    Ok(damages)
}

/// Reads the files that are `wanted` and judges the folder by them.
fn look(
    disk: &dyn Disk,
    wanted: &dyn Fn(&str) -> bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Damage>, JournalError> {
    let names = disk.list().map_err(|e| JournalError::io("list", "the folder", e))?;
    version::check(disk, &names)?;
    let mut segments: Vec<u64> = Vec::new();
    let mut snapshots: Vec<u64> = Vec::new();
    let mut all_bytes = 0;
    for name in &names {
        match Name::parse(name) {
            Name::Segment(first) => segments.push(first),
            Name::Snapshot(at) => snapshots.push(at),
            _ => continue,
        }
        all_bytes += length(disk, name);
    }
    segments.sort_unstable();
    snapshots.sort_unstable();
    let mut done_bytes = 0;
    let mut told = |name: &str| {
        done_bytes += length(disk, name);
        progress(done_bytes.min(all_bytes), all_bytes);
    };
    let mut damages = scrub_snapshots(disk, &snapshots, wanted, &mut told);
    let intact = |at: &&u64| !damages.iter().any(|damage| damage.file == snapshot_name(**at));
    let base = snapshots.iter().rev().find(intact).copied().unwrap_or(0);
    let epoch = if names.iter().any(|name| Name::parse(name) == Name::Epoch) {
        let loaded = epoch::load(disk, None).map(Some);
        // Without a segment there is nothing behind the snapshot, and not even room for it.
        if segments.first().is_none_or(|first| *first > base + 1) {
            damages.push(Damage::missing(base + 1));
        }
        loaded
    } else if is_fresh(disk, None, &segments, &snapshots).unwrap_or(false) {
        Ok(None)
    } else {
        Err(JournalError::corrupt(0, EPOCH_FILE, "the epoch is missing"))
    };
    let floor = snapshots.last().copied().unwrap_or(0);
    damages.extend(scrub_segments(disk, &segments, floor, wanted, &mut told));
    if let Some(first) = segments.last() {
        let name = segment_name(*first);
        if wanted(&name) || wanted(EPOCH_FILE) {
            let epoch = epoch.as_ref().ok().copied().flatten();
            damages.extend(scrub_last(disk, *first, floor, epoch));
        }
        told(&name);
    }
    damages.extend(epoch.err().map(|error| Damage::new(EPOCH_FILE, &error)));
    Ok(damages)
}

/// Checks the last segment, and that the epoch on disk is not behind its records.
fn scrub_last(disk: &dyn Disk, first: u64, floor: u64, epoch: Option<u64>) -> Option<Damage> {
    let name = segment_name(first);
    let checked = read_segment(disk, first)
        .and_then(|(bytes, header)| find_end(&bytes, &header, &name, floor));
    match (checked, epoch) {
        (Err(error), _) => Some(Damage::new(&name, &error)),
        (Ok(end), Some(epoch)) if end.cursor.epoch > epoch => {
            let error = behind(epoch, end.cursor.last, end.cursor.epoch);
            Some(Damage::new(EPOCH_FILE, &error))
        }
        _ => None,
    }
}

fn length(disk: &dyn Disk, name: &str) -> u64 {
    disk.open(name).and_then(|file| file.len()).unwrap_or(0)
}

fn read_segment(disk: &dyn Disk, first: u64) -> Result<(Vec<u8>, SegmentHeader), JournalError> {
    let name = segment_name(first);
    let bytes = read_all(disk, &name).map_err(|e| JournalError::io("read", &name, e))?;
    let header = SegmentHeader::decode(&bytes, &name, first, None)?;
    Ok((bytes, header))
}

/// Checks all segments but the last, which may be growing.
fn scrub_segments(
    disk: &dyn Disk,
    segments: &[u64],
    floor: u64,
    wanted: &dyn Fn(&str) -> bool,
    told: &mut dyn FnMut(&str),
) -> Vec<Damage> {
    let mut damages = Vec::new();
    for pair in segments.windows(2) {
        let name = segment_name(pair[0]);
        if !wanted(&name) {
            continue;
        }
        let checked = read_segment(disk, pair[0]).and_then(|(bytes, header)| {
            let superfluous = pair[1] <= floor + 1;
            match check_sealed(&bytes, &header, &name, pair[1] - 1) {
                Err(_) if superfluous && ends_whole(&bytes, &header) => Ok(()),
                checked => checked.map(|_| ()),
            }
        });
        match checked {
            Err(error) if !is_gone(&error) => damages.push(Damage::new(&name, &error)),
            _ => {}
        }
        told(&name);
    }
    damages
}

/// Whether nothing lies behind the last intact frame. Then, in a segment below the newest snapshot,
/// what is missing up to the next segment was in others that are trimmed already: a trim that power
/// was lost in may remove later segments and leave earlier ones.
fn ends_whole(bytes: &[u8], header: &SegmentHeader) -> bool {
    let mut cursor = Cursor::new(header);
    while let Step::Record(..) = cursor.step(bytes) {}
    !search(bytes, header, cursor.offset).any
}

fn scrub_snapshots(
    disk: &dyn Disk,
    snapshots: &[u64],
    wanted: &dyn Fn(&str) -> bool,
    told: &mut dyn FnMut(&str),
) -> Vec<Damage> {
    let mut damages = Vec::new();
    for at in snapshots.iter().filter(|at| wanted(&snapshot_name(**at))) {
        match snapshot::verify(disk, *at, None) {
            Err(error) if !is_gone(&error) => {
                damages.push(Damage::new(&snapshot_name(*at), &error));
            }
            _ => {}
        }
        told(&snapshot_name(*at));
    }
    damages
}

/// A file trimmed while it was looked at.
fn is_gone(error: &JournalError) -> bool {
    matches!(error, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Checks what a running journal will not change any more. Belongs on a thread of its own.
#[derive(Clone, Debug)]
pub struct Scrubber {
    pub(crate) shared: Arc<Shared>,
}

impl Scrubber {
    /// Reads all sealed segments and all snapshots once.
    pub fn run(&self) -> Vec<Damage> {
        let (segments, snapshots) =
            self.shared.with_files(|files| (files.segments.clone(), files.snapshots.clone()));
        let disk = &*self.shared.disk;
        let floor = snapshots.last().copied().unwrap_or(0);
        let mut damages = scrub_snapshots(disk, &snapshots, &|_| true, &mut |_| {});
        damages.extend(scrub_segments(disk, &segments, floor, &|_| true, &mut |_| {}));
        // A file that was trimmed, and perhaps written over, while it was read.
        self.shared.with_files(|files| {
            damages.retain(|damage| match Name::parse(&damage.file) {
                Name::Segment(first) => files.segments.contains(&first),
                Name::Snapshot(at) => files.snapshots.contains(&at),
                _ => true,
            });
        });
        damages
    }
}
