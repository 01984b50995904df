//! Sessions that wait until a list has something for them (`BLPOP` and its family).
//!
//! A command that finds nothing asks for a wait; the server keeps the connection and its deadline.
//! Whatever makes a waited-for key change makes it ready; after the command the server asks which
//! keys are ready and serves their sessions in the order in which they came, as Redis 7.0 does
//! (`handleClientsBlockedOnKeys`). Nothing here is part of the state that is journalled.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;
use orrery_resp::Reply;

use super::{Key, Machine, Outcome, Session};
use crate::commands::list;
use crate::keyspace::list::{End, ListObject};

type WaitedKey = (u16, Box<[u8]>);

/// What a waiting session does with the first list that has something.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// Pop one element (`BLPOP`, `BRPOP`), or up to `count` (`BLMPOP`).
    Pop {
        /// Where from.
        end: End,
        /// How many at the most; none: one, answered without a list around it.
        count: Option<usize>,
    },
    /// Move one element (`BLMOVE`, `BRPOPLPUSH`).
    Move {
        /// Where to.
        destination: Box<[u8]>,
        /// End of the source.
        from: End,
        /// End of the destination.
        to: End,
    },
}

/// All waiting sessions.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Sessions in the order in which they came.
    by_key: HashMap<WaitedKey, VecDeque<u64>, FixedState>,
    by_session: HashMap<u64, Waiting, FixedState>,
    /// Keys that changed while someone waits for them, each once.
    ready: VecDeque<WaitedKey>,
    /// Longest wait of the session that the running command made wait.
    asked: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    keys: Vec<WaitedKey>,
    wanted: Wanted,
}

impl Waits {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn changed(&mut self, db: u16, key: &[u8]) {
        let key: WaitedKey = (db, Box::from(key));
        if self.by_key.contains_key(&key) && !self.ready.contains(&key) {
            self.ready.push_back(key);
        }
    }
}

impl Machine {
    /// The session waits for one of `names`, for `timeout_ms` at the most (0 = for ever). Only for
    /// sessions that may wait.
    pub(crate) fn wait(
        &mut self,
        session: &Session,
        names: &[&[u8]],
        timeout_ms: u64,
        wanted: Wanted,
    ) {
        debug_assert!(session.may_wait && !self.is_waiting(session.id));
        let mut keys: Vec<WaitedKey> = Vec::with_capacity(names.len());
        for name in names {
            let key: WaitedKey = (session.db, Box::from(*name));
            if !keys.contains(&key) {
                self.waits.by_key.entry(key.clone()).or_default().push_back(session.id);
                keys.push(key);
            }
        }
        self.waits.by_session.insert(session.id, Waiting { keys, wanted });
        self.waits.asked = Some(timeout_ms);
    }

    /// Longest wait in milliseconds (0 = for ever) if the last command made its session wait.
    #[inline]
    pub fn take_wait(&mut self) -> Option<u64> {
        self.waits.asked.take()
    }

    /// Whether the session waits.
    pub fn is_waiting(&self, session: u64) -> bool {
        self.waits.by_session.contains_key(&session)
    }

    /// The session does not wait any more.
    pub fn unwait(&mut self, session: u64) {
        let Some(waiting) = self.waits.by_session.remove(&session) else { return };
        for key in waiting.keys {
            if let Some(sessions) = self.waits.by_key.get_mut(&key) {
                sessions.retain(|id| *id != session);
                if sessions.is_empty() {
                    self.waits.by_key.remove(&key);
                }
            }
        }
    }

    /// Whether some key is ready.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.waits.ready.is_empty()
    }

    /// The next key that is ready, with those who wait for it, first come first.
    pub fn next_ready(&mut self) -> Option<(u16, Box<[u8]>, Vec<u64>)> {
        let key = self.waits.ready.pop_front()?;
        let sessions = self.waits.by_key.get(&key);
        let sessions = sessions.map(|all| all.iter().copied().collect()).unwrap_or_default();
        Some((key.0, key.1, sessions))
    }

    /// Gives a waiting session what it wants from a key that is ready, with the reply. None if the
    /// key has nothing (any more).
    pub fn serve_waiting(
        &mut self,
        session: &Session,
        name: &[u8],
        out: &mut Reply,
    ) -> Option<Outcome> {
        let wanted = self.waits.by_session.get(&session.id)?.wanted.clone();
        let key = self.key(session, name);
        self.gate = 0;
        self.locate(&key)?;
        self.view_as::<ListObject>(&key)?;
        let mark = out.len();
        let result = match wanted {
            Wanted::Pop { end, count: None } => list::pop_named(self, &key, end, out),
            Wanted::Pop { end, count: Some(most) } => {
                list::pop_from_first(self, session, &[name], (end, most), out)
            }
            Wanted::Move { destination, from, to } => {
                list::shift(self, session, (name, &destination), (from, to), out)
            }
        };
        if let Err(fail) = &result {
            out.truncate(mark);
            out.error(fail.0.as_bytes());
        }
        Some(Outcome { gate: self.gate, failed: result.is_err() })
    }

    /// Tells who waits for the key that it changed.
    #[inline]
    pub(super) fn make_ready(&mut self, key: &Key<'_>) {
        if !self.waits.is_empty() {
            self.waits.changed(key.db, key.name);
        }
    }
}
