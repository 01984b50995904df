//! One connection to an archive: where it ends, what goes there next, what may go away.
//!
//! A session ends with its first failure, and the next one begins with a listing, so it keeps
//! nothing that would have to survive. Records go on while an image is copied. What was trimmed
//! before it was archived is a gap, and is closed by the journal's newest snapshot.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use orrery_archive::group::Builder;
use orrery_archive::{Archive, Piece, SnapshotName, Target, base};
use orrery_blob::Store;
use orrery_journal::{Feed, JournalError, Position, SnapshotReader, Tail};
use orrery_kit::env::{Env, SystemEnv};

use super::line::{self, reached, record, same_history};
use super::post::Mandate;
use super::writer::Source;
use super::{WriteError, ownership};

/// Bytes of records after which a group is put at once.
const GROUP_BYTES: usize = 8 << 20;
/// How long a turn waits for a record.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked whether records are safe from failovers.
const SAFE_LOOK: Duration = Duration::from_millis(5);
/// Read of a snapshot at once.
const PIECE_BYTES: usize = 1 << 20;
/// The newest snapshot is at most so old while there are records behind it: so a way back stays
/// short on a service that writes little.
const SNAPSHOT_AGE: Duration = Duration::from_hours(24);
/// With a retention it is at most this part of it old, so that what is over can go away.
const RETENTION_PART: u32 = 4;
/// Pause between two calls for a snapshot that did not come.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Objects removed per turn: records must not wait for long.
const REMOVED_PER_TURN: usize = 10;
/// Pause after a removal that failed.
const REMOVE_AGAIN: Duration = Duration::from_mins(1);

pub(crate) struct Session<'a> {
    source: &'a Source,
    feed: &'a Feed,
    mandate: &'a Mandate,
    archive: Archive,
    /// The epoch in the names of what is put.
    line: u64,
    tail: Tail,
    builder: Builder,
    /// When the oldest record at hand has waited long enough.
    due: Option<Instant>,
    /// Everything up to here is in the archive.
    archived: u64,
    /// What is before `archived` leads there without a gap.
    is_whole: bool,
    /// A group was put, or there was nothing to put.
    is_proven: bool,
    snapshots: Vec<SnapshotName>,
    /// Size of the newest image there.
    image_bytes: u64,
    /// Bytes of records behind it.
    bytes_behind: u64,
    /// The time of the oldest record behind it, or of itself.
    since_us: i64,
    /// When a snapshot was asked for last.
    asked: Option<Instant>,
    /// Nothing before this position is wanted.
    begins: u64,
    /// What is to be removed, the next one last.
    doomed: Vec<String>,
    remove_from: Instant,
}

