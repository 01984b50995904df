//! What this process is: alone, the owner, standing by, or fenced.
//!
//! Must not: block anybody. Threads that wait for a change wait here.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Lease;

/// A place in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It launches: there is nobody else, or it owns the journals.
    Owner,
    /// It keeps copies and waits.
    Standby,
    /// It owned them and does not any more: it ends.
    Fenced,
}

/// What is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) stand: Stand,
    /// The epoch it owns the journals under, or of the owner it was told of; 0 for none.
    pub(crate) epoch: u64,
    /// The highest epoch it has heard of.
    pub(crate) known: u64,
    /// The highest epoch whose owner left in order.
    pub(crate) left: u64,
    /// Where the owner it was told of is.
    pub(crate) owner: Option<String>,
    /// It has all that is carried, but the tail.
    pub(crate) is_warm: bool,
    pub(crate) is_taking_over: bool,
}

/// What came of a promotion that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promotion {
    Done,
    UnderWay,
    /// Another owner has this epoch or a later one.
    Fenced(u64),
}

#[derive(Debug)]
struct Inner {
    stand: Stand,
    /// The epoch of the ownership; 0 without one.
    epoch: u64,
    /// A promotion that was asked for.
    asked: Option<u64>,
    /// Epochs below are refused.
    known: u64,
    /// Epochs up to here are used up.
    held: u64,
    left: u64,
    follows: Option<(u64, String)>,
    is_warm: bool,
    ends: bool,
}

/// Shared by the operator's side, the API, and the threads that stand by or own.
#[derive(Debug)]
pub struct Standing {
    inner: Mutex<Inner>,
    changed: Condvar,
    is_grouped: bool,
    pub(crate) lease: Arc<Lease>,
}

impl Standing {
    /// Of a process that is alone: it owns what it has from the beginning.
    pub fn alone() -> Self {
        Self::new(Stand::Owner, false, Lease::default())
    }

    /// Of a process that is told what it is to be.
    pub fn grouped() -> Self {
        Self::new(Stand::Standby, true, Lease::unconfirmed())
    }

