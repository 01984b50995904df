//! Which line of the archive this process writes, and what it goes on from.
//!
//! A member of a group that was promoted begins a line of its own, under its epoch. Its journal has
//! the epoch of every record, and so has what was said of the line before; up to where these agree
//! the two have the same records, because an epoch has one writer and a writer never takes a
//! position twice.

use std::time::{Duration, Instant};

use orrery_archive::group::Record;
use orrery_archive::{Archive, FIRST_LINE, GroupName, Line, Piece, Stretch, View};
use orrery_journal::{Entry, Feed, JournalError, Position};

use super::WriteError;
use super::history::History;
use super::post::Mandate;
use super::writer::Source;

/// How long a record that is there may take.
const LOOK: Duration = Duration::from_secs(1);

/// The line to write; begins it when it is not there yet.
pub(crate) async fn open(
    source: &Source,
    archive: &Archive,
    feed: &Feed,
    mandate: &Mandate,
) -> Result<View, WriteError> {
    let newest = archive.lines().await?.last().copied();
    let epoch = mandate.epoch;
    let line = match newest {
        None if !source.is_grouped => return Ok(View::first()),
        Some(by) if by > epoch => return Err(WriteError::Superseded { by }),
        Some(same) if same == epoch => archive.line(epoch).await?,
        earlier => {
            let after = match earlier {
                Some(earlier) => shared(archive, earlier, mandate).await?,
                None => of_first(archive, feed, mandate).await?,
            };
            if after.is_empty() && !is_empty(archive).await? {
                return Err(WriteError::Unrelated);
            }
            let (member, begins) = (source.member.clone(), mandate.begins);
            let history = mandate.history.to_text();
            tracing::info!(epoch, begins, ?after, "a line of the archive begins");
            archive.begin_line(Line { epoch, member, begins, history, after }).await?
        }
    };
    if line.member != source.member {
        return Err(WriteError::Taken { epoch, member: line.member });
    }
    Ok(View::of(&line))
}

/// Whether a later line was begun meanwhile.
pub(crate) async fn check(archive: &Archive, line: u64) -> Result<(), WriteError> {
    match archive.lines().await?.last() {
        Some(by) if *by > line => Err(WriteError::Superseded { by: *by }),
        _ => Ok(()),
    }
}

/// What there is of the line before and of those that it goes on from.
async fn shared(
    archive: &Archive,
    earlier: u64,
    mandate: &Mandate,
) -> Result<Vec<Stretch>, WriteError> {
    let earlier = archive.line(earlier).await?;
    let unreadable = || WriteError::History { epoch: earlier.epoch };
    let mut theirs = History::from_text(&earlier.history).ok_or_else(unreadable)?;
    theirs.note(earlier.begins + 1, earlier.epoch);
    let mut mine = mandate.history.clone();
    mine.note(mandate.begins + 1, mandate.epoch);
    let until = mine.agrees_with(&theirs).min(mandate.begins);
    let behind = View::of(&earlier).pieces(names(archive.groups_behind(until).await?));
    if let Some(up_to) = behind.iter().map(|piece| piece.last).filter(|last| *last > until).max() {
        tracing::warn!(
            epoch = mandate.epoch,
            from = until + 1,
            up_to,
            "records of the line before are left behind: this journal does not have them"
        );
    }
    Ok(earlier.shared(until))
}

/// What there is without a line: of a time when the object had no followers.
async fn of_first(
    archive: &Archive,
    feed: &Feed,
    mandate: &Mandate,
) -> Result<Vec<Stretch>, WriteError> {
    let snapshots = View::first().snapshots(&archive.snapshots().await?);
    let base = snapshots.iter().map(|snapshot| snapshot.position).max().unwrap_or(0);
    let groups = names(archive.groups_behind(base.saturating_sub(1)).await?);
    let until = reached(base, &View::first().pieces(groups.clone())).min(mandate.begins);
    let stretch = Stretch { line: FIRST_LINE, until };
    if until == 0 {
        return Ok(vec![]);
    }
    let cut = |mut piece: Piece| {
        piece.last = piece.last.min(until);
        (piece.first <= piece.last).then_some(piece)
    };
    let pieces = View::first().pieces(groups).into_iter().filter_map(cut);
    same_history(archive, &pieces.collect::<Vec<_>>(), feed).await?;
    Ok(vec![stretch])
}

async fn is_empty(archive: &Archive) -> Result<bool, WriteError> {
    Ok(archive.snapshots().await?.is_empty() && archive.groups_behind(0).await?.is_empty())
}

fn names(groups: Vec<(GroupName, u64)>) -> Vec<GroupName> {
    groups.into_iter().map(|(name, _)| name).collect()
}

/// An entry of the journal as the archive keeps it.
pub(crate) fn record<'a>(entry: &Entry<'a>) -> Record<'a> {
    Record {
        position: entry.position.0,
        epoch: entry.epoch.0,
        time_us: entry.time_us,
        stream: entry.stream,
        kind: entry.kind,
        body: entry.body,
    }
}

/// The end of what follows on `base` without a gap.
pub(crate) fn reached(base: u64, pieces: &[Piece]) -> u64 {
    let next = |reached: u64, piece: &Piece| {
        if piece.first <= reached + 1 { reached.max(piece.last) } else { reached }
    };
    pieces.iter().fold(base, next)
}

/// Whether the last of these records is one of this journal, as far as that is still there.
pub(crate) async fn same_history(
    archive: &Archive,
    pieces: &[Piece],
    feed: &Feed,
) -> Result<(), WriteError> {
    let Some(last) = pieces.iter().max_by_key(|piece| piece.last) else { return Ok(()) };
    let (position, durable) = (last.last, feed.durable().0);
    if position > durable {
        return Err(WriteError::Ahead { archived: position, durable });
    }
    let mut tail = match feed.tail(Position(position - 1)) {
        Err(JournalError::Trimmed { .. }) => return Ok(()),
        tail => tail?,
    };
    let group = archive.group(last.name).await?;
    let theirs = group.records().find(|record| record.position == position);
    let Some(entry) = tail.next(Instant::now() + LOOK)? else { return Ok(()) };
    if theirs != Some(record(&entry)) {
        return Err(WriteError::Diverged { position });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_ends_before_its_first_gap() {
        let piece = |first, last| {
            Piece::from(GroupName { first, last, earliest_us: 0, latest_us: 0, line: 0 })
        };
        assert_eq!(reached(7, &[]), 7);
        assert_eq!(reached(0, &[piece(1, 10), piece(8, 9), piece(11, 20)]), 20);
        assert_eq!(reached(15, &[piece(11, 20), piece(31, 40)]), 20);
        assert_eq!(reached(15, &[piece(17, 20)]), 15);
    }
}
