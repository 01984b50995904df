//! The connections of one user: one per call at a time, so that a call never waits behind another.
//!
//! Each has a runtime of its own, which runs while a call waits for it and at no other time. A
//! connection on which anything failed is closed, never used again; what the server still does for
//! it is recognised by the statements that follow on others.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Failure, Link, Session, Target};

/// Calls that are under way at once; more wait.
const BUSY_MAX: usize = 16;
/// Connections that are kept for the next call.
const IDLE_MAX: usize = 16;

struct State<A> {
    idle: Vec<Session<A>>,
    busy: usize,
}

/// The connections of one user.
pub struct Pool<A> {
    target: Target,
    state: Mutex<State<A>>,
    freed: Condvar,
}

impl<A> fmt::Debug for Pool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("target", &self.target).finish_non_exhaustive()
    }
}

impl<A> Pool<A> {
    /// Connects nowhere yet.
    pub fn new(target: Target) -> Self {
        let state = State { idle: Vec::new(), busy: 0 };
        Self { target, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Where it connects to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Does `work` on a connection within `budget`. It may be begun a second time, when a connection
    /// that was kept turns out to be dead, so it must be such that this does no harm.
    pub fn run<T>(
        &self,
        budget: Duration,
        mut work: impl AsyncFnMut(&mut Link<A>) -> Result<T, Failure<A>>,
    ) -> Result<T, Failure<A>> {
        let deadline = Instant::now() + budget;
        let idle = self.take(deadline)?;
        let (session, result) = self.with(idle, deadline, &mut work);
        // The others lead to the same server: whoever waited for it in vain should be the last.
        let is_over = matches!(result, Err(Failure::Ended(_) | Failure::Lost(_)));
        self.give_back(session, is_over);
        result
    }

    /// Does the work; gives the connection as well if it is still good.
    fn with<T>(
        &self,
        idle: Option<Session<A>>,
        deadline: Instant,
        work: &mut impl AsyncFnMut(&mut Link<A>) -> Result<T, Failure<A>>,
    ) -> (Option<Session<A>>, Result<T, Failure<A>>) {
        if let Some(mut session) = idle {
            match session.run(deadline, work) {
                Err(Failure::Ended(reason)) if Instant::now() < deadline => {
                    tracing::debug!(reason, "connecting again");
                }
                result => return judge(session, result),
            }
        }
        match Session::open(&self.target, deadline) {
            Err(failure) => (None, Err(failure)),
            Ok(mut session) => {
                let result = session.run(deadline, work);
                judge(session, result)
            }
        }
    }

    /// A connection that is there, or the right to make one.
    fn take(&self, deadline: Instant) -> Result<Option<Session<A>>, Failure<A>> {
        let mut state = self.lock();
        while state.busy >= BUSY_MAX {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Lost(format!("{BUSY_MAX} calls are under way")));
            }
            let waited = self.freed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.busy += 1;
        Ok(state.idle.pop())
    }

    fn give_back(&self, session: Option<Session<A>>, is_over: bool) {
        let mut state = self.lock();
        state.busy -= 1;
        let mut surplus = if is_over { std::mem::take(&mut state.idle) } else { vec![] };
        if state.idle.len() < IDLE_MAX {
            state.idle.extend(session);
        } else {
            surplus.extend(session);
        }
        drop(state);
        self.freed.notify_one();
        drop(surplus);
    }

    fn lock(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection is good for another call.
fn judge<A, T>(
    session: Session<A>,
    result: Result<T, Failure<A>>,
) -> (Option<Session<A>>, Result<T, Failure<A>>) {
    let is_good = matches!(result, Ok(_) | Err(Failure::Answer(_)));
    (is_good.then_some(session), result)
}
