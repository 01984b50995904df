//! From the folder of a partition to its state: snapshot, tail of the journal, ledger. Where the journal
//! is carried elsewhere the folder is a copy, and what is carried behind it follows.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orrery_carrying::{Caught, CopyError, begin_anew, catch_up, open_copy};
use orrery_journal::{Carrier, Entry, Journal, JournalError, Opened, Options, RealDisk, Recovery};

use super::image::{self, Image};
use crate::codec::Reader;
use crate::ledger::{Ledger, LedgerError};
use crate::machine::state::StateError;
use crate::machine::{Effect, State};

/// Size of a segment. A process has many journals, and two of each are prepared.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Kind of the records of turns.
pub(crate) const TURN: u8 = 1;

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
    #[error(transparent)]
    Copy(#[from] CopyError),
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

/// Where a partition keeps what it has.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) partition: u16,
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    fn ledger(&self) -> PathBuf {
        self.folder.join("ledger")
    }

    pub(crate) fn options(&self) -> Options {
        let shard = u32::from(self.partition);
        Options { shard, segment_bytes: SEGMENT_BYTES, ..Options::default() }
    }
}

/// Reads everything. The journal says what is true; the ledger is made again from where the snapshot
/// knew it.
pub fn recover(folder: &Path, partition: u16) -> Result<Recovered, RecoverError> {
    let place = Place { partition, folder: folder.to_owned() };
    let in_folder = |source| RecoverError::Folder { partition, source };
    std::fs::create_dir_all(folder).map_err(in_folder)?;
    let disk = RealDisk::new(place.journal()).map_err(in_folder)?;
    let opened = Journal::open(Arc::new(disk), place.options());
    read(&place, opened.map_err(|source| RecoverError::Journal { partition, source })?)
}

/// Reads what the copy holds, as far as it goes.
pub(crate) fn recover_copy(
    place: &Place,
    carrier: &Arc<dyn Carrier>,
) -> Result<Recovered, RecoverError> {
    let partition = place.partition;
    let made = std::fs::create_dir_all(&place.folder);
    made.map_err(|source| RecoverError::Folder { partition, source })?;
    read(place, open_copy(&place.journal(), place.options(), carrier)?)
}

/// Puts what is carried in the place of the copy, which is closed: it is too far behind.
pub(crate) fn recover_anew(
    place: &Place,
    carrier: &Arc<dyn Carrier>,
) -> Result<Recovered, RecoverError> {
    read(place, begin_anew(&place.journal(), place.options(), carrier)?)
}

fn read(place: &Place, opened: Opened) -> Result<Recovered, RecoverError> {
    let partition = place.partition;
    let of_journal = |source| RecoverError::Journal { partition, source };
    let of_ledger = |source| RecoverError::Ledger { partition, source };
    let Opened { journal, mut recovery } = opened;
    let snapshot_position = recovery.snapshot_position().0;
    let content = snapshot(&recovery, partition)?;
    let Image { state, ledger } = image::open(&content)
        .map_err(|source| RecoverError::Snapshot { partition, source: io::Error::other(source) })?;
    let state = match state {
        None => State::default(),
        Some(bytes) => State::from_snapshot(bytes).map_err(|source| RecoverError::State {
            partition,
            position: snapshot_position,
            source,
        })?,
    };
    if let Some((start, bytes)) = ledger {
        Ledger::complete(&place.ledger(), start, bytes).map_err(of_ledger)?;
    }
    let ledger = Ledger::open(&place.ledger(), state.ledger_end()).map_err(of_ledger)?;
    let mut recovered =
        Recovered { state, journal, ledger, snapshot_position, bytes_since: 0, last_ms: 0 };
    let mut entries = Vec::new();
    while let Some(record) = recovery.next_record().map_err(of_journal)? {
        recovered.apply(partition, &record, &mut entries)?;
    }
    Ok(recovered)
}

fn snapshot(recovery: &Recovery, partition: u16) -> Result<Vec<u8>, RecoverError> {
    let reader = recovery.snapshot();
    let reader = reader.map_err(|source| RecoverError::Journal { partition, source })?;
    let mut bytes = Vec::new();
    if let Some(mut reader) = reader {
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|source| RecoverError::Snapshot { partition, source })?;
    }
    Ok(bytes)
}

impl Recovered {
    /// Carries out a record that its journal has. `entries` is room that is used again.
    fn apply(
        &mut self,
        partition: u16,
        record: &Entry<'_>,
        entries: &mut Vec<u8>,
    ) -> Result<(), RecoverError> {
        let Self { state, ledger, last_ms, bytes_since, .. } = self;
        replay((state, ledger, last_ms, bytes_since), partition, record, entries)
    }

    /// Takes what is carried and not here.
    pub(crate) fn catch_up(
        &mut self,
        partition: u16,
        carrier: &dyn Carrier,
    ) -> Result<Caught, RecoverError> {
        let Self { state, ledger, last_ms, bytes_since, journal, .. } = self;
        let mut entries = Vec::new();
        catch_up(journal, carrier, |record| {
            let into = (&mut *state, &mut *ledger, &mut *last_ms, &mut *bytes_since);
            replay(into, partition, record, &mut entries)
        })
    }
}

/// What a record changes.
type Into<'a> = (&'a mut State, &'a mut Ledger, &'a mut i64, &'a mut u64);

fn replay(
    (state, ledger, last_ms, bytes_since): Into<'_>,
    partition: u16,
    record: &Entry<'_>,
    entries: &mut Vec<u8>,
) -> Result<(), RecoverError> {
    if record.kind != TURN {
        return Err(RecoverError::Kind { partition, kind: record.kind });
    }
    let position = record.position.0;
    let failed = |source| RecoverError::State { partition, position, source };
    *last_ms = record.time_us / 1000;
    let mut from = Reader::new(record.body);
    while !from.is_empty() {
        let effect = Effect::read(&mut from).map_err(|error| failed(error.into()))?;
        state.apply(*last_ms, &effect, entries).map_err(failed)?;
    }
    ledger.append(entries).map_err(|source| RecoverError::Ledger { partition, source })?;
    entries.clear();
    *bytes_since += record.body.len() as u64;
    Ok(())
}
