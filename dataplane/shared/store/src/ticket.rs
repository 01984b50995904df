//! Waiting for the answer to a commit: as a future for any executor, or blocking.

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{StoreError, Version};

type Answer = Result<Version, StoreError>;

#[derive(Debug, Default)]
struct State {
    answer: Option<Answer>,
    waker: Option<Waker>,
    /// A thread sleeps until there is an answer. Waking costs a call of the system, also for nobody.
    sleeps: bool,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    answered: Condvar,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, answer: Answer) {
        let mut state = self.lock();
        if state.answer.is_some() {
            return;
        }
        state.answer = Some(answer);
        let (waker, sleeps) = (state.waker.take(), state.sleeps);
        drop(state);
        if sleeps {
            self.answered.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The side that answers. Dropped without an answer, it answers `Unknown`: nobody waits for ever.
#[derive(Debug)]
pub(crate) struct Reply(Arc<Slot>);

impl Reply {
    pub(crate) fn answer(self, answer: Answer) {
        self.0.answer(answer);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let reason = "the store ended before it could answer".to_owned();
        self.0.answer(Err(StoreError::Unknown { reason }));
    }
}

/// The answer to a commit, once there is one. Dropping it does not take the commit back.
#[derive(Debug)]
#[must_use = "a commit is not durable until its ticket says so"]
pub struct Ticket(Arc<Slot>);

impl Ticket {
    pub(crate) fn new() -> (Reply, Self) {
        let slot = Arc::new(Slot::default());
        (Reply(Arc::clone(&slot)), Self(slot))
    }

    pub(crate) fn ready(answer: Answer) -> Self {
        let (reply, ticket) = Self::new();
        reply.answer(answer);
        ticket
    }

    /// Blocks until the commit is durable or was refused.
    pub fn wait(self) -> Result<Version, StoreError> {
        let mut state = self.0.lock();
        loop {
            if let Some(answer) = &state.answer {
                return answer.clone();
            }
            state.sleeps = true;
            state = self.0.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Future for Ticket {
    type Output = Result<Version, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        if let Some(answer) = &state.answer {
            return Poll::Ready(answer.clone());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