    fn new(stand: Stand, is_grouped: bool, lease: Lease) -> Self {
        let inner = Inner {
            stand,
            epoch: 0,
            asked: None,
            known: 0,
            held: 0,
            left: 0,
            follows: None,
            is_warm: false,
            ends: false,
        };
        Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            is_grouped,
            lease: Arc::new(lease),
        }
    }

    pub(crate) fn is_grouped(&self) -> bool {
        self.is_grouped
    }

    /// Whether clients are served here.
    pub(crate) fn is_owner(&self) -> bool {
        self.lock().stand == Stand::Owner
    }

    pub(crate) fn said(&self) -> Said {
        let inner = self.lock();
        let followed = inner.follows.as_ref().map_or(0, |(epoch, _)| *epoch);
        Said {
            stand: inner.stand,
            epoch: if inner.stand == Stand::Standby { followed } else { inner.epoch },
            known: inner.known.max(inner.held),
            left: inner.left,
            owner: inner.follows.as_ref().map(|(_, address)| address.clone()),
            is_warm: inner.is_warm,
            is_taking_over: inner.asked.is_some(),
        }
    }

    /// Asks for a take-over under `epoch`; asked again, says how it stands.
    pub(crate) fn promote(&self, epoch: u64) -> Promotion {
        let mut inner = self.lock();
        match inner.stand {
            Stand::Owner if inner.epoch == epoch => return Promotion::Done,
            Stand::Owner | Stand::Fenced => {
                return Promotion::Fenced(inner.known.max(inner.held).max(inner.epoch));
            }
            Stand::Standby => {}
        }
        if epoch < inner.known || (epoch <= inner.held && inner.asked != Some(epoch)) {
            return Promotion::Fenced(inner.known.max(inner.held));
        }
        if inner.asked.is_none_or(|asked| asked < epoch) {
            inner.asked = Some(epoch);
            inner.known = epoch;
            self.changed.notify_all();
        }
        Promotion::UnderWay
    }

    /// Epochs below are refused. An owner of one of them launches and sends nothing more; true for it.
    pub(crate) fn fence(&self, epoch: u64) -> bool {
        let mut inner = self.lock();
        inner.known = inner.known.max(epoch);
        if inner.asked.is_some_and(|asked| asked < epoch) {
            inner.asked = None;
        }
        let is_over = self.is_grouped && inner.stand == Stand::Owner && inner.epoch < epoch;
        if is_over {
            tracing::warn!(epoch = inner.epoch, known = epoch, "fenced");
            self.lease.revoke();
            inner.stand = Stand::Fenced;
            self.changed.notify_all();
        }
        is_over
    }

    /// Told of an owner; the epoch that is known where that one is of the past.
    pub(crate) fn follow(&self, epoch: u64, address: String) -> Result<(), u64> {
        let mut inner = self.lock();
        let known = inner.known.max(inner.held);
        if epoch < known || inner.stand != Stand::Standby {
            return Err(known);
        }
        inner.known = epoch;
        inner.follows = Some((epoch, address));
        Ok(())
    }

    /// What the seat says.
    pub(super) fn seen(&self, held: u64, left: u64, is_warm: bool) {
        let mut inner = self.lock();
        inner.held = inner.held.max(held);
        inner.left = inner.left.max(left);
        inner.is_warm = is_warm;
    }

    /// The take-over under `epoch` came too late: `held` has it.
    pub(super) fn refused(&self, epoch: u64, held: u64) {
        let mut inner = self.lock();
        inner.held = inner.held.max(held);
        if inner.asked == Some(epoch) {
            inner.asked = None;
        }
    }

    /// It owns everything now, unless a later epoch was heard of meanwhile.
    pub(crate) fn owns(&self, epoch: u64) -> bool {
        let mut inner = self.lock();
        if inner.known > epoch || inner.ends {
            inner.stand = Stand::Fenced;
            return false;
        }
        (inner.stand, inner.epoch, inner.asked) = (Stand::Owner, epoch, None);
        (inner.held, inner.follows) = (epoch, None);
        true
    }

    /// The process is to end.
    pub(crate) fn end(&self) {
        self.lock().ends = true;
        self.changed.notify_all();
    }

    pub(super) fn ends(&self) -> bool {
        self.lock().ends
    }

    /// The epoch of a promotion that was asked for, at once or within this time.
    pub(super) fn asked(&self, within: Duration) -> Option<u64> {
        let until = Instant::now() + within;
        let mut inner = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if inner.asked.is_some() || inner.ends || left.is_zero() {
                return inner.asked;
            }
            let waited = self.changed.wait_timeout(inner, left);
            (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until it is no owner any more, is to end, or the time is over; false for the last.
    pub(crate) fn is_over_within(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut inner = self.lock();
        loop {
            if inner.ends || inner.stand != Stand::Owner {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(inner, left);
            (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The value is whole at every moment, so a panic elsewhere does not spoil it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_is_used_up_or_fenced_is_refused() {
        let standing = Standing::grouped();
        standing.seen(3, 2, true);
        assert_eq!(standing.promote(3), Promotion::Fenced(3));
        assert!(!standing.fence(5), "it owns nothing");
        assert_eq!(standing.promote(4), Promotion::Fenced(5));
        assert_eq!(standing.promote(5), Promotion::UnderWay, "a fence lets its own epoch through");
        assert_eq!(standing.asked(Duration::ZERO), Some(5));
        standing.refused(5, 6);
        assert_eq!(standing.asked(Duration::ZERO), None);
        assert_eq!(standing.promote(5), Promotion::Fenced(6));
    }

    #[test]
    fn an_owner_that_hears_of_a_later_epoch_is_fenced_for_good() {
        let standing = Standing::grouped();
        assert!(!standing.is_owner());
        assert_eq!(standing.promote(1), Promotion::UnderWay);
        assert!(standing.owns(1) && standing.is_owner());
        standing.lease.confirm(Instant::now());
        assert_eq!(standing.promote(1), Promotion::Done);
        assert!(!standing.fence(1), "its own epoch is no later one");
        assert!(standing.lease.holds());
        assert!(standing.fence(2));
        assert!(!standing.lease.holds() && !standing.is_owner());
        assert_eq!(standing.promote(3), Promotion::Fenced(2), "it ends first");
        assert_eq!(standing.follow(2, String::new()), Err(2));
    }

    #[test]
    fn a_fence_during_a_take_over_ends_it() {
        let standing = Standing::grouped();
        standing.promote(1);
        standing.fence(2);
        assert!(!standing.owns(1));
        assert!(!standing.is_owner());
    }
}
