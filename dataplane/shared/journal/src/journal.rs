//! The journal as its owner holds it: one writer, no locks on the way of `append`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::carriage::Carriage;
use crate::carrier::{GROUP_BYTES_MAX, GROUP_HEADER_BYTES};
use crate::committer::{Committer, Turn};
use crate::format::{FRAME_ALIGN, PAGE_BYTES, SEGMENT_HEADER_BYTES, spare_name};
use crate::prepare::{Preparer, Spare};
use crate::recovery::{self, Found};
use crate::shared::Shared;
use crate::wait::WaitDurable;
use crate::{
    Carrier, Disk, Epoch, Feed, JournalError, Options, Owner, Position, RECORD_BYTES_MAX, Record,
    Recovery, Scrubber, SnapshotWriter, epoch, frame, trim,
};

/// Who turns the committer and the preparer.
#[derive(Debug)]
enum Crew {
    Threads(Vec<JoinHandle<()>>),
    Inline(Box<(Committer, Preparer)>),
    Gone,
}

/// A journal open for appending. Its folder is locked while it, a snapshot writer, a scrubber or a
/// waiter of it lives.
pub struct Journal {
    shared: Arc<Shared>,
    crew: Crew,
    /// Frames appended and not yet handed over.
    pending: Vec<u8>,
    /// Position of the last record appended.
    last: u64,
    /// Its epoch, or that of the segment it would lie in.
    last_epoch: u64,
    epoch: u64,
    /// On whose behalf records are carried.
    owner: Option<Owner>,
}

/// A journal and what it holds.
#[derive(Debug)]
pub struct Opened {
    /// Ready for appending; `durable` is already at the last record recovered.
    pub journal: Journal,
    /// The state to start from.
    pub recovery: Recovery,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("last", &self.last)
            .field("epoch", &self.epoch)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the folder of one shard whose records are carried by `carrier`, or makes it; a
    /// [`CopyWriter`](crate::CopyWriter) makes one that begins with a snapshot of the carrier. What the
    /// folder holds is a prefix of what is carried, and not more durable than a copy need be: after a
    /// loss of power it may be `Corrupt`, and is to be made again.
    ///
    /// Until [`own`](Self::own) records are taken as a follower's: they are carried already.
    pub fn open_carried(
        disk: Arc<dyn Disk>,
        options: Options,
        carrier: Arc<dyn Carrier>,
    ) -> Result<Opened, JournalError> {
        Self::open_with(disk, options, Some(Carriage::new(carrier)))
    }

