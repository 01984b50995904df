//! Looking for damage before it is needed: over a closed folder, or beside a running journal.
//!
//! Reads, never repairs. A torn group at the end of the last segment is no damage.

use std::io;
use std::sync::Arc;

use crate::disk::read_all;
use crate::format::{Name, SegmentHeader, segment_name, snapshot_name};
use crate::recovery::{check_sealed, find_end};
use crate::shared::Shared;
use crate::walk::{Cursor, Step, search};
use crate::{Disk, JournalError, Position, epoch, snapshot};

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
    fn new(file: &str, error: &JournalError) -> Self {
        match error {
            JournalError::Corrupt { position, file, reason } => {
                Self { position: *position, file: file.clone(), reason: reason.clone() }
            }
            other => Self { position: Position(0), file: file.to_owned(), reason: other.chain() },
        }
    }
}

/// Checks every file of a folder that no journal has open. A missing segment between two others is
/// damage too. The error is for a folder that cannot be listed.
pub fn scrub(disk: &dyn Disk) -> Result<Vec<Damage>, JournalError> {
    let names = disk.list().map_err(|e| JournalError::io("list", "the folder", e))?;
    let names: Vec<Name> = names.iter().map(|name| Name::parse(name)).collect();
    let mut segments: Vec<u64> = Vec::new();
    let mut snapshots: Vec<u64> = Vec::new();
    for name in &names {
        match name {
            Name::Segment(first) => segments.push(*first),
            Name::Snapshot(at) => snapshots.push(*at),
            _ => {}
        }
    }
    segments.sort_unstable();
    snapshots.sort_unstable();
    let mut damages = scrub_snapshots(disk, &snapshots);
    if names.contains(&Name::Epoch) {
        damages.extend(epoch::load(disk, None).err().map(|e| Damage::new("epoch", &e)));
    }
    let floor = snapshots.last().copied().unwrap_or(0);
    damages.extend(scrub_segments(disk, &segments, floor));
    if let Some(first) = segments.last() {
        let name = segment_name(*first);
        let checked = read_segment(disk, *first)
            .and_then(|(bytes, header)| find_end(&bytes, &header, &name, floor));
        damages.extend(checked.err().map(|e| Damage::new(&name, &e)));
    }
    Ok(damages)
}

fn read_segment(disk: &dyn Disk, first: u64) -> Result<(Vec<u8>, SegmentHeader), JournalError> {
    let name = segment_name(first);
    let bytes = read_all(disk, &name).map_err(|e| JournalError::io("read", &name, e))?;
    let header = SegmentHeader::decode(&bytes, &name, first, None)?;
    Ok((bytes, header))
}

/// Checks all segments but the last, which may be growing.
fn scrub_segments(disk: &dyn Disk, segments: &[u64], floor: u64) -> Vec<Damage> {
    let mut damages = Vec::new();
    for pair in segments.windows(2) {
        let name = segment_name(pair[0]);
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

fn scrub_snapshots(disk: &dyn Disk, snapshots: &[u64]) -> Vec<Damage> {
    let mut damages = Vec::new();
    for at in snapshots {
        match snapshot::verify(disk, *at, None) {
            Err(error) if !is_gone(&error) => {
                damages.push(Damage::new(&snapshot_name(*at), &error));
            }
            _ => {}
        }
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
        let mut damages = scrub_snapshots(disk, &snapshots);
        damages.extend(scrub_segments(disk, &segments, floor));
        damages
    }
}
