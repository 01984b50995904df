//! The connections of a carrier: one per call at a time, so that a call never waits behind another.
//!
//! Each has a runtime of its own, which runs while a call waits for it and at no other time. A
//! connection on which anything failed is closed, never used again; what the server still does for
//! it is recognised by the statements that follow on others.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orrery_journal::CarrierError;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;

use crate::connect::Target;
use crate::link::{Failure, Link};

/// Calls that are under way at once; more wait.
const BUSY_MAX: usize = 8;
/// Connections that are kept for the next call.
const IDLE_MAX: usize = 4;

/// A connection with what drives it.
struct Session {
    link: Option<Link>,
    runtime: Option<Runtime>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link = None;
        if let Some(runtime) = self.runtime.take() {
            // A name that is looked up may take longer than any call has.
            runtime.shutdown_background();
        }
    }
}

impl Session {
    /// Connects.
    fn open(target: &Target, deadline: Instant) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Lost(format!("no runtime: {error}")))?;
        let mut session = Self { link: None, runtime: Some(runtime) };
        let link = session.within(deadline, async |_| target.connect().await)?;
        session.link = Some(link);
        Ok(session)
    }

    /// Does some work until the deadline.
    fn within<T>(
        &mut self,
        deadline: Instant,
        work: impl AsyncFnOnce(Option<&mut Link>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(runtime) = &self.runtime else {
            return Err(Failure::Lost("it was closed".to_owned()));
        };
        let link = self.link.as_mut();
        runtime.block_on(async {
            timeout_at(deadline.into(), work(link))
                .await
                .unwrap_or_else(|_| Err(Failure::Lost("no answer in time".to_owned())))
        })
    }

    fn run<T>(
        &mut self,
        deadline: Instant,
        work: &mut impl AsyncFnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.within(deadline, async |link| match link {
            Some(link) => work(link).await,
            None => Err(Failure::Lost("it was closed".to_owned())),
        })
    }
}

#[derive(Default)]
struct State {
    idle: Vec<Session>,
    busy: usize,
}

/// The connections of a carrier.
pub(crate) struct Pool {
    target: Target,
    state: Mutex<State>,
    freed: Condvar,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, state: Mutex::default(), freed: Condvar::new() }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Does `work` on a connection within `budget`. It may be begun a second time, when a connection
    /// that was kept turns out to be dead, so it must be such that this does no harm.
    pub(crate) fn run<T>(
        &self,
        budget: Duration,
        mut work: impl AsyncFnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T, CarrierError> {
        let deadline = Instant::now() + budget;
        let idle = self.take(deadline)?;
        let (session, result) = self.with(idle, deadline, &mut work);
        // The others lead to the same server: whoever waited for it in vain should be the last.
        let is_over = matches!(result, Err(Failure::Ended(_) | Failure::Lost(_)));
        self.give_back(session, is_over);
        result.map_err(Failure::into_error)
    }

    /// Does the work; gives the connection as well if it is still good.
    fn with<T>(
        &self,
        idle: Option<Session>,
        deadline: Instant,
        work: &mut impl AsyncFnMut(&mut Link) -> Result<T, Failure>,
    ) -> (Option<Session>, Result<T, Failure>) {
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
    fn take(&self, deadline: Instant) -> Result<Option<Session>, CarrierError> {
        let mut state = self.lock();
        while state.busy >= BUSY_MAX {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let reason = format!("{BUSY_MAX} calls are under way");
                return Err(CarrierError::Unavailable { reason });
            }
            let waited = self.freed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.busy += 1;
        Ok(state.idle.pop())
    }

    fn give_back(&self, session: Option<Session>, is_over: bool) {
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection is good for another call.
fn judge<T>(session: Session, result: Result<T, Failure>) -> (Option<Session>, Result<T, Failure>) {
    let is_good = matches!(result, Ok(_) | Err(Failure::Answer(_)));
    (is_good.then_some(session), result)
}
