//! Which objects lead to a moment: from names alone.

use crate::{ArchiveError, Piece, SnapshotName};

/// Where a way back ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The last record there is.
    Newest,
    /// The last record whose time is at most this, in microseconds since the Unix epoch.
    Time(i64),
    /// This very record.
    Position(u64),
}

/// What to fetch, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The image to begin with; `None` = the empty state.
    pub snapshot: Option<SnapshotName>,
    /// Records behind it, each position once and without a gap.
    pub pieces: Vec<Piece>,
}

/// The snapshot that a way back begins with. A snapshot may hold everything up to its own time, so
/// it serves moments from then on only.
pub fn base(snapshots: &[SnapshotName], target: Target) -> Option<SnapshotName> {
    let serves = |snapshot: &&SnapshotName| match target {
        Target::Newest => true,
        Target::Time(target_us) => snapshot.time_us <= target_us,
        Target::Position(position) => snapshot.position <= position,
    };
    snapshots.iter().filter(serves).max().copied()
}

/// The way to `target` on one line. `pieces`: at least those behind the [`base`].
///
/// The record of a moment lies in the last piece that holds any such time, as far as names tell; the
/// reader, who alone sees the single times, looks for it from the end.
pub fn plan(
    snapshots: &[SnapshotName],
    pieces: &[Piece],
    target: Target,
) -> Result<Plan, ArchiveError> {
    let mut all = pieces.to_vec();
    all.sort_unstable();
    let earliest_us = earliest(snapshots, &all).ok_or(ArchiveError::Empty)?;
    let snapshot = base(snapshots, target);
    let mut kept = all.clone();
    match target {
        Target::Newest => {}
        Target::Time(target_us) => {
            let last = kept.iter().rposition(|piece| piece.name.earliest_us <= target_us);
            kept.truncate(last.map_or(0, |last| last + 1));
            if snapshot.is_none() && kept.is_empty() {
                return Err(ArchiveError::BeforeAll { target_us, earliest_us });
            }
        }
        Target::Position(position) => kept.retain(|piece| piece.first <= position),
    }
    let base = snapshot.map_or(0, |snapshot| snapshot.position);
    let (mut reached, mut pieces) = (base, vec![]);
    for piece in kept {
        if piece.last <= reached {
            continue;
        }
        if piece.first > reached + 1 {
            return Err(match snapshot {
                None if reached == 0 => ArchiveError::NoBase { first: piece.first },
                _ => ArchiveError::Gap { first: reached + 1, last: piece.first - 1 },
            });
        }
        pieces.push(Piece { first: reached + 1, ..piece });
        reached = piece.last;
    }
    let later = later(snapshots, &all, reached);
    // A record of a later moment proves that what is missing behind it is later still.
    let is_behind = |target_us: i64| {
        pieces.iter().filter_map(Piece::latest_us).any(|latest_us| latest_us > target_us)
    };
    match (target, later) {
        (Target::Position(target), Some(later)) if reached < target => {
            Err(ArchiveError::Gap { first: reached + 1, last: later - 1 })
        }
        (Target::Position(target), None) if reached < target => {
            Err(ArchiveError::BehindAll { target, last: reached })
        }
        (Target::Time(target_us), Some(later)) if later > reached + 1 && !is_behind(target_us) => {
            Err(ArchiveError::Gap { first: reached + 1, last: later - 1 })
        }
        _ => Ok(Plan { snapshot, pieces }),
    }
}

/// The earliest moment that anything tells of.
fn earliest(snapshots: &[SnapshotName], pieces: &[Piece]) -> Option<i64> {
    let snapshots = snapshots.iter().map(|snapshot| snapshot.time_us);
    snapshots.chain(pieces.iter().map(|piece| piece.name.earliest_us)).min()
}

