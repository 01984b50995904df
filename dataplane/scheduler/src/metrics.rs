//! What the process shows at `/metrics`: `docs/metrics.md` lists it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orrery_kit::health::Health;
use orrery_kit::vitals::Vitals;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::archive::Archives;
use crate::dispatch::{Dispatcher, Options, Target};
use crate::engine::{LATENESS_BOUNDS_MS, Shared};

mod archives;
mod targets;

/// Reads the figures when somebody asks.
struct Figures {
    shared: Arc<Shared>,
    dispatcher: Arc<Dispatcher>,
    archives: Option<Arc<Archives>>,
    vitals: Vitals,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

/// The metrics of a process; `data` is its data folder.
pub(crate) fn registry(
    shared: Arc<Shared>,
    dispatcher: Arc<Dispatcher>,
    archives: Option<Arc<Archives>>,
    health: Health,
    data: PathBuf,
) -> Arc<Mutex<Registry>> {
    let mut registry = Registry::with_prefix("orrery_scheduler");
    let vitals = Vitals::begin(health, data, "1 while jobs are launched");
    registry.register_collector(Box::new(Figures { shared, dispatcher, archives, vitals }));
    Arc::new(Mutex::new(registry))
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let figures = self.shared.figures();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (errands, waiting) = self.dispatcher.errands().count();
        self.vitals.encode(&mut encoder)?;
        let owner = i64::from(self.shared.standing.is_owner());
        let gauges = [
            ("owner", "1 while this process owns the jobs: others stand by", owner),
            ("jobs", "Jobs, recurring and single", count(figures.jobs)),
            ("jobs_declared", "Jobs declared by Schedules", count(figures.declared)),
            ("runs_in_flight", "Runs launched and not over", count(figures.running)),
            ("errands_open", "Runs that the operator carries out", count(errands as u64)),
            ("errands_waiting", "Of those, not begun yet", count(waiting as u64)),
            ("jobs_waiting", "Jobs that are due and wait for room", count(figures.parked)),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let lateness = self.shared.lateness();
        let sum = self.shared.lateness_sum_ms() as f64 / 1000.0;
        let bounds = LATENESS_BOUNDS_MS.iter().map(|bound| *bound as f64 / 1000.0);
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::MAX]).zip(lateness.clone()).collect();
        let mut metric = encoder.encode_descriptor(
            "launch_lateness_seconds",
            "Launches by how late they were behind their planned moment",
            None,
            MetricType::Histogram,
        )?;
        metric.encode_histogram::<NoLabelSet>(sum, lateness.iter().sum(), &buckets, None)?;
        let help = "Runs that are over, by how they ended";
        let mut ended =
            encoder.encode_descriptor("runs_ended", help, None, counter().metric_type())?;
        for (how, number) in self.shared.ended() {
            let labels = [("result", how.as_str())];
            ConstCounter::new(number).encode(ended.encode_family(&labels)?)?;
        }
        let overdue = ConstCounter::new(self.shared.overdue());
        let help = "Runs that were not over within finishWithinSeconds";
        let metric =
            encoder.encode_descriptor("runs_overdue", help, None, overdue.metric_type())?;
        overdue.encode(metric)?;
        archives::encode(self.archives.as_deref(), &mut encoder)?;
        targets::encode(&self.dispatcher.figures(), &mut encoder)
    }
}

fn counter() -> ConstCounter<u64> {
    ConstCounter::new(0)
}

/// Every metric of this data plane in the text format, with the values of an idle process that has one
/// target: what `docs/metrics.md` is made from.
///
/// # Errors
/// When no thread can be started for the dispatcher.
pub fn metrics_text() -> std::io::Result<String> {
    let target = Target::new("billing");
    let dispatcher = Dispatcher::start(Options::default(), vec![target], |_, _, _| {})?;
    let dispatcher = Arc::new(dispatcher);
    let health = Health::default();
    let shared = Arc::new(Shared::new(1, health.clone()));
    let registry = registry(shared, Arc::clone(&dispatcher), None, health, PathBuf::from("."));
    let registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("writing to a String does not fail");
    dispatcher.stop(Duration::ZERO);
    Ok(text)
}