    /// Opens the folder of one shard, or makes it. Refuses with `Corrupt` rather than forget
    /// anything that was durable, and with `Locked` if the folder is in use.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Opened, JournalError> {
        Self::open_with(disk, options, None)
    }

    fn open_with(
        disk: Arc<dyn Disk>,
        mut options: Options,
        carriage: Option<Carriage>,
    ) -> Result<Opened, JournalError> {
        let page = PAGE_BYTES as u64;
        let least = SEGMENT_HEADER_BYTES as u64 + page;
        options.segment_bytes = options.segment_bytes.next_multiple_of(page).max(least);
        let lock = disk.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => JournalError::Locked,
            _ => JournalError::io("lock", "the folder", error),
        })?;
        let found = recovery::recover(&disk, &options)?;
        let Found { files, spares, epoch, snapshot, last, last_epoch, active, marked } = found;
        let recovery =
            Recovery::new(Arc::clone(&disk), options.shard, snapshot, last, &files.segments);
        let shared = Arc::new(Shared::new(disk, options, carriage, lock, files, last, epoch));
        adopt_spares(&shared, &spares);
        if snapshot > 0 {
            trim::run(&shared);
        }
        let committer = Committer::new(Arc::clone(&shared), active, !marked, last_epoch);
        let preparer = Preparer::new(Arc::clone(&shared));
        let crew = if shared.options.threaded {
            start(&shared, committer, preparer)?
        } else {
            Crew::Inline(Box::new((committer, preparer)))
        };
        let journal =
            Self { shared, crew, pending: Vec::new(), last, last_epoch, epoch, owner: None };
        Ok(Opened { journal, recovery })
    }

    /// Copies a record into the pending group and gives the position it will have. Durable is it
    /// only once [`durable`](Self::durable) says so. After an error nothing has changed.
    pub fn append(&mut self, record: Record<'_>) -> Result<Position, JournalError> {
        self.append_under(Epoch(self.epoch), record)
    }

    /// As [`append`](Self::append), keeping the epoch of the leader whose record this is. It must
    /// lie between that of the record before and that of this journal, else it is `Fenced`.
    pub fn append_under(
        &mut self,
        epoch: Epoch,
        record: Record<'_>,
    ) -> Result<Position, JournalError> {
        self.check_open()?;
        let is_owners = self.owner.is_none_or(|owner| owner.epoch == epoch);
        if epoch.0 < self.last_epoch || epoch.0 > self.epoch || !is_owners {
            let held = if epoch.0 > self.epoch { self.epoch } else { self.last_epoch };
            return Err(JournalError::Fenced { held: Epoch(held), asked: epoch });
        }
        let bytes = record.body.len();
        if bytes > self.record_bytes_max() {
            return Err(JournalError::TooLarge { bytes });
        }
        let bytes = frame::frame_bytes(bytes);
        let queued_bytes = self.shared.waiting_bytes.load(Ordering::Acquire);
        if queued_bytes > 0 && queued_bytes + bytes > self.shared.options.queue_bytes_max {
            return Err(JournalError::QueueFull { queued_bytes });
        }
        frame::encode(&mut self.pending, self.last + 1, epoch.0, &record);
        self.shared.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.last += 1;
        self.last_epoch = epoch.0;
        Ok(Position(self.last))
    }

    /// Hands the pending group to the committer: once per turn of the owner's event loop.
    pub fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.shared.queue.put(&mut self.pending, self.last);
        }
    }

    /// Everything up to here is on disk.
    pub fn durable(&self) -> Position {
        Position(self.shared.durable())
    }

    /// The position of the record appended last.
    pub fn last(&self) -> Position {
        Position(self.last)
    }

    /// The position the next record will have.
    pub fn next_position(&self) -> Position {
        Position(self.last + 1)
    }

    /// Bytes appended and not yet durable.
    pub fn waiting_bytes(&self) -> usize {
        self.shared.waiting_bytes.load(Ordering::Acquire)
    }

    /// Why the journal takes no more records, if it does not. Records above `durable` then have an
    /// unknown fate: answer so, stop the process, and recover.
    pub fn failed(&self) -> Option<JournalError> {
        self.shared.failure()
    }

    /// Accepted records wait for room on the disk; `append` answers `DiskFull` meanwhile.
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Acquire)
    }

    /// The disk had no room to prepare the next segment: the current one is the last.
    pub fn space_low(&self) -> bool {
        self.shared.spares.space_low()
    }

    /// The largest body that [`append`](Self::append) takes.
    pub fn record_bytes_max(&self) -> usize {
        match self.shared.carriage {
            // Alone in its group.
            Some(_) => GROUP_BYTES_MAX - GROUP_HEADER_BYTES - frame::frame_bytes(0) - FRAME_ALIGN,
            None => RECORD_BYTES_MAX,
        }
    }

    /// Appends on behalf of `owner` from now on, who has taken the carrier over: everything that is
    /// carried must be here. Records count once they are carried. `Unsettled` while records wait.
    pub fn own(&mut self, owner: Owner) -> Result<(), JournalError> {
        self.settled()?;
        self.raise_epoch(owner.epoch)?;
        self.set_owner(Some(owner))
    }

    /// Takes records as a follower's from now on, which others carried. `Unsettled` while records
    /// wait: they may be carried or not, which the next process will see.
    pub fn disown(&mut self) -> Result<(), JournalError> {
        self.settled()?;
        self.set_owner(None)
    }

    fn settled(&self) -> Result<(), JournalError> {
        self.check_open()?;
        let (last, durable) = (self.last(), self.durable());
        if last == durable { Ok(()) } else { Err(JournalError::Unsettled { last, durable }) }
    }

    fn set_owner(&mut self, owner: Option<Owner>) -> Result<(), JournalError> {
        let carriage = self.shared.carriage.as_ref().ok_or(JournalError::NotCarried)?;
        carriage.set_owner(owner);
        self.owner = owner;
        Ok(())
    }

    /// On whose behalf records are carried.
    pub fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// What carries the records, if anything does.
    pub fn carrier(&self) -> Option<&Arc<dyn Carrier>> {
        self.shared.carriage.as_ref().map(|carriage| &carriage.carrier)
    }

    /// The carrier does not answer, and has not for a while. What was accepted waits.
    pub fn is_away(&self) -> bool {
        self.shared.carriage.as_ref().is_some_and(Carriage::is_away)
    }

    /// Calls `progress` from the committer after each sync, failure, or full disk: the place for an
    /// event loop's waker. Replaces the one before. It must not block.
    pub fn on_progress(&self, progress: Box<dyn Fn() + Send + Sync>) {
        self.shared.set_progress(Arc::from(progress));
    }

    /// A future that completes when `position` is durable.
    pub fn wait_durable(&self, position: Position) -> WaitDurable {
        WaitDurable::new(Arc::clone(&self.shared), position.0)
    }

    /// Blocks until `position` is durable or the deadline has passed.
    pub fn wait_durable_until(
        &self,
        position: Position,
        deadline: Instant,
    ) -> Result<Position, JournalError> {
        self.shared.wait_until(position.0, deadline)
    }

    /// Begins a snapshot of the state after the record `at`. Only one at a time.
    pub fn snapshot_writer(&self, at: Position) -> Result<SnapshotWriter, JournalError> {
        SnapshotWriter::begin(Arc::clone(&self.shared), at.0, self.epoch, self.owner)
    }

    /// The epoch of the records appended from now on.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// Raises the epoch, durably. A lower one is refused with `Fenced`; the same one changes
    /// nothing. After another error the epoch on disk may be either, and asking again is safe.
    pub fn raise_epoch(&mut self, epoch: Epoch) -> Result<(), JournalError> {
        if epoch.0 < self.epoch {
            return Err(JournalError::Fenced { held: Epoch(self.epoch), asked: epoch });
        }
        if epoch.0 > self.epoch {
            epoch::store(&*self.shared.disk, self.shared.options.shard, epoch.0)?;
            self.epoch = epoch.0;
            self.shared.epoch.store(epoch.0, Ordering::Release);
        }
        Ok(())
    }

    /// Checks sealed segments and snapshots while the journal runs.
    pub fn scrubber(&self) -> Scrubber {
        Scrubber { shared: Arc::clone(&self.shared) }
    }

    /// Reads snapshots and records beside the running journal, from any thread.
    pub fn feed(&self) -> Feed {
        Feed { shared: Arc::clone(&self.shared) }
    }

    /// One step of the committer or the preparer, for a journal without threads. `false` when there
    /// is nothing to do, or nothing that can be done.
    pub fn step(&mut self) -> bool {
        match &mut self.crew {
            Crew::Inline(crew) => crew.0.turn() == Turn::Committed || crew.1.turn(),
            Crew::Threads(_) | Crew::Gone => false,
        }
    }

    /// Commits everything appended and marks the end, so that damage to the last group will be
    /// told from a tear. Gives the last position, or why it is not durable.
    pub fn close(mut self) -> Result<Position, JournalError> {
        self.flush();
        if let Crew::Inline(crew) = &mut self.crew {
            while crew.0.turn() == Turn::Committed {}
            crew.0.mark();
        }
        self.dismiss();
        let position = Position(self.last);
        let reason = "the journal was closed".to_owned();
        self.shared.fate(self.last).unwrap_or(Err(JournalError::Unknown { position, reason }))
    }

    fn check_open(&self) -> Result<(), JournalError> {
        if let Some(error) = self.shared.failure() {
            return Err(JournalError::Failed { reason: error.chain() });
        }
        if self.is_full() {
            let file = "the segment".to_owned();
            return Err(JournalError::DiskFull { action: "write", file });
        }
        Ok(())
    }

    /// Lets the threads finish what was handed over, and ends them.
    fn dismiss(&mut self) {
        self.shared.queue.stop();
        self.shared.spares.stop();
        if let Crew::Threads(threads) = std::mem::replace(&mut self.crew, Crew::Gone) {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the journal panicked");
                }
            }
        }
        self.shared.close();
    }
}

