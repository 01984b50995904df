//! Snapshots: in pieces, whole only once the last piece is in.
//!
//! A snapshot is written as an attempt of its own; the statement that makes it whole checks that all
//! its pieces are there, under the lock of the journal. A new attempt ends those before it, so what
//! was begun and left does not pile up. What is no more wanted is marked first, then removed in small
//! batches, and no piece is added to what was marked.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_journal::carrier::{Saved, check_saved, in_pieces};
use orrery_journal::{CarrierError, Position};
use orrery_pg::{Param, durable};

use crate::CALL;
use crate::carrier::{Holder, Journal, look, refusal, signed, unprepared};
use crate::failure::{Failure, Link, Pool, value};

/// Content of one piece, in bytes.
const PIECE_BYTES: usize = 1 << 20;
/// How long one call removes old snapshots; the next one goes on.
const SWEEP: Duration = Duration::from_secs(3);

const BEGIN: &str = concat!(
    "WITH owner AS MATERIALIZED (
        SELECT id FROM orrery.journals WHERE name = $1 AND epoch = $2 AND token = $3",
    durable!("$7"),
    " FOR NO KEY UPDATE
    ), ended AS (
        UPDATE orrery.snapshots s SET state = 2 FROM owner
        WHERE s.journal = owner.id AND s.state = 0
    )
    INSERT INTO orrery.snapshots (journal, at, epoch, bytes)
    SELECT id, $4::bigint, $5::bigint, $6::bigint FROM owner RETURNING id"
);
/// A piece of an attempt that still counts; the same one again changes nothing.
const ADD: &str = "
    WITH attempt AS MATERIALIZED (
        SELECT id FROM orrery.snapshots WHERE id = $1 AND state = 0 FOR SHARE
    )
    INSERT INTO orrery.pieces (snapshot, number, crc, bytes)
    SELECT id, $2::integer, $3::bigint, $4::bytea FROM attempt
    ON CONFLICT (snapshot, number) DO UPDATE SET crc = excluded.crc, bytes = excluded.bytes";
const LOCK: &str = concat!(
    "SELECT id FROM orrery.journals WHERE name = $1 AND epoch = $2 AND token = $3",
    durable!("$4"),
    " FOR NO KEY UPDATE"
);
const REPLACE: &str = "UPDATE orrery.snapshots SET state = 2
    WHERE journal = $1 AND at = $2 AND state = 1 AND id <> $3";
/// Also when it is whole already: a second try must commit something, to wait for standbys.
const FINISH: &str = "UPDATE orrery.snapshots SET state = 1
    WHERE id = $1 AND state IN (0, 1)
        AND (SELECT count(*) FROM orrery.pieces WHERE snapshot = $1) = $2";
/// All but the two newest.
const RETIRE: &str = "UPDATE orrery.snapshots SET state = 2
    WHERE journal = $1 AND state = 1 AND at < (
        SELECT at FROM orrery.snapshots WHERE journal = $1 AND state = 1
        ORDER BY at DESC OFFSET 1 LIMIT 1
    )";
const REMOVE_PIECES: &str = "
    DELETE FROM orrery.pieces p USING (
        SELECT p.snapshot, p.number FROM orrery.snapshots s JOIN orrery.pieces p ON p.snapshot = s.id
        WHERE s.journal = $1 AND s.state = 2 LIMIT 16
    ) old WHERE p.snapshot = old.snapshot AND p.number = old.number";
const REMOVE: &str = "
    DELETE FROM orrery.snapshots s WHERE s.journal = $1 AND s.state = 2
        AND NOT EXISTS (SELECT FROM orrery.pieces WHERE snapshot = s.id)";
const WHOLE: &str = "
    SELECT s.id, s.bytes FROM orrery.journals j LEFT JOIN orrery.snapshots s
        ON s.journal = j.id AND s.at = $2 AND s.state = 1
    WHERE j.name = $1";
const PIECE: &str = "SELECT crc, bytes FROM orrery.pieces WHERE snapshot = $1 AND number = $2";

/// Number of pieces of a content.
fn pieces(bytes: u64) -> u64 {
    bytes.div_ceil(PIECE_BYTES as u64)
}

/// Binds a piece to its place.
fn checksum(snapshot: i64, number: i32, bytes: &[u8]) -> i64 {
    let seed = crc32c::crc32c(&snapshot.to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &number.to_le_bytes());
    i64::from(crc32c::crc32c_append(seed, bytes))
}

