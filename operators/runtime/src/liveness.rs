//! Whether the watches still run and whether the API server is well.
//!
//! Must not: decide from a single call. kube swallows bookmarks, so the sign of life of a watch is
//! taken below it, from the bytes the server sends on that path: events, bookmarks, and the new
//! start each watch makes when its time is up.
//!
//! Two questions, two answers. *Live*: does every watch still try? A watch that does not even ask
//! any more is stuck and only a restart helps. *Ready*: did every watch hear from the server lately?
//! While the server is down the process is live and not ready, as restarting it would not help.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// A server that answered 429 or 5xx, or did not answer, counts as troubled for this long.
const TROUBLE: Duration = Duration::from_secs(30);

/// Longest pause that a server can ask for; an hour by mistake would look like a dead operator.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Shared by the client layer, which writes, and the health endpoint, which reads.
#[derive(Debug, Default)]
pub struct Liveness {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watches: BTreeMap<String, Signs>,
    trouble: Option<Instant>,
    pause_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Signs {
    asked: Instant,
    heard: Option<Instant>,
    /// The server refuses this kind to us: expected to stay silent.
    refused: bool,
}

impl Liveness {
    /// Expects signs of life of the watch on this path from now on.
    pub fn expect(&self, path: &str) {
        let signs = Signs { asked: Instant::now(), heard: None, refused: false };
        self.lock().watches.entry(path.to_owned()).or_insert(signs);
    }

    /// A request on this path is about to leave.
    pub fn asked(&self, path: &str) {
        if let Some(signs) = self.lock().watches.get_mut(path) {
            signs.asked = Instant::now();
        }
    }

    /// The server said something on this path; no code when it said nothing.
    pub fn answered(&self, path: &str, code: Option<u16>) {
        let now = Instant::now();
        let mut state = self.lock();
        if code.is_none_or(|code| code == 429 || code >= 500) {
            state.trouble = Some(now);
        }
        if let Some(signs) = state.watches.get_mut(path) {
            signs.refused = code == Some(403);
            if code.is_some_and(|code| code < 300) {
                signs.heard = Some(now);
                signs.asked = now;
            }
        }
    }

    /// Whether the server answered with 429 or 5xx, or not at all, a short while ago.
    pub fn troubled(&self) -> bool {
        self.lock().trouble.is_some_and(|at| at.elapsed() < TROUBLE)
    }

    /// The server asked for a pause by Retry-After.
    pub fn pause_asked(&self, pause: Duration) {
        let until = Instant::now() + pause.min(PAUSE_MAX);
        let mut state = self.lock();
        state.pause_until = state.pause_until.max(Some(until));
    }

    /// What is left of the pause that the server asked for.
    pub fn pause(&self) -> Duration {
        let until = self.lock().pause_until;
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Watches that neither asked nor heard anything for `silence_max`: stuck.
    pub fn stuck(&self, silence_max: Duration) -> Vec<String> {
        self.silent(|signs| signs.asked.elapsed() > silence_max)
    }

    /// Watches that never heard from the server or not for `silence_max`.
    pub fn deaf(&self, silence_max: Duration) -> Vec<String> {
        self.silent(|signs| {
            !signs.refused && signs.heard.is_none_or(|at| at.elapsed() > silence_max)
        })
    }

    /// How many watches heard from the server lately, are deaf, and are stuck as well.
    pub fn counts(&self, silence_max: Duration) -> (usize, usize, usize) {
        let all = self.lock().watches.len();
        let deaf = self.deaf(silence_max).len();
        (all.saturating_sub(deaf), deaf, self.stuck(silence_max).len())
    }

    fn silent(&self, is_silent: impl Fn(&Signs) -> bool) -> Vec<String> {
        let state = self.lock();
        let silent = state.watches.iter().filter(|(_, signs)| is_silent(signs));
        silent.map(|(path, _)| path.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_mins(3);

    #[tokio::test(start_paused = true)]
    async fn the_longest_pause_asked_for_is_kept_and_ends() {
        let liveness = Liveness::default();
        assert_eq!(liveness.pause(), Duration::ZERO);
        liveness.pause_asked(Duration::from_secs(20));
        liveness.pause_asked(Duration::from_secs(3));
        assert_eq!(liveness.pause(), Duration::from_secs(20));
        liveness.pause_asked(Duration::from_hours(1));
        assert_eq!(liveness.pause(), PAUSE_MAX);
        tokio::time::advance(PAUSE_MAX).await;
        assert_eq!(liveness.pause(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn p2_a_watch_that_stops_trying_is_stuck() {
        let liveness = Liveness::default();
        liveness.expect("/pods");
        liveness.expect("/services");
        for _ in 0..10 {
            tokio::time::advance(Duration::from_mins(1)).await;
            liveness.asked("/pods");
            liveness.answered("/pods", Some(200));
        }
        assert_eq!(liveness.stuck(SILENCE), ["/services"]);
        assert_eq!(liveness.deaf(SILENCE), ["/services"]);
        assert_eq!(liveness.counts(SILENCE), (1, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_server_is_down_the_watch_is_deaf_but_not_stuck() {
        let liveness = Liveness::default();
        liveness.expect("/pods");
        liveness.answered("/pods", Some(200));
        assert!(liveness.deaf(SILENCE).is_empty() && !liveness.troubled());
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(30)).await;
            liveness.asked("/pods");
            liveness.answered("/pods", Some(503));
        }
        assert!(liveness.stuck(SILENCE).is_empty());
        assert_eq!(liveness.deaf(SILENCE), ["/pods"]);
        assert!(liveness.troubled());
    }

    #[tokio::test(start_paused = true)]
    async fn p8_a_kind_we_may_not_list_does_not_make_us_unready() {
        let liveness = Liveness::default();
        liveness.expect("/roles");
        liveness.asked("/roles");
        liveness.answered("/roles", Some(403));
        assert!(liveness.deaf(SILENCE).is_empty());
        assert!(!liveness.troubled());
    }
}
