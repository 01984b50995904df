//! Our side: the journal as a data plane opens it.

use std::path::Path;
use std::sync::Arc;

use orrery_journal::{Journal, Options, RealDisk, Record};

use super::clients::Log;

pub struct Ours {
    journal: Journal,
}

impl Ours {
    pub fn open(folder: &Path) -> Result<Self, String> {
        let disk = RealDisk::new(folder).map_err(|error| error.to_string())?;
        let opened = Journal::open(Arc::new(disk), Options::default());
        let journal = opened.map_err(|error| error.to_string())?.journal;
        let server = std::thread::current();
        journal.on_progress(Box::new(move || server.unpark()));
        Ok(Self { journal })
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
}