impl<'a> Session<'a> {
    /// Connects, and finds where the archive ends.
    pub(crate) async fn begin(
        source: &'a Source,
        feed: &'a Feed,
        mandate: &'a Mandate,
    ) -> Result<Session<'a>, WriteError> {
        // What is said of a line counts for ever, so the journal must have it for ever.
        while feed.durable().0 < mandate.begins {
            tokio::time::sleep(SAFE_LOOK).await;
        }
        let config = &source.config;
        let archive = ownership::claim(source, Store::create(&config.to, &config.access)?).await?;
        let view = line::open(source, &archive, feed, mandate).await?;
        let snapshots = view.snapshots(&archive.snapshots().await?);
        let newest = snapshots.iter().max().copied();
        let base = newest.map_or(0, |snapshot| snapshot.position);
        // The one that ends with it as well: its last record proves whose history this is.
        let groups = archive.groups_behind(base.saturating_sub(1)).await?;
        let pieces = view.pieces(groups.iter().map(|(name, _)| *name));
        let belongs = |name| pieces.iter().any(|piece: &Piece| piece.name == name);
        let groups: Vec<_> = groups.into_iter().filter(|(name, _)| belongs(*name)).collect();
        let image_bytes = match newest {
            Some(newest) => archive.manifest(newest).await?.bytes(),
            None => 0,
        };
        same_history(&archive, &pieces, feed).await?;
        let (archived, durable) = (reached(base, &pieces), feed.durable().0);
        if archived > durable {
            return Err(WriteError::Ahead { archived, durable });
        }
        source.figures.copy_percent.set(0);
        let (tail, archived, missing) = match feed.tail(Position(archived)) {
            Err(JournalError::Trimmed { .. }) => {
                let none = || WriteError::Snapshot(io::ErrorKind::NotFound.into());
                let reader = feed.snapshot()?.ok_or_else(none)?;
                let at = reader.position();
                tracing::warn!(
                    archived,
                    snapshot = at.0,
                    "records in between are no longer in the journal: the archive goes on with a \
                     snapshot"
                );
                (feed.tail(at)?, at.0, Some(reader))
            }
            tail => (tail?, archived, None),
        };
        let earliest_us = groups.iter().map(|(name, _)| name.earliest_us).min();
        let now = Instant::now();
        let mut session = Self {
            source,
            feed,
            mandate,
            archive,
            line: view.line(),
            tail,
            builder: Builder::of(view.line()),
            due: None,
            archived,
            is_whole: missing.is_none(),
            is_proven: archived >= durable,
            snapshots,
            image_bytes,
            bytes_behind: groups.iter().map(|(_, bytes)| bytes).sum(),
            since_us: newest.map(|newest| newest.time_us).or(earliest_us).unwrap_or_else(now_us),
            asked: None,
            begins: 0,
            doomed: vec![],
            remove_from: now,
        };
        session.publish();
        if let Some(reader) = missing {
            session.copy_snapshot(reader).await?;
        }
        session.publish();
        Ok(session)
    }

    pub(crate) fn archived(&self) -> u64 {
        self.archived
    }

    /// Waits for a record for a moment, and does what is due.
    pub(crate) async fn turn(&mut self) -> Result<(), WriteError> {
        let is_at_end = !self.read(Instant::now() + LOOK)?;
        self.put_if_due(is_at_end).await?;
        self.publish();
        if self.source.wishes.is_ending() {
            return Ok(());
        }
        self.look_after_snapshots().await?;
        self.remove_some().await;
        if self.is_proven {
            self.source.figures.set_trouble("");
        }
        Ok(())
    }

    /// Takes the next record if there is one by `deadline`.
    fn read(&mut self, deadline: Instant) -> Result<bool, WriteError> {
        while self.tail.last().0 >= self.mandate.safe() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(SAFE_LOOK);
        }
        let Some(entry) = self.tail.next(deadline)? else { return Ok(false) };
        let taken = self.builder.push(&record(&entry));
        debug_assert!(taken, "a tail gives one position after the other");
        Ok(true)
    }

    async fn put_if_due(&mut self, is_at_end: bool) -> Result<(), WriteError> {
        let Some(last) = self.builder.last() else { return Ok(()) };
        let now = Instant::now();
        let due = *self.due.get_or_insert(now + self.source.config.interval);
        let wished = self.source.wishes.records().max(self.mandate.records());
        let is_wished = wished > self.archived && (is_at_end || last >= wished);
        let is_full = self.builder.is_full() || self.builder.bytes() >= GROUP_BYTES;
        if !(is_full || is_wished || now >= due) {
            return Ok(());
        }
        if let Some((name, object)) = self.builder.take() {
            let bytes = object.len() as u64;
            self.archive.put_group(name, object).await?;
            (self.archived, self.due, self.is_proven) = (name.last, None, true);
            self.bytes_behind += bytes;
            self.source.figures.put(bytes, now_s());
            self.publish();
        }
        Ok(())
    }

    /// Position of the newest snapshot there.
    fn newest(&self) -> u64 {
        self.snapshots.iter().map(|snapshot| snapshot.position).max().unwrap_or(0)
    }

    fn publish(&self) {
        let figures = &self.source.figures;
        if self.is_whole {
            figures.archived_position.set(self.archived);
            let snapshot = self.newest();
            figures.snapshot_position.set(snapshot);
            self.mandate.set_snapshot(snapshot, self.line);
            self.mandate.set_archived(self.archived);
        }
        let archived = figures.archived_position.get();
        figures.set_lag(self.feed.durable().0.saturating_sub(archived), now_s());
    }

    /// Puts the journal's newest snapshot when that is worth its room, and asks for one when the
    /// archive has waited for too long.
    async fn look_after_snapshots(&mut self) -> Result<(), WriteError> {
        let there = self.newest();
        if self.archived <= there {
            return Ok(());
        }
        let config = &self.source.config;
        let of_retention = config.retention.map(|retention| retention / RETENTION_PART);
        let age = of_retention.map_or(SNAPSHOT_AGE, |part| part.min(SNAPSHOT_AGE));
        let is_old = now_us().saturating_sub(self.since_us) > age.as_micros() as i64;
        let worth = config.snapshot_after_bytes.max(self.image_bytes);
        let is_wished = self.mandate.wished() > there;
        let newest = self.source.engine.snapshot_position();
        if newest > there && newest <= self.archived {
            if is_old || is_wished || self.bytes_behind >= worth {
                return self.put_snapshot(there).await;
            }
        } else if is_old && newest <= there && self.asked.is_none_or(|at| at.elapsed() > ASK_AGAIN)
        {
            self.asked = Some(Instant::now());
            self.source.engine.ask_for_snapshot();
        }
        Ok(())
    }

    async fn put_snapshot(&mut self, there: u64) -> Result<(), WriteError> {
        let Some(reader) = self.feed.snapshot()? else { return Ok(()) };
        let position = reader.position().0;
        if position <= there || position > self.archived {
            return Ok(());
        }
        self.copy_snapshot(reader).await
    }

    /// Copies an image, and archives the records that come meanwhile.
    async fn copy_snapshot(&mut self, mut from: SnapshotReader) -> Result<(), WriteError> {
        let position = from.position().0;
        while position > self.mandate.safe() {
            tokio::time::sleep(SAFE_LOOK).await;
        }
        let (time_us, epoch) = self.bounds(position)?;
        let name = SnapshotName { position, time_us, line: self.line };
        let figures = &self.source.figures;
        let total = from.file_bytes().map_err(WriteError::Snapshot)?.max(1);
        let mut to = self.archive.begin_snapshot(name, epoch);
        let mut piece = vec![0; PIECE_BYTES];
        let mut done = 0;
        self.bytes_behind = 0;
        loop {
            let read = from.read(&mut piece).map_err(WriteError::Snapshot)?;
            if read == 0 {
                break;
            }
            to.write(&piece[..read]).await?;
            done += read as u64;
            figures.copy_percent.set((done * 100 / total).min(99));
            self.pass_on().await?;
            if self.source.wishes.is_ending() {
                return Ok(());
            }
        }
        let manifest = to.finish().await?;
        // Who asked for it must not hear of one that leads nowhere.
        line::check(&self.archive, self.line).await?;
        self.image_bytes = manifest.bytes();
        self.snapshots.push(name);
        (self.since_us, self.asked, self.is_whole) = (time_us, None, true);
        figures.copy_percent.set(0);
        figures.put(self.image_bytes, now_s());
        self.publish();
        tracing::info!(position, bytes = self.image_bytes, "snapshot archived");
        Ok(())
    }

    /// Archives what has become durable meanwhile, up to a group of it.
    async fn pass_on(&mut self) -> Result<(), WriteError> {
        let mut bytes = 0;
        while bytes < GROUP_BYTES {
            let before = self.builder.bytes();
            let is_at_end = !self.read(Instant::now())?;
            bytes += self.builder.bytes() - before;
            self.put_if_due(is_at_end).await?;
            if is_at_end {
                break;
            }
        }
        Ok(())
    }

    /// Time and epoch of the record behind `position`: no later one has a lower epoch, and what is
    /// before it is not younger. Without such a record, now and the epoch in force.
    fn bounds(&self, position: u64) -> Result<(i64, u64), WriteError> {
        if self.feed.durable().0 > position {
            let mut tail = self.feed.tail(Position(position))?;
            if let Some(entry) = tail.next(Instant::now() + LOOK)? {
                return Ok((entry.time_us, entry.epoch.0));
            }
        }
        Ok((now_us(), self.source.engine.epoch().max(self.mandate.epoch)))
    }

    /// Removes what no moment within the retention needs. A failure costs room and nothing else.
    async fn remove_some(&mut self) {
        let Some(retention) = self.source.config.retention else { return };
        if Instant::now() < self.remove_from {
            return;
        }
        if let Err(error) = self.try_remove(retention).await {
            tracing::warn!(%error, "failed to remove what is over from the archive");
            self.remove_from = Instant::now() + REMOVE_AGAIN;
        }
    }

    async fn try_remove(&mut self, retention: Duration) -> Result<(), WriteError> {
        if self.doomed.is_empty() {
            let oldest_us = now_us().saturating_sub(retention.as_micros() as i64);
            let base = base(&self.snapshots, Target::Time(oldest_us));
            let begins = base.map_or(0, |base| base.position);
            if begins <= self.begins {
                return Ok(());
            }
            let doomed = self.archive.needless_before(begins).await?;
            // After the listing: what a later writer put is not in it.
            line::check(&self.archive, self.line).await?;
            self.doomed = doomed;
            self.doomed.reverse();
            self.begins = begins;
            self.snapshots.retain(|snapshot| snapshot.position >= begins);
            if !self.doomed.is_empty() {
                tracing::info!(objects = self.doomed.len(), begins, "the archive begins later");
            }
        }
        for _ in 0..REMOVED_PER_TURN {
            let Some(name) = self.doomed.last() else { break };
            self.archive.remove(name).await?;
            self.doomed.pop();
        }
        Ok(())
    }
}

/// Seconds of Unix time.
pub(crate) fn now_s() -> u64 {
    u64::try_from(now_us() / 1_000_000).unwrap_or(0)
}

fn now_us() -> i64 {
    SystemEnv::default().wall_us()
}
