//! A dispatcher whose outcomes can be waited for.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use orrery_scheduler::dispatch::{
    Action, Dispatcher, HttpAction, Options, SuccessCodes, Target, TargetFigures, TargetName,
};
use orrery_scheduler::run::{Call, Outcome, RunId};

/// For things that happen at once on an idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

#[derive(Default)]
struct Log {
    /// In the order in which they came.
    outcomes: Mutex<Vec<(RunId, u32, Outcome)>>,
    came: Condvar,
}

pub(crate) struct Rig {
    pub(crate) dispatcher: Dispatcher,
    log: Arc<Log>,
}

impl Rig {
    pub(crate) fn new(targets: Vec<Target>) -> Self {
        Self::with(Options { allow_loopback: true, ..Options::default() }, targets)
    }

    pub(crate) fn with(options: Options, targets: Vec<Target>) -> Self {
        let log = Arc::<Log>::default();
        let writer = Arc::clone(&log);
        let on_outcome = move |run, attempt, outcome| {
            writer.outcomes.lock().expect("whole").push((run, attempt, outcome));
            writer.came.notify_all();
        };
        let dispatcher = Dispatcher::start(options, targets, on_outcome).expect("it starts");
        Self { dispatcher, log }
    }

    /// Hands one call over and waits for its outcome.
    pub(crate) fn outcome(&self, call: Call) -> Outcome {
        let run = call.run;
        self.dispatcher.hand_over(vec![call]);
        self.wait_for(run)
    }

    pub(crate) fn wait_for(&self, run: RunId) -> Outcome {
        let mut found = None;
        self.wait(|outcomes| {
            found = outcomes.iter().find(|(other, ..)| *other == run).cloned();
            found.is_some()
        });
        found.expect("it was waited for").2
    }

    /// All outcomes in their order, once there are as many.
    pub(crate) fn wait_for_count(&self, count: usize) -> Vec<(RunId, u32, Outcome)> {
        self.wait(|outcomes| outcomes.len() >= count);
        let outcomes = self.outcomes();
        assert_eq!(outcomes.len(), count, "each call has one outcome");
        outcomes
    }

    pub(crate) fn outcomes(&self) -> Vec<(RunId, u32, Outcome)> {
        self.log.outcomes.lock().expect("whole").clone()
    }

    fn wait(&self, mut is_true: impl FnMut(&[(RunId, u32, Outcome)]) -> bool) {
        let outcomes = self.log.outcomes.lock().expect("whole");
        let (outcomes, waited) = self
            .log
            .came
            .wait_timeout_while(outcomes, DEADLINE, |outcomes| !is_true(outcomes))
            .expect("whole");
        assert!(!waited.timed_out(), "no such outcome; there are {}", outcomes.len());
    }

    pub(crate) fn figures(&self, target: &str) -> TargetFigures {
        let figures = self.dispatcher.figures();
        let found = figures.into_iter().find(|figures| figures.target.as_str() == target);
        found.unwrap_or_else(|| panic!("no target {target}"))
    }
}

pub(crate) fn wait_until(mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < DEADLINE, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn run(number: u64) -> RunId {
    RunId { partition: 3, number }
}

pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_millis() as i64
}

/// An action of a named target.
pub(crate) fn named(target: &str, uri: &str) -> HttpAction {
    HttpAction { target: TargetName::named(target), ..ad_hoc(uri) }
}

/// An action of an address.
pub(crate) fn ad_hoc(uri: &str) -> HttpAction {
    let uri: Uri = uri.parse().expect("an address");
    HttpAction {
        target: TargetName::ad_hoc(&uri).expect("an origin"),
        method: Method::POST,
        uri,
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{\"job\":1}"),
        status_uri: None,
        success: SuccessCodes::default(),
        timeout: DEADLINE,
    }
}

/// A call with nothing special about it.
pub(crate) fn call(number: u64, action: impl Into<Arc<Action>>) -> Call {
    Call {
        run: run(number),
        attempt: 1,
        key: format!("job-{number}").into(),
        job: "job".into(),
        tenant: "tenant".into(),
        priority: 5,
        nominal: 1_767_225_600,
        planned_ms: 1_767_225_600_000,
        expires_ms: None,
        is_resumed: false,
        action: action.into(),
    }
}

pub(crate) fn http(number: u64, action: HttpAction) -> Call {
    call(number, Action::Http(action))
}

pub(crate) fn succeeded(note: &str) -> Outcome {
    Outcome::Succeeded { note: note.to_owned() }
}

/// The note of an outcome that is neither cancelled nor expired.
pub(crate) fn note(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Succeeded { note }
        | Outcome::Failed { note }
        | Outcome::Refused { note }
        | Outcome::TimedOut { note } => note,
        Outcome::Cancelled | Outcome::Expired => panic!("{outcome:?} has no note"),
    }
}

/// How many runs ended how.
pub(crate) fn by_run(outcomes: &[(RunId, u32, Outcome)]) -> HashMap<u64, Outcome> {
    outcomes.iter().map(|(run, _, outcome)| (run.number, outcome.clone())).collect()
}
