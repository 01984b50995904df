//! What a test wants to happen to pods before they start.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// What happens to a matching pod instead of being started at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Started when the rule is gone: an image that takes its time.
    Hold,
    /// Started this much later.
    Delay(Duration),
    /// Never started: the pod fails with this reason, as when a kubelet does not admit it.
    Refuse(String),
}

#[derive(Debug)]
struct Entry {
    id: u64,
    namespace: String,
    prefix: String,
    rule: Rule,
}

/// The rules in force; waiting for a change is possible.
#[derive(Debug)]
pub(super) struct Rules {
    entries: Mutex<(u64, Vec<Entry>)>,
    changed: watch::Sender<()>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { entries: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Rules {
    pub(super) fn add(&self, namespace: &str, prefix: &str, rule: Rule) -> u64 {
        let mut entries = self.lock();
        entries.0 += 1;
        let id = entries.0;
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        entries.1.push(Entry { id, namespace, prefix, rule });
        id
    }

    pub(super) fn remove(&self, id: u64) {
        self.lock().1.retain(|entry| entry.id != id);
        self.changed.send_replace(());
    }

    /// Waits until the pod may start. An error is the reason why it never may.
    pub(super) async fn admit(&self, namespace: &str, pod: &str) -> Result<(), String> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            match self.matching(namespace, pod) {
                None => return Ok(()),
                Some(Rule::Refuse(reason)) => return Err(reason),
                Some(Rule::Delay(delay)) => {
                    tokio::time::sleep(delay).await;
                    return Ok(());
                }
                // The sender lives as long as `self`.
                Some(Rule::Hold) => drop(changed.changed().await),
            }
        }
    }

    fn matching(&self, namespace: &str, pod: &str) -> Option<Rule> {
        let entries = self.lock();
        let mut newest_first = entries.1.iter().rev();
        let found =
            newest_first.find(|rule| rule.namespace == namespace && pod.starts_with(&rule.prefix));
        found.map(|entry| entry.rule.clone())
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Vec<Entry>)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_held_pod_starts_when_the_rule_goes() {
        let rules = Rules::default();
        let id = rules.add("ns", "a-", Rule::Hold);
        assert_eq!(rules.admit("ns", "b-0").await, Ok(()));
        assert_eq!(rules.admit("other", "a-0").await, Ok(()));
        let held = rules.admit("ns", "a-0");
        tokio::pin!(held);
        assert!(futures::poll!(&mut held).is_pending());
        rules.remove(id);
        assert_eq!(held.await, Ok(()));
    }

    #[tokio::test]
    async fn the_newest_rule_wins() {
        let rules = Rules::default();
        rules.add("ns", "", Rule::Hold);
        rules.add("ns", "a-0", Rule::Refuse("OutOfcpu".to_owned()));
        assert_eq!(rules.admit("ns", "a-0").await, Err("OutOfcpu".to_owned()));
    }
}
