//! Events on objects, through one recorder per controller and a limit per object and reason.
//!
//! Must not: make an outage worse. While the API server answers 5xx or 429, or not at all, no event
//! is sent: it waits, within bounds, until the server is well. A lost event is no error: status and
//! metrics say the same.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use orrery_api::Reason;
use tokio::time::Instant;
use tracing::debug;

use crate::children::ChildKind;
use crate::liveness::Liveness;
use crate::system::News;

/// The same reason and action on the same object is told at most once in this time.
const QUIET: Duration = Duration::from_mins(1);
/// Longest note Kubernetes takes, in bytes.
const NOTE_BYTES_MAX: usize = 1024;
/// When this many of them are remembered, those past their quiet time are dropped.
const REMEMBERED_MAX: usize = 10_000;
/// Events that wait for the server to be well; what comes after is not told.
const WAITING_MAX: usize = 1000;
/// How often is looked whether it is.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time that one event may take to send.
const DEADLINE: Duration = Duration::from_secs(5);

/// Something worth an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub warning: bool,
    pub reason: Reason,
    pub note: String,
    /// What was being done, in one CamelCase word. Events of the same reason and action are one event
    /// with a count, whose note is the first one's.
    pub action: Cow<'static, str>,
}

impl Notice {
    pub fn normal(reason: Reason, action: &'static str, note: impl Into<String>) -> Self {
        Self { warning: false, reason, note: note.into(), action: action.into() }
    }

    pub fn warning(reason: Reason, action: &'static str, note: impl Into<String>) -> Self {
        Self { warning: true, reason, note: note.into(), action: action.into() }
    }

    /// What the change that made this generation brings. Each change is an event of its own.
    pub fn change(reason: Reason, generation: i64, note: impl Into<String>) -> Self {
        let action = format!("Generation{generation}").into();
        Self { warning: false, reason, note: note.into(), action }
    }

    /// What happened to an object that nobody changed.
    pub fn news(news: News) -> Self {
        let News { reason, action, note } = news;
        Self { warning: false, reason, note, action: action.into() }
    }

    /// A child was changed or deleted by someone else and put back.
    pub fn drift(kind: ChildKind, name: &str) -> Self {
        let note = format!("{kind} {name} was changed or deleted by someone else and was put back");
        Self::warning(Reason::Drift, "Repair", note)
    }

    /// A child that is no longer built was removed.
    pub fn orphan(kind: ChildKind, name: &str) -> Self {
        Self::normal(Reason::OrphanRemoved, "Remove", format!("{kind} {name} is no longer needed"))
    }
}

