//! What the process shows at `/metrics`: `docs/metrics.md` lists it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use orrery_kit::health::Health;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::dispatch::{Dispatcher, TargetName};
use crate::engine::{LATENESS_BOUNDS_MS, Shared};

/// Reads the figures when somebody asks.
struct Figures {
    shared: Arc<Shared>,
    dispatcher: Arc<Dispatcher>,
    health: Health,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

/// The metrics of a process.
pub(crate) fn registry(
    shared: Arc<Shared>,
    dispatcher: Arc<Dispatcher>,
    health: Health,
) -> Arc<Mutex<Registry>> {
    let mut registry = Registry::with_prefix("orrery_scheduler");
    registry.register_collector(Box::new(Figures { shared, dispatcher, health }));
    Arc::new(Mutex::new(registry))
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let figures = self.shared.figures();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let ready = i64::from(self.health.readiness().ready);
        let gauges = [
            ("ready", "1 while jobs are launched", ready),
            ("jobs", "Jobs, recurring and single", count(figures.jobs)),
            ("jobs_declared", "Jobs declared by Schedules", count(figures.declared)),
            ("runs_in_flight", "Runs launched and not over", count(figures.running)),
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
            prometheus_client::metrics::MetricType::Histogram,
        )?;
        metric.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
            sum,
            lateness.iter().sum(),
            &buckets,
            None,
        )?;
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
        self.targets(&mut encoder)
    }
}

fn counter() -> ConstCounter<u64> {
    ConstCounter::new(0)
}

impl Figures {
    fn targets(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        // Those that are known by their address alone are one series: there may be thousands.
        let mut targets: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        for figures in self.dispatcher.figures() {
            let name = match &figures.target {
                TargetName::Named(name) => name.to_string(),
                TargetName::AdHoc(_) => String::new(),
            };
            let sum = targets.entry(name).or_default();
            sum[0] += figures.queued;
            sum[1] += figures.in_flight;
        }
        let all = [
            ("target_queued", "Calls that wait for their target", 0),
            ("target_in_flight", "Calls sent and not answered", 1),
        ];
        for (name, help, index) in all {
            let kind = ConstGauge::new(0_i64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (target, numbers) in &targets {
                let labels = [("target", target.as_str())];
                let number = i64::try_from(numbers[index]).unwrap_or(i64::MAX);
                ConstGauge::new(number).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
