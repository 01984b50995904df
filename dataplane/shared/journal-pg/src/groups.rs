//! Groups of records: appending, reading, trimming.
//!
//! A group at a position either is there, which the primary key knows, or was trimmed, which the
//! locked row of the journal knows, or was never taken. So a statement that the server carries out
//! late, long after its client has given up, changes nothing that was decided meanwhile: it runs into
//! the key, the trimmed position or another owner.

use std::time::{Duration, Instant};

use orrery_journal::carrier::{GROUP_BYTES_MAX, check_group};
use orrery_journal::{CarrierError, Group, Position};
use orrery_pg::{Param, budget, durable};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::carrier::{Confirmed, Holder, Journal, barrier, look, refusal, signed, unprepared};
use crate::failure::{Failure, Link, Pool, value};
use crate::{CALL, snapshots};

/// How long one call removes what was trimmed; the next one goes on.
const SWEEP: Duration = Duration::from_secs(3);

/// The row of the journal is locked in its newest version, and checked in that. The last group is
/// that of the beginning of the statement; if there is a newer one, it stands where this one wants to
/// stand.
const APPEND: &str = concat!(
    "WITH owner AS MATERIALIZED (
        SELECT id FROM orrery.journals
        WHERE name = $1 AND epoch = $2 AND token = $3 AND trimmed < $4::bigint",
    durable!("$8"),
    " FOR NO KEY UPDATE
    )
    INSERT INTO orrery.groups (journal, first, last, epoch, bytes)
    SELECT owner.id, $4::bigint, $5::bigint, $6::bigint, $7::bytea FROM owner
    WHERE $4::bigint - 1 = coalesce((
        SELECT last FROM orrery.groups WHERE journal = owner.id ORDER BY first DESC LIMIT 1
    ), 0)"
);
/// Locks the row by writing it as it is: a commit that waits for standbys, and with it everything
/// that was committed before.
const LOCK: &str = concat!(
    "UPDATE orrery.journals SET epoch = epoch WHERE name = $1 AND epoch = $2 AND token = $3",
    durable!("$4"),
    " RETURNING id"
);
const TAKEN: &str = "SELECT
    (SELECT last FROM orrery.groups WHERE journal = $1 ORDER BY first DESC LIMIT 1),
    (SELECT last = $3 AND epoch = $4 AND bytes = $5::bytea FROM orrery.groups
        WHERE journal = $1 AND first = $2)";

/// Begins with the group that holds the record at `$2` or should hold it.
const READ: &str = "
    WITH start AS MATERIALIZED (
        SELECT j.id, j.trimmed, (
            SELECT first FROM orrery.groups WHERE journal = j.id AND first <= $2
            ORDER BY first DESC LIMIT 1
        ) AS first
        FROM orrery.journals j WHERE j.name = $1
    )
    SELECT s.trimmed, current_setting('synchronous_standby_names') <> '', g.first, g.last, g.bytes
    FROM start s LEFT JOIN LATERAL (
        SELECT first, last, bytes, octet_length(bytes) AS own,
            sum(octet_length(bytes)) OVER (ORDER BY first) AS total
        FROM (
            SELECT first, last, bytes FROM orrery.groups
            WHERE journal = s.id AND first >= coalesce(s.first, $2) AND last >= $2
            ORDER BY first LIMIT 1024
        ) candidate
    ) g ON g.total <= $3 OR g.total = g.own
    ORDER BY g.first";

/// Everything before the last group that begins at or before `$4`, so never the newest one.
const TRIM: &str = concat!(
    "UPDATE orrery.journals j SET trimmed = greatest(j.trimmed, coalesce((
        SELECT g.first - 1 FROM orrery.groups g WHERE g.journal = j.id AND g.first <= $4
        ORDER BY g.first DESC LIMIT 1
    ), 0))
    WHERE j.name = $1 AND j.epoch = $2 AND j.token = $3",
    durable!("$5"),
    " RETURNING j.id, j.trimmed"
);
/// A batch that locks and logs little: at most 500 groups, and beyond the first no more than 16 MiB.
const REMOVE: &str = "
    DELETE FROM orrery.groups WHERE journal = $1 AND first IN (
        SELECT first FROM (
            SELECT first, sum(octet_length(bytes)) OVER (ORDER BY first) - octet_length(bytes)
                AS before
            FROM (
                SELECT first, bytes FROM orrery.groups WHERE journal = $1 AND first <= $2
                ORDER BY first LIMIT 500
            ) candidate
        ) sized WHERE before < 16777216
    )";

