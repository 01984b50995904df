//! From the folder of a partition to its state: snapshot, tail of the journal, ledger.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use orrery_journal::{Journal, JournalError, Opened, Options, RealDisk};

use crate::codec::Reader;
use crate::ledger::{Ledger, LedgerError};
use crate::machine::state::StateError;
use crate::machine::{Effect, State};

/// Size of a segment. A process has many journals, and two of each are prepared.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Kind of the records of turns.
pub(super) const TURN: u8 = 1;

/// Why a partition cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("failed to use the folder of partition {partition}: {source}")]
    Folder { partition: u16, source: io::Error },
    #[error("failed to open the journal of partition {partition}: {source}")]
    Journal { partition: u16, source: JournalError },
    #[error("failed to read the snapshot of partition {partition}: {source}")]
    Snapshot { partition: u16, source: io::Error },
    #[error(
        "the journal of partition {partition} has a record of kind {kind}: a newer release wrote it"
    )]
    Kind { partition: u16, kind: u8 },
    #[error("partition {partition} at position {position}: {source}")]
    State { partition: u16, position: u64, source: StateError },
    #[error("the ledger of partition {partition}: {source}")]
    Ledger { partition: u16, source: LedgerError },
}

/// A partition as it was when it ended.
#[derive(Debug)]
pub struct Recovered {
    pub state: State,
    pub journal: Journal,
    pub ledger: Ledger,
    /// Position of the snapshot it began with, and bytes of records behind it.
    pub snapshot_position: u64,
    pub bytes_since: u64,
    /// When the newest record was made, in milliseconds; 0 without one.
    pub last_ms: i64,
}

/// Reads everything. The journal says what is true; the ledger is made again from where the snapshot
/// knew it.
pub fn recover(folder: &Path, partition: u16) -> Result<Recovered, RecoverError> {
    let in_folder = |source| RecoverError::Folder { partition, source };
    let of_journal = |source| RecoverError::Journal { partition, source };
    let of_ledger = |source| RecoverError::Ledger { partition, source };
    std::fs::create_dir_all(folder).map_err(in_folder)?;
    let disk = RealDisk::new(folder.join("journal")).map_err(in_folder)?;
    let options =
        Options { shard: u32::from(partition), segment_bytes: SEGMENT_BYTES, ..Options::default() };
    let Opened { journal, mut recovery } =
        Journal::open(Arc::new(disk), options).map_err(of_journal)?;
    let snapshot_position = recovery.snapshot_position().0;
    let mut state = State::default();
    if let Some(mut reader) = recovery.snapshot().map_err(of_journal)? {
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|source| RecoverError::Snapshot { partition, source })?;
        state = State::from_snapshot(&bytes).map_err(|source| RecoverError::State {
            partition,
            position: snapshot_position,
            source,
        })?;
    }
    let mut ledger = Ledger::open(&folder.join("ledger"), state.ledger_end()).map_err(of_ledger)?;
    let (mut bytes_since, mut last_ms) = (0, 0);
    let mut entries = Vec::new();
    while let Some(record) = recovery.next_record().map_err(of_journal)? {
        if record.kind != TURN {
            return Err(RecoverError::Kind { partition, kind: record.kind });
        }
        let position = record.position.0;
        let failed = |source| RecoverError::State { partition, position, source };
        last_ms = record.time_us / 1000;
        let mut from = Reader::new(record.body);
        while !from.is_empty() {
            let effect = Effect::read(&mut from).map_err(|error| failed(error.into()))?;
            state.apply(last_ms, &effect, &mut entries).map_err(failed)?;
        }
        ledger.append(&entries).map_err(of_ledger)?;
        entries.clear();
        bytes_since += record.body.len() as u64;
    }
    Ok(Recovered { state, journal, ledger, snapshot_position, bytes_since, last_ms })
}
