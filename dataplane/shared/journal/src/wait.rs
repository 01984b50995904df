//! Waiting for a position to become durable: as a future for any executor, or blocking with a
//! deadline. Wakes are spurious at worst, never missed: a waiter registers before it looks again.

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::shared::Shared;
use crate::{JournalError, Position};

/// Who waits for which position.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    futures: Mutex<Vec<(u64, Waker)>>,
    blocked: Condvar,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.futures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, position: u64, waker: &Waker) {
        self.lock().push((position, waker.clone()));
    }

    /// Wakes those who wait for `durable` or less, or everyone after a failure.
    pub(crate) fn wake(&self, durable: u64, everyone: bool) {
        let mut ready = Vec::new();
        let mut futures = self.lock();
        futures.retain(|(position, waker)| {
            let keep = !everyone && *position > durable;
            if !keep {
                ready.push(waker.clone());
            }
            keep
        });
        drop(futures);
        self.blocked.notify_all();
        ready.into_iter().for_each(Waker::wake);
    }

    /// Has those who block look again at what else they wait for.
    pub(crate) fn nudge(&self) {
        // Whoever has looked already and does not wait yet holds the lock.
        drop(self.lock());
        self.blocked.notify_all();
    }
}

impl Shared {
    /// Whether the fate of `position` is decided, and how.
    pub(crate) fn fate(&self, position: u64) -> Option<Result<Position, JournalError>> {
        let durable = self.durable();
        if durable >= position {
            return Some(Ok(Position(durable)));
        }
        let reason = match self.failure() {
            Some(error) => error.chain(),
            None if self.is_closed() => "the journal was closed".to_owned(),
            None => return None,
        };
        Some(Err(JournalError::Unknown { position: Position(position), reason }))
    }

    /// Blocks until `position` is durable, the journal failed, or the deadline passed.
    pub(crate) fn wait_until(
        &self,
        position: u64,
        deadline: Instant,
    ) -> Result<Position, JournalError> {
        self.wait_unless(position, deadline, || false)
    }

    /// The same, and gives up as if the deadline had passed once `is_over` is true. That is looked at
    /// in the beginning and after every wake.
    pub(crate) fn wait_unless(
        &self,
        position: u64,
        deadline: Instant,
        is_over: impl Fn() -> bool,
    ) -> Result<Position, JournalError> {
        let mut held = self.waiters.lock();
        loop {
            if let Some(fate) = self.fate(position) {
                return fate;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || is_over() {
                return Err(JournalError::Deadline { position: Position(position) });
            }
            held = self
                .waiters
                .blocked
                .wait_timeout(held, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Completes when a position is durable (with the position reached, which may be later), or with
/// [`JournalError::Unknown`] when the journal failed or was closed before. Does not borrow the
/// journal. A position that is never flushed is never reached: bound the wait from outside.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct WaitDurable {
    shared: Arc<Shared>,
    position: u64,
    /// The waker registered, which stays so until the fate of the position is decided.
    registered: Option<Waker>,
}

impl WaitDurable {
    pub(crate) fn new(shared: Arc<Shared>, position: u64) -> Self {
        Self { shared, position, registered: None }
    }
}

impl Future for WaitDurable {
    type Output = Result<Position, JournalError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(fate) = self.shared.fate(self.position) {
            return Poll::Ready(fate);
        }
        let waker = context.waker();
        if self.registered.as_ref().is_none_or(|registered| !registered.will_wake(waker)) {
            self.shared.waiters.register(self.position, waker);
            self.registered = Some(waker.clone());
        }
        self.shared.fate(self.position).map_or(Poll::Pending, Poll::Ready)
    }
}
