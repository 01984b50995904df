//! The new journal that takes what is good.

use std::io;
use std::sync::Arc;

use super::SalvageError;
use super::source::Source;
use crate::{CopyWriter, Disk, Entry, Epoch, Journal, JournalError, Options, Position, Record};

/// Records are made durable in groups of about this size.
const GROUP_BYTES: usize = 4 << 20;

pub(super) struct Target {
    disk: Arc<dyn Disk>,
    options: Options,
    snapshot: u64,
    last: u64,
    journal: Option<Journal>,
}

impl Target {
    pub(super) fn new(disk: Arc<dyn Disk>, shard: u32, snapshot: u64) -> Self {
        // No thread of the journal, and no files made ahead for a future that it does not have here.
        let options = Options { shard, threaded: false, preallocate: false, ..Options::default() };
        Self { disk, options, snapshot, last: snapshot, journal: None }
    }

    /// The last record it holds.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Makes it with the snapshot, unless it is made. No record to come may be below `epoch`.
    pub(super) fn begin(&mut self, source: &Source<'_>, epoch: u64) -> Result<(), SalvageError> {
        if self.journal.is_some() {
            return Ok(());
        }
        let (disk, options) = (Arc::clone(&self.disk), self.options.clone());
        if self.snapshot > 0 {
            let mut from = source.reader(self.snapshot).map_err(SalvageError::Source)?;
            let at = Position(self.snapshot);
            let begun = CopyWriter::begin(Arc::clone(&disk), options.clone(), at, Epoch(epoch));
            let mut to = begun.map_err(SalvageError::Target)?;
            io::copy(&mut from, &mut to).map_err(|error| {
                SalvageError::Target(JournalError::io("copy", "the snapshot", error))
            })?;
            to.finish().map_err(SalvageError::Target)?;
        }
        let opened = Journal::open(disk, options).map_err(SalvageError::Target)?;
        self.journal = Some(opened.journal);
        Ok(())
    }

    pub(super) fn write(&mut self, entry: &Entry<'_>) -> Result<(), SalvageError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        if entry.epoch > journal.epoch() {
            journal.raise_epoch(entry.epoch).map_err(SalvageError::Target)?;
        }
        let Entry { stream, kind, time_us, body, .. } = *entry;
        if journal.waiting_bytes() + body.len() > GROUP_BYTES {
            settle(journal)?;
        }
        let written = journal.append_under(entry.epoch, Record { stream, kind, time_us, body });
        self.last = written.map_err(SalvageError::Target)?.0;
        Ok(())
    }

    /// Makes everything durable and closes it; gives its epoch.
    pub(super) fn finish(mut self, source: &mut Source<'_>) -> Result<u64, SalvageError> {
        self.begin(source, 0)?;
        let Some(mut journal) = self.journal else { return Ok(0) };
        let epoch = journal.epoch().0.max(source.epoch());
        journal.raise_epoch(Epoch(epoch)).map_err(SalvageError::Target)?;
        settle(&mut journal)?;
        journal.close().map_err(SalvageError::Target)?;
        Ok(epoch)
    }
}

fn settle(journal: &mut Journal) -> Result<(), SalvageError> {
    journal.flush();
    while journal.step() {}
    if journal.durable() == journal.last() {
        return Ok(());
    }
    let full =
        || JournalError::DiskFull { action: "write", file: "the salvaged journal".to_owned() };
    Err(SalvageError::Target(journal.failed().unwrap_or_else(full)))
}
