//! What others see of an archive that is written: figures, and why it cannot be written now.
//!
//! Must not: be waited for. Whole values are stored now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Longest message about the archive: servers answer at length.
const TROUBLE_CHARACTERS_MAX: usize = 500;

/// One figure.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The figures of the archive of one journal.
#[derive(Debug, Default)]
pub struct Figures {
    /// Everything up to here is in the archive.
    pub archived_position: Figure,
    /// Durable records that are not in the archive.
    pub lag_records: Figure,
    /// Position of the newest snapshot there.
    pub snapshot_position: Figure,
    /// How much of the one that is being put is there, in percent; for who waits for it.
    pub copy_percent: Figure,
    /// Bytes of records and snapshots put since the process began.
    pub written_bytes: Figure,
    /// Attempts to archive that failed since the process began.
    pub failures: Figure,
    /// When something was put last, in seconds of Unix time; 0 before the first.
    pub put_at_s: Figure,
    /// When every durable record was there last, in seconds of Unix time; 0 before it was.
    pub whole_at_s: Figure,
    /// When this process began to archive, in seconds of Unix time.
    pub began_at_s: Figure,
    trouble: Mutex<String>,
}

impl Figures {
    /// The process archives from now on.
    pub(crate) fn begin(&self, now_s: u64) {
        if self.began_at_s.get() == 0 {
            self.began_at_s.set(now_s);
        }
    }

    /// Something was put.
    pub(crate) fn put(&self, bytes: u64, now_s: u64) {
        self.written_bytes.add(bytes);
        self.put_at_s.set(now_s);
    }

    /// How far the archive is behind what is durable, in records.
    pub(crate) fn set_lag(&self, records: u64, now_s: u64) {
        self.lag_records.set(records);
        if records == 0 {
            self.whole_at_s.set(now_s);
        }
    }

    /// How long there have been durable records that are not in the archive.
    pub fn lag_s(&self, now_s: u64) -> u64 {
        match (self.lag_records.get(), self.whole_at_s.get()) {
            (0, _) => 0,
            (_, 0) => now_s.saturating_sub(self.began_at_s.get()),
            (_, whole_at_s) => now_s.saturating_sub(whole_at_s),
        }
    }

    /// Why the archive cannot be written now; empty when it can.
    pub fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_trouble(&self, trouble: &str) {
        let end =
            trouble.char_indices().nth(TROUBLE_CHARACTERS_MAX).map_or(trouble.len(), |at| at.0);
        let trouble = &trouble[..end];
        let mut held = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *held != trouble {
            trouble.clone_into(&mut held);
        }
    }

    /// Somebody else archives: there is nothing to say of it here.
    pub(crate) fn clear(&self) {
        for figure in [
            &self.archived_position,
            &self.lag_records,
            &self.snapshot_position,
            &self.copy_percent,
            &self.whole_at_s,
            &self.began_at_s,
        ] {
            figure.set(0);
        }
        self.set_trouble("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_lags_from_when_it_was_whole_last() {
        let figures = Figures::default();
        assert_eq!(figures.lag_s(1000), 0);
        figures.begin(100);
        figures.begin(200);
        figures.set_lag(3, 110);
        assert_eq!(figures.lag_s(120), 20, "it was never whole");
        figures.put(50, 130);
        figures.set_lag(0, 130);
        assert_eq!((figures.lag_s(150), figures.put_at_s.get()), (0, 130));
        figures.set_lag(1, 160);
        figures.set_lag(2, 170);
        assert_eq!((figures.lag_s(170), figures.written_bytes.get()), (40, 50));
    }
}
