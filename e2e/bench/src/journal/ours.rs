//! Our side: the journal as a data plane opens it, on this disk or carried elsewhere.

use std::path::Path;
use std::sync::Arc;

use orrery_journal::{
    Carrier, Epoch, Journal, Opened, Options, Owner, RealDisk, Record, SnapshotWriter,
};

use super::clients::Log;

pub struct Ours {
    journal: Journal,
}

impl Ours {
    pub fn open(folder: &Path) -> Result<Self, String> {
        let disk = RealDisk::new(folder).map_err(|error| error.to_string())?;
        let opened = Journal::open(Arc::new(disk), Options::default());
        Ok(Self::of(opened.map_err(|error| error.to_string())?))
    }

    /// The first owner of a shard whose journal is carried by `carrier`, which holds nothing yet.
    pub fn open_carried(folder: &Path, carrier: Arc<dyn Carrier>) -> Result<Self, String> {
        let owner = Owner { epoch: Epoch(1), token: 1 };
        carrier.prepare().map_err(|error| error.to_string())?;
        carrier.take_over(owner).map_err(|error| error.to_string())?;
        let disk = RealDisk::new(folder).map_err(|error| error.to_string())?;
        let opened = Journal::open_carried(Arc::new(disk), Options::default(), carrier);
        let mut ours = Self::of(opened.map_err(|error| error.to_string())?);
        ours.journal.own(owner).map_err(|error| error.to_string())?;
        Ok(ours)
    }

    fn of(opened: Opened) -> Self {
        let server = std::thread::current();
        opened.journal.on_progress(Box::new(move || server.unpark()));
        Self { journal: opened.journal }
    }
}

impl Log for Ours {
    fn append(&mut self, body: &[u8]) -> Result<u64, String> {
        let record = Record { stream: 0, kind: 0, time_us: 0, body };
        self.journal.append(record).map(|position| position.0).map_err(|error| error.to_string())
    }

    fn flush(&mut self) {
        self.journal.flush();
    }

    fn durable(&self) -> Result<u64, String> {
        match self.journal.failed() {
            Some(error) => Err(error.to_string()),
            None => Ok(self.journal.durable().0),
        }
    }

    /// A snapshot, as data planes make one now and then: the segments before it are written again, as
    /// the peer writes its file again.
    fn trim(&mut self) -> Result<(), String> {
        let writer = self.journal.snapshot_writer(self.journal.durable());
        let finished = writer.and_then(SnapshotWriter::finish);
        finished.map(drop).map_err(|error| error.to_string())
    }
}