/// Writes a snapshot.
pub(crate) fn save(
    pool: &Pool,
    journal: &Journal,
    holder: Holder,
    saved: Saved,
    content: &mut dyn Read,
) -> Result<(), CarrierError> {
    let (at, epoch, bytes) = (signed(saved.at.0)?, signed(saved.epoch.0)?, signed(saved.bytes)?);
    if pieces(saved.bytes) > i32::MAX as u64 {
        return Err(CarrierError::Invalid("it is too long".to_owned()));
    }
    let Journal { name, needs_replication, .. } = journal;
    let (id, snapshot) = pool.run(CALL, async |link| {
        let found = look(link, journal).await?;
        check_saved(saved, found.carried.last.0)?;
        let params: [Param<'_>; 7] =
            [name, &holder.epoch, &holder.token, &at, &epoch, &bytes, needs_replication];
        match link.row(BEGIN, &params).await? {
            Some(row) => Ok((found.id, value::<i64>(&row, 0)?)),
            None => Err(refusal(&look(link, journal).await?, holder)),
        }
    })?;
    // Room for it first, which also ends what a call that broke off has left.
    sweep(pool, id);
    write(pool, journal, holder, snapshot, saved.bytes, content)?;
    pool.run(CALL, async |link| {
        link.begin().await?;
        let lock: [Param<'_>; 4] = [name, &holder.epoch, &holder.token, needs_replication];
        if link.row(LOCK, &lock).await?.is_none() {
            link.roll_back().await?;
            return Err(refusal(&look(link, journal).await?, holder));
        }
        link.execute(REPLACE, &[&id, &at, &snapshot]).await?;
        let count = pieces(saved.bytes) as i64;
        if link.execute(FINISH, &[&snapshot, &count]).await? != 1 {
            link.roll_back().await?;
            return Err(ended(link, journal, holder).await);
        }
        link.execute(RETIRE, &[&id]).await?;
        link.commit().await
    })?;
    sweep(pool, id);
    Ok(())
}

/// Why an attempt does not count any more.
async fn ended(link: &mut Link, journal: &Journal, holder: Holder) -> Failure {
    let failure = match look(link, journal).await {
        Ok(found) => refusal(&found, holder),
        Err(failure) => failure,
    };
    match failure {
        Failure::Answer(answer) => Failure::Answer(answer),
        _ => CarrierError::Unavailable { reason: "another snapshot was begun".to_owned() }.into(),
    }
}

/// Writes the pieces of an attempt.
fn write(
    pool: &Pool,
    journal: &Journal,
    holder: Holder,
    snapshot: i64,
    bytes: u64,
    content: &mut dyn Read,
) -> Result<(), CarrierError> {
    in_pieces(content, bytes, PIECE_BYTES, |number, piece| {
        let number = number as i32;
        let crc = checksum(snapshot, number, piece);
        pool.run(CALL, async |link| {
            match link.execute(ADD, &[&snapshot, &number, &crc, &piece]).await? {
                1 => Ok(()),
                _ => Err(ended(link, journal, holder).await),
            }
        })
    })
}

/// Removes what was marked, as far as time allows; what is left the next call removes.
pub(crate) fn sweep(pool: &Pool, journal: i64) {
    let started = Instant::now();
    while started.elapsed() < SWEEP {
        let removed = pool.run(SWEEP, async |link| {
            let pieces = link.execute(REMOVE_PIECES, &[&journal]).await?;
            Ok(pieces + link.execute(REMOVE, &[&journal]).await?)
        });
        match removed {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::info!(%error, "old snapshots are removed later");
                return;
            }
        }
    }
}

/// The content of a whole snapshot.
pub(crate) fn load(
    pool: &Arc<Pool>,
    journal: &Journal,
    at: Position,
) -> Result<Content, CarrierError> {
    let position = signed(at.0)?;
    let (snapshot, left) = pool.run(CALL, async |link| {
        let Some(row) = link.row(WHOLE, &[&journal.name, &position]).await? else {
            return Err(unprepared(journal));
        };
        match (value::<Option<i64>>(&row, 0)?, value::<Option<i64>>(&row, 1)?) {
            (Some(snapshot), Some(bytes)) => Ok((snapshot, bytes as u64)),
            _ => Err(CarrierError::NoSnapshot { at }.into()),
        }
    })?;
    let pool = Arc::clone(pool);
    Ok(Content { pool, at, snapshot, number: 0, left, piece: vec![], used: 0 })
}

/// Reads a snapshot piece by piece, and holds no connection in between.
#[derive(Debug)]
pub(crate) struct Content {
    pool: Arc<Pool>,
    at: Position,
    snapshot: i64,
    /// The next piece.
    number: i32,
    /// Bytes of it and of those behind it.
    left: u64,
    piece: Vec<u8>,
    /// How much of the piece was given.
    used: usize,
}

impl Content {
    fn fetch(&mut self) -> io::Result<()> {
        let (snapshot, number) = (self.snapshot, self.number);
        let row = self.pool.run(CALL, async |link| {
            let Some(row) = link.row(PIECE, &[&snapshot, &number]).await? else {
                return Ok(None);
            };
            Ok(Some((value::<i64>(&row, 0)?, value::<Vec<u8>>(&row, 1)?)))
        });
        let at = self.at;
        let failed = |reason: &str| io::Error::other(format!("the snapshot at {at} {reason}"));
        let Some((crc, piece)) = row.map_err(io::Error::other)? else {
            return Err(failed("was removed meanwhile"));
        };
        let wanted = self.left.min(PIECE_BYTES as u64);
        if piece.len() as u64 != wanted || crc != checksum(snapshot, number, &piece) {
            return Err(failed("is damaged"));
        }
        self.left -= wanted;
        self.number += 1;
        (self.piece, self.used) = (piece, 0);
        Ok(())
    }
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() && self.left > 0 {
            self.fetch()?;
        }
        let read = (&self.piece[self.used..]).read(into)?;
        self.used += read;
        Ok(read)
    }
}
