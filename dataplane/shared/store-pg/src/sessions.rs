//! Connections for snapshots: each has one of its own as long as it lives.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use orrery_pg::{CALL, Target};
use orrery_store::StoreError;

use crate::failure::{Session, into_error, is_good};

/// Snapshots of one store that are open at once.
const OPEN_MAX: usize = 32;
/// Connections that are kept for the next snapshot.
const IDLE_MAX: usize = 4;
/// How long a snapshot may go unread: an open one keeps the server from removing what is old.
const KEEP: &str = "SET idle_in_transaction_session_timeout = '300s'";

#[derive(Debug, Default)]
struct State {
    idle: Vec<Session>,
    open: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    state: Mutex<State>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept connection, if there is one; otherwise the right to make one.
    pub(crate) fn take(&self) -> Result<Option<Session>, StoreError> {
        let mut state = self.lock();
        if state.open >= OPEN_MAX {
            let reason = format!("{OPEN_MAX} snapshots are open");
            return Err(StoreError::Unavailable { reason });
        }
        state.open += 1;
        Ok(state.idle.pop())
    }

    /// Makes one.
    pub(crate) fn connect(target: &Target) -> Result<Session, StoreError> {
        let deadline = Instant::now() + CALL;
        let mut session = Session::open(target, deadline).map_err(into_error)?;
        let kept = session.run(deadline, &mut async |link| link.simple(KEEP).await.map(drop));
        kept.map_err(into_error)?;
        Ok(session)
    }

    /// Ends a snapshot; keeps the connection if it is good.
    pub(crate) fn give_back(&self, session: Option<Session>) {
        let session = session.and_then(|mut session| {
            let ended =
                session.run(Instant::now() + CALL, &mut async |link| link.roll_back().await);
            is_good(&ended).then_some(session)
        });
        let mut state = self.lock();
        state.open -= 1;
        if state.idle.len() < IDLE_MAX {
            state.idle.extend(session);
        }
    }
}
