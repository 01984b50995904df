//! Removing what a durable snapshot makes superfluous.
//!
//! Nothing here can lose data: recovery ignores every file below the oldest snapshot kept, whether
//! its removal came through or not. So failures are logged, and the next trim tries again.

use crate::format::{Name, segment_name, snapshot_name};
use crate::prepare::{Spare, remove};
use crate::shared::{Files, Shared};

/// Segments kept for readers below what recovery needs: at the usual size of a segment 1 GiB. Who
/// is further behind has to begin with a snapshot.
const HELD_SEGMENTS_MAX: usize = 16;

/// Forgets superfluous snapshots and segments; gives those segments. What a [`Tail`](crate::Tail)
/// still has to read stays, within a bound.
///
/// The journal keeps the tail of the oldest snapshot kept. While there are fewer snapshots than
/// are to be kept, the empty state before the first record counts as one.
fn forget(files: &mut Files, kept: usize) -> (u64, Vec<u64>) {
    let superfluous = files.snapshots.len().saturating_sub(kept);
    files.snapshots.drain(..superfluous);
    let whole = files.snapshots.len() >= kept;
    let floor = files.snapshots.first().copied().filter(|_| whole).unwrap_or(0);
    // A segment lies wholly at or below the floor if the next one begins at most one above it.
    let gone = files.segments.windows(2).take_while(|pair| pair[1] <= floor + 1).count();
    let read = files.tails.values().min().copied().unwrap_or(u64::MAX);
    let unread = files.segments.windows(2).take_while(|pair| pair[1] - 1 <= read).count();
    let gone = gone.min(unread.max(gone.saturating_sub(HELD_SEGMENTS_MAX)));
    (floor, files.segments.drain(..gone).collect())
}

/// Trims to the oldest snapshot kept.
pub(crate) fn run(shared: &Shared) {
    let kept = shared.options.snapshots_kept.max(1);
    let (floor, mut gone) = shared.with_files(|files| forget(files, kept));
    let names = shared.disk.list().unwrap_or_default();
    for name in &names {
        match Name::parse(name) {
            Name::Snapshot(at) if at < floor => remove(&*shared.disk, &snapshot_name(at)),
            // One that an earlier trim failed to remove.
            Name::Segment(first) if !gone.contains(&first) => {
                let known = shared.with_files(|files| {
                    files.segments.first().is_none_or(|lowest| first >= *lowest)
                });
                if !known {
                    gone.push(first);
                }
            }
            _ => {}
        }
    }
    let welcome = if shared.options.preallocate { shared.spares.welcome() } else { 0 };
    let mut recycled = Vec::new();
    for first in gone {
        let spare = (recycled.len() < welcome).then(|| recycle(shared, first)).flatten();
        match spare {
            Some(spare) => recycled.push(spare),
            None => remove(&*shared.disk, &segment_name(first)),
        }
    }
    if let Err(error) = shared.disk.sync_dir() {
        tracing::warn!(%error, "failed to sync the journal folder after a trim");
        return;
    }
    // Only now: a header written under the old name would look like damage after a crash.
    for spare in recycled {
        shared.spares.put(spare);
    }
    shared.spares.kick();
}

/// Makes a spare of a trimmed segment, if it has the size.
fn recycle(shared: &Shared, first: u64) -> Option<Spare> {
    let name = segment_name(first);
    let file = shared.disk.open(&name).ok()?;
    let bytes = file.len().ok().filter(|bytes| *bytes == shared.options.segment_bytes)?;
    let spare = shared.spares.new_name();
    shared.disk.rename(&name, &spare).ok()?;
    Some(Spare { name: spare, file, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(segments: &[u64], snapshots: &[u64]) -> Files {
        Files { segments: segments.to_vec(), snapshots: snapshots.to_vec(), ..Files::default() }
    }

    #[test]
    fn what_a_reader_still_needs_stays_within_a_bound() {
        let mut few = files(&[1, 11, 21, 31], &[40]);
        few.tails.insert(0, 15);
        assert_eq!(forget(&mut few, 1), (40, vec![1]));
        few.tails.insert(0, 20);
        assert_eq!(forget(&mut few, 1), (40, vec![11]));
        few.tails.clear();
        assert_eq!(forget(&mut few, 1), (40, vec![21]));
        let firsts: Vec<u64> = (0..30).map(|n| 1 + n * 10).collect();
        let mut many = files(&firsts, &[500]);
        many.tails.insert(0, 0);
        assert_eq!(forget(&mut many, 1).1.len(), 29 - HELD_SEGMENTS_MAX);
    }

    #[test]
    fn segments_wholly_at_or_below_the_snapshot_go() {
        let mut files = files(&[1, 11, 21], &[20]);
        assert_eq!(forget(&mut files, 1), (20, vec![1, 11]));
        assert_eq!(files.segments, [21]);
    }

    #[test]
    fn a_segment_with_one_record_above_the_snapshot_stays() {
        let mut files = files(&[1, 11, 21], &[19]);
        assert_eq!(forget(&mut files, 1), (19, vec![1]));
    }

    #[test]
    fn the_last_segment_always_stays() {
        let mut files = files(&[1], &[500]);
        assert_eq!(forget(&mut files, 1), (500, vec![]));
    }

    #[test]
    fn the_tail_of_the_oldest_kept_snapshot_stays() {
        let mut files = files(&[1, 11, 21, 31], &[5, 20, 30]);
        assert_eq!(forget(&mut files, 2), (20, vec![1, 11]));
        assert_eq!(files.snapshots, [20, 30]);
    }

    #[test]
    fn the_first_of_two_snapshots_to_keep_trims_nothing() {
        let mut files = files(&[1, 11, 21], &[20]);
        assert_eq!(forget(&mut files, 2), (0, vec![]));
    }
}