impl Drop for Journal {
    /// Like [`close`](Journal::close), without what was not flushed; without threads, nothing.
    fn drop(&mut self) {
        if !matches!(self.crew, Crew::Gone) {
            self.dismiss();
        }
    }
}

/// Takes over spares of the right size from the process before, and removes the rest.
fn adopt_spares(shared: &Shared, numbers: &[u64]) {
    for number in numbers {
        shared.spares.seen(*number);
        let name = spare_name(*number);
        let opened = shared.disk.open(&name).and_then(|file| Ok((file.len()?, file)));
        match opened {
            Ok((bytes, file))
                if bytes == shared.options.segment_bytes
                    && shared.options.preallocate
                    && shared.spares.welcome() > 0 =>
            {
                shared.spares.put(Spare { name, file, bytes });
            }
            _ => crate::prepare::remove(&*shared.disk, &name),
        }
    }
}

fn start(shared: &Shared, committer: Committer, preparer: Preparer) -> Result<Crew, JournalError> {
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|e| {
            // The one already started must not outlive the attempt.
            shared.queue.stop();
            JournalError::io("start", "the journal's threads", e)
        })
    };
    Ok(Crew::Threads(vec![
        spawn("journal-commit", Box::new(move || committer.run()))?,
        spawn("journal-prepare", Box::new(move || preparer.run()))?,
    ]))
}
