//! Writing a snapshot, on any thread, beside the running journal. A failure costs the snapshot and
//! nothing else.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::image::Image;
use crate::shared::Shared;
use crate::{JournalError, Owner, Position, carriage, trim};

/// How long `finish` waits for the journal to become durable up to the snapshot's position.
const DURABLE_WAIT: Duration = Duration::from_secs(30);

/// Takes the serialised state. Without [`finish`](Self::finish) nothing is kept.
#[derive(Debug)]
pub struct SnapshotWriter {
    at: u64,
    image: Image,
    running: Running,
    /// Who owned the journal when it was begun: on whose behalf it is carried.
    owner: Option<Owner>,
}

/// Only one snapshot at a time: this one, until it is dropped.
#[derive(Debug)]
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.snapshot_running.store(false, Ordering::Release);
    }
}

impl SnapshotWriter {
    pub(crate) fn begin(
        shared: Arc<Shared>,
        at: u64,
        epoch: u64,
        owner: Option<Owner>,
    ) -> Result<Self, JournalError> {
        if shared.snapshot_running.swap(true, Ordering::AcqRel) {
            return Err(JournalError::SnapshotBusy);
        }
        let running = Running(shared);
        let shared = &running.0;
        let image = Image::begin(Arc::clone(&shared.disk), shared.options.shard, at, epoch)?;
        Ok(Self { at, image, running, owner })
    }

    /// The position whose state this is.
    pub fn position(&self) -> Position {
        Position(self.at)
    }

    /// Makes the snapshot durable under its name, then removes what it makes superfluous: older
    /// snapshots and the segments before the oldest that is kept.
    ///
    /// Waits for the journal to be durable up to the position of the snapshot, and gives
    /// `SnapshotAhead` if it does not get there. After an error the journal is as before, except
    /// that the snapshot may be there too.
    ///
    /// A journal with a carrier has it carried as well, if its owner began it; after `Carrier` only
    /// the folder has it.
    pub fn finish(mut self) -> Result<Position, JournalError> {
        self.image.complete()?;
        self.await_journal()?;
        self.image.install()?;
        let shared = &self.running.0;
        shared.with_files(|files| {
            files.snapshots.retain(|known| *known != self.at);
            files.snapshots.push(self.at);
            files.snapshots.sort_unstable();
        });
        trim::run(shared);
        if let Some(owner) = self.owner {
            carriage::save(shared, owner, self.at, self.image.content_bytes())?;
        }
        Ok(Position(self.at))
    }

    fn await_journal(&self) -> Result<(), JournalError> {
        let shared = &self.running.0;
        if shared.durable() >= self.at {
            return Ok(());
        }
        if shared.options.threaded {
            let waited = shared.wait_until(self.at, Instant::now() + DURABLE_WAIT);
            if waited.is_ok() {
                return Ok(());
            }
        }
        let durable = Position(shared.durable());
        Err(JournalError::SnapshotAhead { at: Position(self.at), durable })
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.image.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.image.flush()
    }
}