/// The first position behind `reached` that anything tells of: `reached + 1` unless there is a gap.
fn later(snapshots: &[SnapshotName], pieces: &[Piece], reached: u64) -> Option<u64> {
    let pieces = pieces.iter().filter(|piece| piece.last > reached);
    let records = pieces.map(|piece| piece.first.max(reached + 1));
    // A snapshot of a position is behind the record there.
    let images = snapshots.iter().map(|snapshot| snapshot.position.saturating_add(1));
    records.chain(images.filter(|first| *first > reached + 1)).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupName;

    fn group(first: u64, last: u64) -> Piece {
        // The record of position n has the time 10 n.
        let (earliest_us, latest_us) = (first as i64 * 10, last as i64 * 10);
        GroupName { first, last, earliest_us, latest_us, line: 0 }.into()
    }

    /// The same objects, from `first` on.
    fn from(first: u64, pieces: &[Piece]) -> Vec<Piece> {
        let mut pieces = pieces.to_vec();
        pieces[0].first = first;
        pieces
    }

    fn snapshot(position: u64) -> SnapshotName {
        SnapshotName { position, time_us: position as i64 * 10 + 5, line: 0 }
    }

    #[test]
    fn without_a_target_it_is_the_newest_snapshot_and_all_behind_it() {
        let groups = [group(1, 10), group(11, 20), group(21, 30)];
        let plan = plan(&[snapshot(5), snapshot(15)], &groups, Target::Newest).expect("a way");
        assert_eq!(plan.snapshot, Some(snapshot(15)));
        assert_eq!(plan.pieces, from(16, &groups[1..]));
    }

    #[test]
    fn a_target_takes_the_snapshot_before_it_and_the_group_that_holds_it() {
        let groups = [group(1, 10), group(11, 20), group(21, 30)];
        let snapshots = [snapshot(5), snapshot(25)];
        let plan = |target| plan(&snapshots, &groups, Target::Time(target)).expect("a way");
        assert_eq!(plan(54).snapshot, None);
        assert_eq!(plan(54).pieces, groups[..1]);
        assert_eq!(plan(150).snapshot, Some(snapshot(5)));
        assert_eq!(plan(150).pieces, from(6, &groups[..2]));
        assert_eq!(plan(260).snapshot, Some(snapshot(25)));
        assert_eq!(plan(260).pieces, from(26, &groups[2..]));
        assert_eq!(plan(i64::MAX).pieces, from(26, &groups[2..]));
    }

    #[test]
    fn gaps_are_refused_where_they_matter_and_only_there() {
        let groups = [group(1, 10), group(21, 30)];
        let gap = plan(&[], &groups, Target::Newest).expect_err("11 to 20 are missing");
        assert!(matches!(gap, ArchiveError::Gap { first: 11, last: 20 }), "{gap}");
        assert!(plan(&[snapshot(20)], &groups, Target::Newest).is_ok());
        assert!(plan(&[], &groups, Target::Time(99)).is_ok());
        // The record 11 may be of the moment 100 as well, or of 209.
        for target_us in [100, 150, 209] {
            let gap = plan(&[snapshot(25)], &groups, Target::Time(target_us));
            assert!(matches!(gap, Err(ArchiveError::Gap { first: 11, last: 20 })), "{gap:?}");
        }
        // What a snapshot tells of is there once.
        let before = plan(&[snapshot(25)], &groups[..1], Target::Time(150));
        assert!(matches!(before, Err(ArchiveError::Gap { first: 11, last: 25 })), "{before:?}");
        let none = plan(&[], &groups[1..], Target::Newest).expect_err("no base");
        assert!(matches!(none, ArchiveError::NoBase { first: 21 }), "{none}");
    }

    #[test]
    fn a_moment_before_everything_and_an_empty_archive_are_refused() {
        let early = plan(&[snapshot(5)], &[group(1, 10)], Target::Time(9)).expect_err("too early");
        assert!(matches!(early, ArchiveError::BeforeAll { earliest_us: 10, .. }), "{early}");
        assert!(matches!(plan(&[], &[], Target::Newest), Err(ArchiveError::Empty)));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_hide_later_records() {
        let name = GroupName { earliest_us: 9_000, latest_us: 9_100, ..group(11, 20).name };
        let ahead = Piece::from(name);
        let groups = [group(1, 10), ahead, group(21, 30)];
        assert_eq!(plan(&[], &groups, Target::Time(250)).expect("a way").pieces, groups);
    }

    #[test]
    fn a_position_is_reached_exactly_or_refused() {
        let groups = [group(1, 10), group(11, 20), group(31, 40)];
        let snapshots = [snapshot(5), snapshot(15)];
        let plan = |position| plan(&snapshots, &groups, Target::Position(position));
        assert_eq!(plan(4).expect("a way").pieces, groups[..1]);
        assert_eq!(
            plan(15).expect("a way"),
            Plan { snapshot: Some(snapshot(15)), pieces: from(16, &groups[1..2]) }
        );
        assert_eq!(plan(20).expect("a way").pieces, from(16, &groups[1..2]));
        assert!(matches!(plan(25), Err(ArchiveError::Gap { first: 21, last: 30 })));
        assert!(matches!(plan(35), Err(ArchiveError::Gap { first: 21, last: 30 })));
        let whole = [group(1, 10)];
        let behind = super::plan(&[], &whole, Target::Position(11)).expect_err("it is not there");
        assert!(matches!(behind, ArchiveError::BehindAll { target: 11, last: 10 }), "{behind}");
    }

    #[test]
    fn of_objects_that_overlap_each_position_is_taken_once() {
        let groups = [group(1, 20), group(11, 30), group(15, 18), group(31, 40)];
        let pieces = plan(&[], &groups, Target::Newest).expect("a way").pieces;
        let covered: Vec<_> = pieces.iter().map(|piece| (piece.first, piece.last)).collect();
        assert_eq!(covered, [(1, 20), (21, 30), (31, 40)]);
    }

    #[test]
    fn what_does_not_belong_to_the_line_proves_nothing_about_what_is_missing() {
        // The object goes up to 20, the line up to 12.
        let cut = Piece { last: 12, ..group(1, 20) };
        let groups = [cut, group(16, 30)];
        for target_us in [120, 125, 159] {
            let gap = plan(&[], &groups, Target::Time(target_us));
            assert!(matches!(gap, Err(ArchiveError::Gap { first: 13, last: 15 })), "{gap:?}");
        }
    }

    #[test]
    fn what_a_window_needs_begins_with_the_last_snapshot_before_it() {
        let snapshots = [snapshot(5), snapshot(15), snapshot(25)];
        assert_eq!(base(&snapshots, Target::Time(54)), None);
        assert_eq!(base(&snapshots, Target::Time(200)), Some(snapshot(15)));
        assert_eq!(base(&snapshots, Target::Time(i64::MAX)), Some(snapshot(25)));
    }
}
