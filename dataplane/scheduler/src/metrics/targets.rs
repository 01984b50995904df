//! The metrics of targets.
//!
//! Must not: make a series for each address that a job names by itself: there may be thousands. They
//! are together the target with the empty name.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::dispatch::{Counts, Latency, TargetFigures, TargetName};

/// Figures of one series.
#[derive(Default)]
struct Sum {
    queued: u64,
    in_flight: u64,
    throttled: u64,
    counts: Counts,
    latency: Latency,
}

impl Sum {
    fn add(&mut self, other: &TargetFigures) {
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.throttled += u64::from(other.throttled_since_ms.is_some());
        self.counts += other.counts;
        self.latency += &other.latency;
    }
}

/// Writes them all.
pub(super) fn encode(
    figures: &[TargetFigures],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut targets: BTreeMap<&str, Sum> = BTreeMap::new();
    for figures in figures {
        let name = match &figures.target {
            TargetName::Named(name) => &**name,
            TargetName::AdHoc(_) => "",
        };
        targets.entry(name).or_default().add(figures);
    }
    gauges(&targets, encoder)?;
    calls(&targets, encoder)?;
    seconds(&targets, encoder)
}

fn gauges(targets: &BTreeMap<&str, Sum>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    type Figure = fn(&Sum) -> u64;
    let all: [(&str, &str, Figure); 3] = [
        ("target_queued", "Calls that wait for their target", |sum| sum.queued),
        ("target_in_flight", "Calls sent and not answered", |sum| sum.in_flight),
        (
            "target_throttled",
            "1 while calls wait because of the target's rate or because it asked for a pause",
            |sum| sum.throttled,
        ),
    ];
    for (name, help, figure) in all {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (target, sum) in targets {
            let number = i64::try_from(figure(sum)).unwrap_or(i64::MAX);
            ConstGauge::new(number).encode(family.encode_family(&[("target", *target)])?)?;
        }
    }
    Ok(())
}

fn calls(targets: &BTreeMap<&str, Sum>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Calls that are over, by how they ended";
    let mut family = encoder.encode_descriptor("target_calls", help, None, MetricType::Counter)?;
    for (target, sum) in targets {
        for (result, number) in sum.counts.named() {
            let labels = [("target", *target), ("result", result)];
            ConstCounter::new(number).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn seconds(targets: &BTreeMap<&str, Sum>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Calls by how long they took";
    let kind = MetricType::Histogram;
    let mut family = encoder.encode_descriptor("target_call_seconds", help, None, kind)?;
    for (target, sum) in targets {
        let latency = &sum.latency;
        let bound = |index| Latency::bound(index).map_or(f64::MAX, |bound| bound.as_secs_f64());
        let counts = latency.buckets.iter().enumerate();
        let buckets: Vec<(f64, u64)> =
            counts.map(|(index, count)| (bound(index), *count)).collect();
        let labels = [("target", *target)];
        let mut metric = family.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(
            Duration::as_secs_f64(&latency.sum),
            latency.count(),
            &buckets,
            None,
        )?;
    }
    Ok(())
}