/// Takes a group behind the last record.
pub(crate) fn append(
    pool: &Pool,
    journal: &Journal,
    holder: Holder,
    group: &Group,
) -> Result<(), CarrierError> {
    check_group(group)?;
    let (first, last) = (signed(group.first().0)?, signed(group.last().0)?);
    let epoch = signed(group.epoch().0)?;
    let bytes = group.bytes();
    pool.run(budget(bytes.len()), async |link| {
        let Journal { name, needs_replication, .. } = journal;
        let params: [Param<'_>; 8] =
            [name, &holder.epoch, &holder.token, &first, &last, &epoch, &bytes, needs_replication];
        match link.execute(APPEND, &params).await {
            Ok(1) => Ok(()),
            Ok(_) => find_out(link, journal, holder, group).await,
            Err(failure) if failure.is(&SqlState::UNIQUE_VIOLATION) => {
                find_out(link, journal, holder, group).await
            }
            Err(failure) => Err(failure),
        }
    })
}

/// Why a group was not inserted; no error if that is because it is there.
async fn find_out(
    link: &mut Link,
    journal: &Journal,
    holder: Holder,
    group: &Group,
) -> Result<(), Failure> {
    let Journal { name, needs_replication, .. } = journal;
    let (first, last) = (signed(group.first().0)?, signed(group.last().0)?);
    let epoch = signed(group.epoch().0)?;
    link.begin().await?;
    let lock: [Param<'_>; 4] = [name, &holder.epoch, &holder.token, needs_replication];
    let Some(row) = link.row(LOCK, &lock).await? else {
        link.roll_back().await?;
        return Err(refusal(&look(link, journal).await?, holder));
    };
    // With the lock, nothing of this journal is under way any more.
    let id: i64 = value(&row, 0)?;
    let row = link.row(TAKEN, &[&id, &first, &last, &epoch, &group.bytes()]).await?;
    link.commit().await?;
    let row = row.ok_or_else(|| Failure::Lost("an answer is missing".to_owned()))?;
    if value::<Option<bool>>(&row, 1)? == Some(true) {
        return Ok(());
    }
    let held = look(link, journal).await?.carried.last;
    if held.0 + 1 == group.first().0 {
        return Err(Failure::Lost("it was not taken, and now could be".to_owned()));
    }
    Err(CarrierError::OutOfPlace { last: held, first: group.first() }.into())
}

/// The groups behind `after`.
pub(crate) fn read(
    pool: &Pool,
    journal: &Journal,
    confirmed: &Confirmed,
    after: Position,
    bytes_max: usize,
) -> Result<Vec<Group>, CarrierError> {
    let next = signed(after.0.saturating_add(1).min(i64::MAX as u64))?;
    let bytes_max = bytes_max.min(GROUP_BYTES_MAX);
    pool.run(budget(bytes_max), async |link| {
        let rows = link.query(READ, &[&journal.name, &next, &(bytes_max as i64)]).await?;
        let Some(head) = rows.first() else {
            return Err(unprepared(journal));
        };
        let oldest = Position(value::<i64>(head, 0)? as u64 + 1);
        if after.0 + 1 < oldest.0 {
            return Err(CarrierError::Trimmed { after, oldest }.into());
        }
        let groups = check(&rows, journal.shard, after)?;
        if let Some(newest) = groups.last()
            && value(head, 1)?
            && !confirmed.has_record(newest.last())
        {
            barrier(link).await?;
            confirmed.raise(newest.last());
        }
        Ok(groups)
    })
}

/// Reads the groups of rows, which must follow each other.
fn check(rows: &[Row], shard: u32, after: Position) -> Result<Vec<Group>, Failure> {
    let mut groups: Vec<Group> = vec![];
    for row in rows {
        let Some(first) = value::<Option<i64>>(row, 2)? else {
            break;
        };
        let (first, last): (u64, i64) = (first as u64, value(row, 3)?);
        let corrupt = |position, reason: &str| CarrierError::Corrupt {
            position: Position(position),
            reason: reason.to_owned(),
        };
        let follows = match groups.last() {
            None => first <= after.0 + 1,
            Some(before) => first == before.last().0 + 1,
        };
        if !follows {
            let missing = groups.last().map_or(after, Group::last).0 + 1;
            return Err(corrupt(missing, "the group of this record is missing").into());
        }
        let group = Group::open(value(row, 4)?, shard, Position(first))?;
        if group.last().0 != last as u64 {
            return Err(corrupt(first, "the row says another last position than the group").into());
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Declares groups trimmed, and removes what was, as far as time allows.
pub(crate) fn trim(
    pool: &Pool,
    journal: &Journal,
    holder: Holder,
    upto: Position,
) -> Result<(), CarrierError> {
    let next = signed(upto.0.saturating_add(1).min(i64::MAX as u64))?;
    let Journal { name, needs_replication, .. } = journal;
    let (id, trimmed) = pool.run(CALL, async |link| {
        let params: [Param<'_>; 5] = [name, &holder.epoch, &holder.token, &next, needs_replication];
        match link.row(TRIM, &params).await? {
            Some(row) => Ok((value::<i64>(&row, 0)?, value::<i64>(&row, 1)?)),
            None => Err(refusal(&look(link, journal).await?, holder)),
        }
    })?;
    // It is trimmed; that rows are removed later does no harm.
    let started = Instant::now();
    while started.elapsed() < SWEEP {
        match pool.run(SWEEP, async |link| link.execute(REMOVE, &[&id, &trimmed]).await) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                tracing::info!(%error, "trimmed groups are removed later");
                return Ok(());
            }
        }
    }
    snapshots::sweep(pool, id);
    Ok(())
}
