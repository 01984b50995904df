//! Whether this process is alive, and whether it can serve. Probes and the operator read the same
//! value, so they cannot disagree.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Shared by the serving threads (who set it) and the management thread (who answers).
#[derive(Debug, Clone, Default)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    dead: AtomicBool,
    readiness: Mutex<Readiness>,
}

/// Can clients be served, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    /// One CamelCase word; empty when ready and whole.
    pub reason: String,
    /// A sentence with figures.
    pub message: String,
}

impl Readiness {
    pub fn new(ready: bool, reason: &str, message: String) -> Self {
        Self { ready, reason: reason.to_owned(), message }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self { ready: false, reason: "Starting".into(), message: "the process is starting".into() }
    }
}

impl Health {
    pub fn set_ready(&self) {
        self.set(Readiness { ready: true, reason: String::new(), message: String::new() });
    }

    pub fn set_not_ready(&self, reason: &str, message: impl Into<String>) {
        self.set(Readiness { ready: false, reason: reason.to_owned(), message: message.into() });
    }

    /// Serving, but with less than was asked.
    pub fn set_degraded(&self, reason: &str, message: impl Into<String>) {
        self.set(Readiness { ready: true, reason: reason.to_owned(), message: message.into() });
    }

    /// Beyond repair: the liveness probe fails from now on.
    pub fn set_dead(&self) {
        self.inner.dead.store(true, Ordering::Release);
    }

    pub fn is_alive(&self) -> bool {
        !self.inner.dead.load(Ordering::Acquire)
    }

    pub fn readiness(&self) -> Readiness {
        self.lock().clone()
    }

    fn set(&self, readiness: Readiness) {
        *self.lock() = readiness;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Readiness> {
        // The value is whole at every moment, so a panic elsewhere does not spoil it.
        self.inner.readiness.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_but_not_ready_until_it_says_so() {
        let health = Health::default();
        assert!(health.is_alive());
        assert_eq!(health.readiness().reason, "Starting");
        health.set_ready();
        assert!(health.readiness().ready);
        health.set_degraded("JournalFull", "98 % of the volume is used");
        assert!(health.readiness().ready);
        health.set_dead();
        assert!(!health.is_alive());
    }
}
