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
    /// What it is made up of, if it is; with a name for each.
    parts: Vec<(String, Health)>,
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

    /// The health of several parts that are named: alive and ready while all of them are. A single one
    /// is the whole, without a name.
    pub fn of_all(parts: impl IntoIterator<Item = (String, Self)>) -> Self {
        let mut parts: Vec<(String, Self)> = parts.into_iter().collect();
        if parts.len() == 1
            && let Some((_, only)) = parts.pop()
        {
            return only;
        }
        Self { inner: Arc::new(Inner { parts, ..Inner::default() }) }
    }

    pub fn is_alive(&self) -> bool {
        !self.inner.dead.load(Ordering::Acquire)
            && self.inner.parts.iter().all(|(_, part)| part.is_alive())
    }

    pub fn readiness(&self) -> Readiness {
        if self.inner.parts.is_empty() {
            return self.lock().clone();
        }
        let mut all = self.inner.parts.iter().map(|(name, part)| (name, part.readiness()));
        // What is not ready comes before what is not whole.
        let worst = all.clone().find(|(_, one)| !one.ready);
        let worst = worst.or_else(|| all.find(|(_, one)| !one.reason.is_empty()));
        worst.map_or_else(
            || Readiness::new(true, "", String::new()),
            |(name, one)| Readiness { message: format!("{name}: {}", one.message), ..one },
        )
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
    fn a_whole_is_as_well_as_the_least_of_its_parts() {
        let parts = [Health::default(), Health::default()];
        let named = |n: usize| (format!("part {n}"), parts[n].clone());
        let whole = Health::of_all([named(0), named(1)]);
        assert_eq!(whole.readiness().message, "part 0: the process is starting");
        parts[0].set_degraded("JournalFull", "98 % of the volume is used");
        parts[1].set_not_ready("Recovering", "reading");
        let said = whole.readiness();
        assert_eq!((said.ready, said.message.as_str()), (false, "part 1: reading"));
        parts[1].set_ready();
        let said = whole.readiness();
        assert_eq!((said.ready, said.reason.as_str()), (true, "JournalFull"));
        parts[0].set_ready();
        assert_eq!(whole.readiness(), Readiness::new(true, "", String::new()));
        parts[1].set_dead();
        assert!(!whole.is_alive());

        let alone = Health::of_all([named(0)]);
        parts[0].set_not_ready("Recovering", "reading");
        assert_eq!(alone.readiness().message, "reading");
    }

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
