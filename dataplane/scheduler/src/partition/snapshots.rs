//! Snapshots of a partition: the state becomes bytes in its own thread, which takes milliseconds, and
//! another thread makes them durable.

use std::fs::File;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use orrery_journal::{JournalError, Position, SnapshotWriter};

use super::image;
use super::recover::Recovered;
use crate::ledger::LedgerView;

/// How a snapshot failed. The journal is as before.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("failed to write the ledger to disk: {0}")]
    Ledger(std::io::Error),
    #[error("failed to write the snapshot: {0}")]
    Write(std::io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the thread of the snapshot ended early")]
    Thread,
}

/// A snapshot on its way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) at: Position,
    thread: JoinHandle<Result<Position, SnapshotError>>,
}

impl Running {
    /// Writes the pieces of a state as the snapshot. What the ledger holds up to here must be on disk before the
    /// records go that it could be made again from; of a journal that is carried elsewhere a part of it
    /// goes along.
    pub(super) fn begin(
        writer: SnapshotWriter,
        state: Vec<Vec<u8>>,
        ledger: Option<Arc<File>>,
        carried: Option<LedgerView>,
    ) -> std::io::Result<Self> {
        let at = writer.position();
        let write = move || {
            if let Some(ledger) = ledger {
                ledger.sync_data().map_err(SnapshotError::Ledger)?;
            }
            let mut writer = writer;
            image::write(&mut writer, &state, carried.as_ref()).map_err(SnapshotError::Write)?;
            Ok(writer.finish()?)
        };
        let thread = thread::Builder::new().name("snapshot".into()).spawn(write)?;
        Ok(Self { at, thread })
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    pub(super) fn result(self) -> Result<Position, SnapshotError> {
        self.thread.join().unwrap_or(Err(SnapshotError::Thread))
    }
}

/// Writes a snapshot of a copy, so that its folder does not grow. One that fails is tried again after as
/// many records.
pub(crate) fn write_copy(partition: u16, recovered: &mut Recovered) {
    recovered.bytes_since = 0;
    let write = || -> Result<Position, SnapshotError> {
        let writer = recovered.journal.snapshot_writer(recovered.journal.last())?;
        let (state, ledger) = (recovered.state.to_snapshot(), recovered.ledger.last_file());
        Running::begin(writer, state, ledger, None).map_err(SnapshotError::Write)?.result()
    };
    match write() {
        Ok(position) => recovered.snapshot_position = position.0,
        Err(error) => tracing::warn!(partition, %error, "no snapshot of the copy"),
    }
}