/// Object, reason and action.
type Told = (String, Reason, Cow<'static, str>);

fn key_of(about: &ObjectReference, notice: &Notice) -> Told {
    (about.uid.clone().unwrap_or_default(), notice.reason, notice.action.clone())
}

/// One per controller.
pub struct Events(Arc<Shared>);

struct Shared {
    recorder: Recorder,
    liveness: Arc<Liveness>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    told: HashMap<Told, Instant>,
    /// In the order in which they happened.
    waiting: VecDeque<(ObjectReference, Notice)>,
    /// A task sends those that wait.
    is_awaited: bool,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// `controller` is shown as the source of the events.
    pub fn new(client: Client, controller: &str, instance: &str, liveness: Arc<Liveness>) -> Self {
        let reporter = Reporter {
            controller: format!("orrery.dev/{controller}"),
            instance: Some(instance.to_owned()),
        };
        let recorder = Recorder::new(client, reporter);
        Self(Arc::new(Shared { recorder, liveness, state: Mutex::default() }))
    }

    /// Tells the notice unless it was told a moment ago; later, if the server has other troubles.
    pub async fn tell(&self, about: &ObjectReference, notice: Notice) {
        if !self.0.liveness.troubled() {
            return self.0.tell(about, notice).await;
        }
        debug!(reason = %notice.reason, note = notice.note, "event held back");
        if self.0.wait(about, notice) {
            let shared = Arc::clone(&self.0);
            tokio::spawn(async move { shared.when_well().await });
        }
    }
}

impl Shared {
    async fn tell(&self, about: &ObjectReference, notice: Notice) {
        if !self.may_tell(about, &notice) {
            return;
        }
        let type_ = if notice.warning { EventType::Warning } else { EventType::Normal };
        let event = Event {
            type_,
            reason: notice.reason.as_str().to_owned(),
            note: Some(cut(notice.note)),
            action: notice.action.into_owned(),
            secondary: None,
        };
        let sent = tokio::time::timeout(DEADLINE, self.recorder.publish(&event, about)).await;
        if let Ok(Err(error)) = sent {
            debug!(%error, "failed to send an event");
        }
    }

    /// Whether somebody has to begin with [`when_well`](Self::when_well).
    fn wait(&self, about: &ObjectReference, notice: Notice) -> bool {
        let mut state = self.state();
        let key = key_of(about, &notice);
        let waits = state.waiting.iter().any(|(about, notice)| key_of(about, notice) == key);
        if waits || state.waiting.len() >= WAITING_MAX {
            return false;
        }
        state.waiting.push_back((about.clone(), notice));
        !std::mem::replace(&mut state.is_awaited, true)
    }

    /// Sends what waits, one after the other, whenever the server is well.
    async fn when_well(&self) {
        loop {
            while self.liveness.troubled() {
                tokio::time::sleep(LOOK).await;
            }
            let next = {
                let mut state = self.state();
                let next = state.waiting.pop_front();
                state.is_awaited = next.is_some();
                next
            };
            let Some((about, notice)) = next else { return };
            self.tell(&about, notice).await;
        }
    }

    fn may_tell(&self, about: &ObjectReference, notice: &Notice) -> bool {
        let now = Instant::now();
        let told = &mut self.state().told;
        if told.len() >= REMEMBERED_MAX {
            told.retain(|_, at| now.duration_since(*at) < QUIET);
        }
        let key = key_of(about, notice);
        let quiet = told.get(&key).is_some_and(|at| now.duration_since(*at) < QUIET);
        if !quiet {
            told.insert(key, now);
        }
        !quiet
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(mut note: String) -> String {
    if note.len() > NOTE_BYTES_MAX {
        let mut end = NOTE_BYTES_MAX;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn events() -> (Events, Arc<Liveness>, Arc<AtomicUsize>) {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let service = tower::service_fn(move |request: Request<Body>| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                let body = request.into_body().collect_bytes().await.expect("a whole body");
                Ok::<_, tower::BoxError>(Response::new(Body::from(body.to_vec())))
            }
        });
        let liveness = Arc::new(Liveness::default());
        let client = Client::new(service, "ns");
        (Events::new(client, "test", "me", Arc::clone(&liveness)), liveness, sent)
    }

    fn about(uid: &str) -> ObjectReference {
        ObjectReference {
            namespace: Some("ns".into()),
            name: Some("a".into()),
            uid: Some(uid.into()),
            ..ObjectReference::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p4_the_same_reason_on_the_same_object_is_told_once_a_minute() {
        let (events, _, sent) = events();
        let drift = || Notice::drift(ChildKind::Service, "a-kv-rw");
        for _ in 0..50 {
            events.tell(&about("u"), drift()).await;
        }
        assert_eq!(sent.load(Ordering::SeqCst), 1);
        events.tell(&about("other"), drift()).await;
        events.tell(&about("u"), Notice::orphan(ChildKind::Service, "x")).await;
        assert_eq!(sent.load(Ordering::SeqCst), 3);
        tokio::time::advance(QUIET).await;
        events.tell(&about("u"), drift()).await;
        assert_eq!(sent.load(Ordering::SeqCst), 4);
        for generation in [2, 3, 3] {
            let change = Notice::change(Reason::RunsChanged, generation, "adds 1 run");
            events.tell(&about("u"), change).await;
        }
        assert_eq!(sent.load(Ordering::SeqCst), 6, "each change is told once");
    }

    #[tokio::test(start_paused = true)]
    async fn p4_no_event_is_sent_while_the_server_answers_5xx_or_429() {
        for code in [Some(500), Some(503), Some(429), None] {
            let (events, liveness, sent) = events();
            liveness.answered("/x", code);
            for _ in 0..20 {
                events.tell(&about("u"), Notice::drift(ChildKind::Service, "a")).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(sent.load(Ordering::SeqCst), 0, "{code:?}");
            // It is told of once the server is well, and once.
            tokio::time::sleep(Duration::from_secs(15)).await;
            assert_eq!(sent.load(Ordering::SeqCst), 1, "{code:?}");
            events.tell(&about("u"), Notice::drift(ChildKind::Service, "a")).await;
            assert_eq!(sent.load(Ordering::SeqCst), 1, "{code:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_wait_are_bounded_and_a_new_trouble_keeps_them() {
        let (events, liveness, sent) = events();
        liveness.answered("/x", Some(503));
        for uid in 0..WAITING_MAX + 10 {
            events.tell(&about(&uid.to_string()), Notice::orphan(ChildKind::Service, "x")).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        liveness.answered("/x", Some(503));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(sent.load(Ordering::SeqCst), 0, "the server is not well yet");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(sent.load(Ordering::SeqCst), WAITING_MAX);
        // What comes afterwards waits anew.
        liveness.answered("/x", Some(503));
        events.tell(&about("late"), Notice::orphan(ChildKind::Service, "x")).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(sent.load(Ordering::SeqCst), WAITING_MAX + 1);
    }
}
