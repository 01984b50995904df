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
    trouble: Mutex<String>,
}

impl Figures {
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
        ] {
            figure.set(0);
        }
        self.set_trouble("");
    }
}
