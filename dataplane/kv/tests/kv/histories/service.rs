//! What clients know: which pod the Service leads to. And what the judge knows: who else has been.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A pod that was primary, by its number, and the epoch it was so under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Primary {
    pub(crate) pod: usize,
    pub(crate) epoch: u64,
    pub(crate) port: u16,
}

#[derive(Debug)]
pub(crate) struct Service {
    begun: Instant,
    /// The one it leads to, and the one before.
    primaries: Mutex<[Primary; 2]>,
    /// The highest epoch that anybody was promoted under, or is about to be.
    granted: AtomicU64,
    /// The last epoch that a pod was told to follow.
    followed: Vec<AtomicU64>,
    pub(crate) is_over: AtomicBool,
    next: AtomicU64,
}

impl Service {
    pub(crate) fn new(pods: usize) -> Self {
        Self {
            begun: Instant::now(),
            primaries: Mutex::default(),
            granted: AtomicU64::new(0),
            followed: (0..pods).map(|_| AtomicU64::new(0)).collect(),
            is_over: AtomicBool::new(false),
            next: AtomicU64::new(1),
        }
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    /// A number nobody else has.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn primaries(&self) -> [Primary; 2] {
        *self.primaries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lead_to(&self, primary: Primary) {
        let mut primaries = self.primaries.lock().unwrap_or_else(PoisonError::into_inner);
        *primaries = [primary, primaries[0]];
    }

    /// Before anybody is promoted under it.
    pub(crate) fn grant(&self, epoch: u64) {
        self.granted.store(epoch, Ordering::SeqCst);
    }

    /// Before a pod hears that it follows.
    pub(crate) fn tell_to_follow(&self, pod: usize, epoch: u64) {
        self.followed[pod].store(epoch, Ordering::SeqCst);
    }

    /// Whether somebody else may have written by now.
    pub(crate) fn is_replaced(&self, primary: Primary) -> bool {
        self.granted.load(Ordering::SeqCst) > primary.epoch
    }

    /// Whether it may be a follower by now, whose reads promise nothing.
    pub(crate) fn follows(&self, primary: Primary) -> bool {
        self.followed[primary.pod].load(Ordering::SeqCst) > primary.epoch
    }
}
