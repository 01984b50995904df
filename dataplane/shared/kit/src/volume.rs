//! Room on the volume of the data: said while there still is some.
//!
//! A volume without room refuses writes, so whoever can grow it is told before. Nothing is refused
//! for it here.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process;

/// Little room is left when less than this part of the volume is free,
const LOW_PART: u64 = 10;
/// and less than so many bytes: a tenth of a large volume is enough for long.
const LOW_BYTES: u64 = 2 << 30;

/// The volume that a folder is on.
#[derive(Debug)]
pub struct Volume {
    folder: PathBuf,
    /// Little room was left when it was looked at last.
    was_low: AtomicBool,
}

impl Volume {
    pub fn of(folder: PathBuf) -> Self {
        Self { folder, was_low: AtomicBool::new(false) }
    }

    /// Says how little room is left, if it is little. Once it was, a quarter more than that limit must be
    /// free before it is enough again, so that figures that go up and down do not change what is said.
    pub fn lack_of_room(&self) -> Option<String> {
        let (size, available) = process::volume_bytes(&self.folder)?;
        let is_low = is_low(size, available, self.was_low.load(Ordering::Relaxed));
        self.was_low.store(is_low, Ordering::Relaxed);
        // In steps: what is said becomes a condition, which is to change rarely.
        let percent = available * 100 / size.max(1);
        let size_mib = size >> 20;
        is_low.then(|| {
            format!(
                "{percent} % of the volume's {size_mib} MiB are left: writes are refused when there is none"
            )
        })
    }
}

fn is_low(size: u64, available: u64, was_low: bool) -> bool {
    let limit = (size / LOW_PART).min(LOW_BYTES);
    available < if was_low { limit + limit / 4 } else { limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_tenth_is_little_unless_it_is_much() {
        assert!(!is_low(10 * GIB, GIB, false));
        assert!(is_low(10 * GIB, GIB - 1, false));
        assert!(!is_low(1000 * GIB, 2 * GIB, false));
        assert!(is_low(1000 * GIB, 2 * GIB - 1, false));
        assert!(
            is_low(0, 0, true) == is_low(0, 0, false),
            "a volume that says nothing of its size"
        );
    }

    #[test]
    fn enough_is_more_than_what_was_too_little() {
        assert!(is_low(10 * GIB, GIB, true));
        assert!(is_low(10 * GIB, GIB + GIB / 4 - 1, true));
        assert!(!is_low(10 * GIB, GIB + GIB / 4, true));
    }
}
