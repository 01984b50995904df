//! Which objects lead to a moment: from names alone.

use crate::{ArchiveError, GroupName, SnapshotName};

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
    /// Records behind it without a gap. The first group may begin at or before the snapshot, and
    /// groups may overlap: a record that was applied is skipped.
    pub groups: Vec<GroupName>,
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

/// The way to `target`. `groups`: at least those behind the [`base`].
///
/// The record of a moment lies in the last group that holds any such time. A snapshot serves if it
/// is not behind it: its position may be inside that group, in which case the reader, who alone
/// sees the single times, must find the record behind the snapshot.
pub fn plan(
    snapshots: &[SnapshotName],
    groups: &[GroupName],
    target: Target,
) -> Result<Plan, ArchiveError> {
    let mut all = groups.to_vec();
    all.sort_unstable();
    let earliest_us = earliest(snapshots, &all).ok_or(ArchiveError::Empty)?;
    let snapshot = base(snapshots, target);
    let mut kept = all.clone();
    match target {
        Target::Newest => {}
        Target::Time(target_us) => {
            let last = kept.iter().rposition(|group| group.earliest_us <= target_us);
            kept.truncate(last.map_or(0, |last| last + 1));
            if snapshot.is_none() && kept.is_empty() {
                return Err(ArchiveError::BeforeAll { target_us, earliest_us });
            }
        }
        Target::Position(position) => kept.retain(|group| group.first <= position),
    }
    let base = snapshot.map_or(0, |snapshot| snapshot.position);
    kept.retain(|group| group.last > base);
    let mut reached = base;
    for group in &kept {
        if group.first > reached + 1 {
            return Err(match snapshot {
                None if reached == 0 => ArchiveError::NoBase { first: group.first },
                _ => ArchiveError::Gap { first: reached + 1, last: group.first - 1 },
            });
        }
        reached = reached.max(group.last);
    }
    let later = later(snapshots, &all, reached);
    match (target, later) {
        (Target::Position(target), Some(later)) if reached < target => {
            Err(ArchiveError::Gap { first: reached + 1, last: later - 1 })
        }
        (Target::Position(target), None) if reached < target => {
            Err(ArchiveError::BehindAll { target, last: reached })
        }
        // Whether a missing record is before the moment, nobody knows; unless the one is there
        // already that is behind it.
        (Target::Time(target_us), Some(later))
            if later > reached + 1
                && kept.last().is_none_or(|group| group.latest_us <= target_us) =>
        {
            Err(ArchiveError::Gap { first: reached + 1, last: later - 1 })
        }
        _ => Ok(Plan { snapshot, groups: kept }),
    }
}

/// The earliest moment that anything tells of.
fn earliest(snapshots: &[SnapshotName], groups: &[GroupName]) -> Option<i64> {
    let snapshots = snapshots.iter().map(|snapshot| snapshot.time_us);
    snapshots.chain(groups.iter().map(|group| group.earliest_us)).min()
}

/// The first position behind `reached` that anything tells of: `reached + 1` unless there is a gap.
fn later(snapshots: &[SnapshotName], groups: &[GroupName], reached: u64) -> Option<u64> {
    let groups = groups.iter().filter(|group| group.last > reached);
    let records = groups.map(|group| group.first.max(reached + 1));
    // A snapshot of a position is behind the record there.
    let images = snapshots.iter().map(|snapshot| snapshot.position.saturating_add(1));
    records.chain(images.filter(|first| *first > reached + 1)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(first: u64, last: u64) -> GroupName {
        // The record of position n has the time 10 n.
        let (earliest_us, latest_us) = (first as i64 * 10, last as i64 * 10);
        GroupName { first, last, earliest_us, latest_us }
    }

    fn snapshot(position: u64) -> SnapshotName {
        SnapshotName { position, time_us: position as i64 * 10 + 5 }
    }

    #[test]
    fn without_a_target_it_is_the_newest_snapshot_and_all_behind_it() {
        let groups = [group(1, 10), group(11, 20), group(21, 30)];
        let plan = plan(&[snapshot(5), snapshot(15)], &groups, Target::Newest).expect("a way");
        assert_eq!(plan.snapshot, Some(snapshot(15)));
        assert_eq!(plan.groups, groups[1..]);
    }

    #[test]
    fn a_target_takes_the_snapshot_before_it_and_the_group_that_holds_it() {
        let groups = [group(1, 10), group(11, 20), group(21, 30)];
        let snapshots = [snapshot(5), snapshot(25)];
        let plan = |target| plan(&snapshots, &groups, Target::Time(target)).expect("a way");
        assert_eq!(plan(54).snapshot, None);
        assert_eq!(plan(54).groups, groups[..1]);
        assert_eq!(plan(150).snapshot, Some(snapshot(5)));
        assert_eq!(plan(150).groups, groups[..2]);
        assert_eq!(plan(260).snapshot, Some(snapshot(25)));
        assert_eq!(plan(260).groups, groups[2..]);
        assert_eq!(plan(i64::MAX).groups, groups[2..]);
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
        let ahead = GroupName { earliest_us: 9_000, latest_us: 9_100, ..group(11, 20) };
        let groups = [group(1, 10), ahead, group(21, 30)];
        assert_eq!(plan(&[], &groups, Target::Time(250)).expect("a way").groups, groups);
    }

    #[test]
    fn a_position_is_reached_exactly_or_refused() {
        let groups = [group(1, 10), group(11, 20), group(31, 40)];
        let snapshots = [snapshot(5), snapshot(15)];
        let plan = |position| plan(&snapshots, &groups, Target::Position(position));
        assert_eq!(plan(4).expect("a way").groups, groups[..1]);
        assert_eq!(
            plan(15).expect("a way"),
            Plan { snapshot: Some(snapshot(15)), groups: vec![groups[1]] }
        );
        assert_eq!(plan(20).expect("a way").groups, groups[1..2]);
        assert!(matches!(plan(25), Err(ArchiveError::Gap { first: 21, last: 30 })));
        assert!(matches!(plan(35), Err(ArchiveError::Gap { first: 21, last: 30 })));
        let whole = [group(1, 10)];
        let behind = super::plan(&[], &whole, Target::Position(11)).expect_err("it is not there");
        assert!(matches!(behind, ArchiveError::BehindAll { target: 11, last: 10 }), "{behind}");
    }

    #[test]
    fn what_a_window_needs_begins_with_the_last_snapshot_before_it() {
        let snapshots = [snapshot(5), snapshot(15), snapshot(25)];
        assert_eq!(base(&snapshots, Target::Time(54)), None);
        assert_eq!(base(&snapshots, Target::Time(200)), Some(snapshot(15)));
        assert_eq!(base(&snapshots, Target::Time(i64::MAX)), Some(snapshot(25)));
    }
}
