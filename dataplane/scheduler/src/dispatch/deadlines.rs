//! When a call does not leave any more, and what became of it then.
//!
//! Must not: keep calls. It looks at one.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::executor::Executor;
use crate::run::{Call, Outcome};

/// One look at both clocks.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    pub(super) now_ms: i64,
}

impl Clock {
    pub(super) fn look() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now: Instant::now(), now_ms: since_epoch.as_millis() as i64 }
    }
}

/// The moment after which a call does not leave its queue. A resumed one whose target can be asked
/// has none: it is asked at any time, and only not sent.
pub(super) fn deadline(call: &Call) -> Option<i64> {
    let can_ask = call.action.executor().is_some_and(Executor::can_ask);
    if call.is_resumed && can_ask { None } else { call.expires_ms }
}

/// The outcome of a call that was not sent in time by this process.
pub(super) fn expired(call: &Call) -> Outcome {
    if call.is_resumed {
        let note = "an earlier process may have sent it, and its deadline is over".to_owned();
        return Outcome::TimedOut { note };
    }
    Outcome::Expired
}
