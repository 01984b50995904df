//! What the operator counts, under the names controller-runtime uses, so that existing dashboards
//! and alerts work.
//!
//! Must not: carry labels from user input. A round is measured by a guard that records when it is
//! dropped, so a cancelled round counts too. What a figure means is its help text, from which
//! `docs/metrics.md` is made.
//!
//! kube does not show its queue. `workqueue_depth` is the number of objects that were triggered and
//! not yet started; timed re-queues appear when they start.

mod objects;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use http::Method;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use objects::Objects;

/// Seconds: 10 ms to a minute.
const ROUND_BUCKETS_SECONDS: [f64; 12] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabel {
    controller: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    controller: &'static str,
    /// Name of the error's variant.
    error: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// All figures of the process; one registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ResultLabels, Counter>,
    errors: Family<ControllerLabel, Counter>,
    errors_by_kind: Family<ErrorLabels, Counter>,
    seconds: Family<ControllerLabel, Histogram>,
    active: Family<ControllerLabel, Gauge>,
    workers_max: Family<ControllerLabel, Gauge>,
    queue_depth: Family<NameLabel, Gauge>,
    queue_adds: Family<NameLabel, Counter>,
    queue_retries: Family<NameLabel, Counter>,
    leader: Family<NameLabel, Gauge>,
    requests: Family<RequestLabels, Counter>,
    watches: Family<StateLabel, Gauge>,
    objects: Objects,
    waiting: Mutex<HashSet<(&'static str, String)>>,
    writes: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            errors: Family::default(),
            errors_by_kind: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(ROUND_BUCKETS_SECONDS)),
            active: Family::default(),
            workers_max: Family::default(),
            queue_depth: Family::default(),
            queue_adds: Family::default(),
            queue_retries: Family::default(),
            leader: Family::default(),
            requests: Family::default(),
            watches: Family::default(),
            objects: Objects::default(),
            waiting: Mutex::default(),
            writes: AtomicU64::new(0),
        };
        metrics.register();
        metrics.set_leader("orrery", false);
        metrics
    }
}

/// Name and help text are registered without the `_total` that counters get when written out.
macro_rules! register {
    ($metrics:ident, $($name:literal, $help:literal, $field:ident;)*) => {
        $($metrics.registry.register($name, $help, $metrics.$field.clone());)*
    };
}

impl Metrics {
    fn register(&mut self) {
        register!(self,
            "controller_runtime_reconcile", "Rounds by controller and result", reconciles;
            "controller_runtime_reconcile_errors", "Failed rounds", errors;
            "orrery_reconcile_errors_by_kind", "Failed rounds by kind of error", errors_by_kind;
            "controller_runtime_reconcile_time_seconds", "Length of a round in seconds", seconds;
            "controller_runtime_active_workers", "Rounds running now", active;
            "controller_runtime_max_concurrent_reconciles", "Rounds that may run at once", workers_max;
            "workqueue_depth", "Objects triggered and not yet started", queue_depth;
            "workqueue_adds", "Triggers", queue_adds;
            "workqueue_retries", "Rounds repeated after a failure", queue_retries;
            "leader_election_master_status", "1 while this process leads", leader;
            "rest_client_requests", "Calls to the API server by method and code", requests;
            "orrery_watches", "Watches by state: heard from lately, deaf (not heard from), stuck (not even asking)", watches;
        );
        self.registry.register_collector(Box::new(self.objects.clone()));
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String does not fail");
        out
    }

