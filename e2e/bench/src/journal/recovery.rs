//! Opening a journal and reading all its records, beside reading the same files and nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_journal::{Journal, JournalError, Opened, Options, RealDisk, Record};

use super::BODY;
use crate::measured::Begun;

/// Longest wait for a record to be durable.
const PATIENCE: Duration = Duration::from_mins(2);

/// Ours and the peer's, of each round, per GB of files. What is read is in the page cache.
#[derive(Default)]
pub struct Measured {
    pub seconds: Vec<(f64, f64)>,
    pub cpu_seconds: Vec<(f64, f64)>,
}

pub fn measure(folder: &Path, records: u64, rounds: usize) -> Result<Measured, String> {
    let folder = folder.join("recovery");
    write(&folder, records).map_err(|error| error.to_string())?;
    let mut measured = Measured::default();
    for _ in 0..rounds {
        let (read, ours) = timed(|| recover(&folder).map_err(|error| error.to_string()))?;
        if read != records {
            return Err(format!("{read} records were recovered of {records}"));
        }
        let (bytes, raw) = timed(|| read_raw(&folder).map_err(|error| error.to_string()))?;
        let per_gb = |taken: Duration| taken.as_secs_f64() * 1e9 / bytes as f64;
        measured.seconds.push((per_gb(ours.0), per_gb(raw.0)));
        measured.cpu_seconds.push((per_gb(ours.1), per_gb(raw.1)));
    }
    Ok(measured)
}

/// What `work` gives, how long it took, and how much CPU.
fn timed<T>(work: impl FnOnce() -> Result<T, String>) -> Result<(T, (Duration, Duration)), String> {
    let begun = Begun::now()?;
    let done = work()?;
    Ok((done, begun.taken()?))
}

fn open(folder: &Path) -> Result<Opened, JournalError> {
    let disk = RealDisk::new(folder).map_err(|source| JournalError::Io {
        action: "make",
        file: folder.display().to_string(),
        source: source.into(),
    })?;
    // Without files made ahead the folder has records and nothing else.
    Journal::open(Arc::new(disk), Options { preallocate: false, ..Options::default() })
}

fn write(folder: &Path, records: u64) -> Result<(), JournalError> {
    let mut journal = open(folder)?.journal;
    let record = Record { stream: 0, kind: 0, time_us: 0, body: &BODY };
    let mut done = 0;
    while done < records {
        match journal.append(record) {
            Ok(_) => done += 1,
            Err(JournalError::QueueFull { .. }) => {
                journal.flush();
                journal.wait_durable_until(journal.last(), Instant::now() + PATIENCE)?;
            }
            Err(error) => return Err(error),
        }
    }
    journal.close().map(|_| ())
}

fn recover(folder: &Path) -> Result<u64, JournalError> {
    let mut opened = open(folder)?;
    let mut records = 0;
    while opened.recovery.next_record()?.is_some() {
        records += 1;
    }
    Ok(records)
}

/// Bytes of the segments, each read whole.
fn read_raw(folder: &Path) -> std::io::Result<usize> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("segment-") {
            bytes += std::hint::black_box(std::fs::read(entry.path())?).len();
        }
    }
    Ok(bytes)
}
