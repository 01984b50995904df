//! The change stream for clients: what was written, in order, from the journal, over HTTP.
//!
//! | module | job |
//! |---|---|
//! | [`mark`] | where a watcher is, in its own hands |
//! | [`event`] | the changes of a record that it may and wants to see |
//! | [`stream`] | the thread that reads the journal at the pace of one client |
//! | [`http`] | the port, and who may come in |
//!
//! Nothing is kept here for a watcher: it names the last change it has seen, and goes on there for as
//! long as the journal has it. Only what no failover takes back is shown, so what was seen stays true.

pub(crate) mod event;
pub(crate) mod http;
pub(crate) mod mark;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orrery_journal::Feed;
use tokio::sync::oneshot;

pub(crate) use self::event::Lens;
pub(crate) use self::mark::Mark;

/// What is asked of the event loop.
#[derive(Debug)]
pub(crate) struct Ask {
    /// None: as the user `default`, if that one needs no password.
    pub(crate) login: Option<Login>,
    /// Name of a KVNamespace; none: all keys.
    pub(crate) namespace: Option<String>,
    pub(crate) database: Option<u16>,
    pub(crate) prefix: Vec<u8>,
    /// None: from now on.
    pub(crate) from: Option<Mark>,
    pub(crate) answer: oneshot::Sender<Result<Granted, Refused>>,
}

/// Who somebody says to be.
pub(crate) struct Login {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A watcher that may begin.
pub(crate) struct Granted {
    pub(crate) feed: Feed,
    pub(crate) lens: Lens,
    pub(crate) from: Mark,
    pub(crate) watch: Watch,
    /// Epochs of positions, for the marks of what follows.
    pub(crate) epoch: u64,
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Granted").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Why a watcher may not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("user and password are needed, and were wrong or not given")]
    Login,
    #[error("the user may not watch: it needs the right to PSYNC")]
    Right,
    #[error("there is no KVNamespace of this name here")]
    Namespace,
    #[error("there is no database of this number")]
    Database,
    /// Somebody else, or the same later, can serve it.
    #[error("{0}")]
    NotHere(&'static str),
    #[error("what was seen up to there is no longer the history: read the keys again")]
    OtherHistory,
}

/// Ends all watchers at once, when what they see is no longer this process's to tell.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    generation: Arc<AtomicU64>,
    /// Nothing behind this position may be seen.
    safe: Arc<AtomicU64>,
}

/// What one watcher looks at before each step.
#[derive(Debug)]
pub(crate) struct Watch {
    began: u64,
    generation: Arc<AtomicU64>,
    safe: Arc<AtomicU64>,
}

impl Watchers {
    pub(crate) fn begin(&self) -> Watch {
        Watch {
            began: self.generation.load(Ordering::Acquire),
            generation: Arc::clone(&self.generation),
            safe: Arc::clone(&self.safe),
        }
    }

    pub(crate) fn close(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn set_safe(&self, position: u64) {
        self.safe.store(position, Ordering::Release);
    }
}

impl Watch {
    fn is_over(&self) -> bool {
        self.generation.load(Ordering::Acquire) != self.began
    }

    fn safe(&self) -> u64 {
        self.safe.load(Ordering::Acquire)
    }
}