    /// One call to the API server was answered; no code when it was not.
    pub fn api_request(&self, method: &Method, code: Option<u16>) {
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        let labels = RequestLabels { method: method.to_string(), code };
        self.requests.get_or_create(&labels).inc();
        if crate::client::is_write(method) {
            self.writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Writes sent to the API server so far, events and status included.
    pub fn writes(&self) -> u64 {
        self.writes.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// How many watches heard from the server lately, did not, and do not even ask any more.
    pub fn set_watches(&self, heard: usize, deaf: usize, stuck: usize) {
        for (state, count) in [("heard", heard), ("deaf", deaf), ("stuck", stuck)] {
            self.watches.get_or_create(&StateLabel { state }).set(count as i64);
        }
    }

    /// The conditions of an object as they were written last.
    pub fn object(&self, kind: &str, uid: &str, conditions: &[orrery_api::Condition]) {
        self.objects.set(kind, uid, conditions);
    }

    /// An object is gone.
    pub fn object_gone(&self, uid: &str) {
        self.objects.forget(uid);
    }

    /// Whether this process leads.
    pub fn set_leader(&self, name: &'static str, leads: bool) {
        self.leader.get_or_create(&NameLabel { name }).set(i64::from(leads));
    }

    /// The concurrency of a controller, once at its start.
    pub fn controller(&self, controller: &'static str, workers_max: u16) {
        let gauge = self.workers_max.get_or_create(&ControllerLabel { controller });
        gauge.set(i64::from(workers_max));
    }

    /// An object was triggered.
    pub fn triggered(&self, controller: &'static str, key: String) {
        self.queue_adds.get_or_create(&NameLabel { name: controller }).inc();
        if self.lock().insert((controller, key)) {
            self.queue_depth.get_or_create(&NameLabel { name: controller }).inc();
        }
    }

    /// An object that was triggered is gone.
    pub fn gone(&self, controller: &'static str, key: String) {
        if self.lock().remove(&(controller, key)) {
            self.queue_depth.get_or_create(&NameLabel { name: controller }).dec();
        }
    }

    /// A round starts; the guard records its end.
    pub fn round(&self, controller: &'static str, key: &str) -> Round<'_> {
        self.gone(controller, key.to_owned());
        self.active.get_or_create(&ControllerLabel { controller }).inc();
        Round { metrics: self, controller, started: Instant::now(), result: "cancelled" }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(&'static str, String)>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One round of one object.
#[derive(Debug)]
pub struct Round<'a> {
    metrics: &'a Metrics,
    controller: &'static str,
    started: Instant,
    result: &'static str,
}

impl Round<'_> {
    /// The round ended well; `requeue` when it asked to be called again.
    pub fn succeeded(&mut self, requeue: bool) {
        self.result = if requeue { "requeue_after" } else { "success" };
    }

    /// The round failed with the error of this name.
    pub fn failed(&mut self, error: &'static str) {
        self.result = "error";
        let controller = self.controller;
        self.metrics.errors.get_or_create(&ControllerLabel { controller }).inc();
        self.metrics.errors_by_kind.get_or_create(&ErrorLabels { controller, error }).inc();
        self.metrics.queue_retries.get_or_create(&NameLabel { name: controller }).inc();
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        let (controller, result) = (self.controller, self.result);
        let seconds = self.started.elapsed().as_secs_f64();
        self.metrics.reconciles.get_or_create(&ResultLabels { controller, result }).inc();
        self.metrics.seconds.get_or_create(&ControllerLabel { controller }).observe(seconds);
        self.metrics.active.get_or_create(&ControllerLabel { controller }).dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_controller_runtime() {
        let metrics = Metrics::default();
        metrics.controller("kvcluster", 8);
        metrics.triggered("kvcluster", "a/b".into());
        metrics.triggered("kvcluster", "a/b".into());
        metrics.triggered("kvcluster", "a/c".into());
        metrics.round("kvcluster", "a/b").succeeded(false);
        metrics.round("kvcluster", "a/b").failed("Transient");
        drop(metrics.round("kvcluster", "a/b"));
        metrics.api_request(&Method::PATCH, Some(200));
        let text = metrics.encode();
        for line in [
            "controller_runtime_reconcile_total{controller=\"kvcluster\",result=\"success\"} 1",
            "controller_runtime_reconcile_total{controller=\"kvcluster\",result=\"error\"} 1",
            "controller_runtime_reconcile_total{controller=\"kvcluster\",result=\"cancelled\"} 1",
            "controller_runtime_reconcile_errors_total{controller=\"kvcluster\"} 1",
            "controller_runtime_reconcile_time_seconds_count{controller=\"kvcluster\"} 3",
            "controller_runtime_active_workers{controller=\"kvcluster\"} 0",
            "controller_runtime_max_concurrent_reconciles{controller=\"kvcluster\"} 8",
            "workqueue_depth{name=\"kvcluster\"} 1",
            "workqueue_adds_total{name=\"kvcluster\"} 3",
            "rest_client_requests_total{method=\"PATCH\",code=\"200\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert_eq!(metrics.writes(), 1);
    }

    #[test]
    fn a_process_that_never_led_says_that_it_does_not() {
        let text = Metrics::default().encode();
        assert!(text.contains("leader_election_master_status{name=\"orrery\"} 0"), "{text}");
    }
}
