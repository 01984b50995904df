//! How many objects of each kind are in which condition, as their statuses say.
//!
//! Must not: name an object. A label per object would grow without bound and repeat what the
//! status says already; the count is what an alert needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use orrery_api::Condition;
use orrery_api::condition::{ConditionStatus, ConditionType};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// What was written last about every object, by UID.
#[derive(Debug, Clone, Default)]
pub(super) struct Objects {
    known: Arc<Mutex<HashMap<String, Seen>>>,
}

#[derive(Debug)]
struct Seen {
    kind: String,
    conditions: Vec<(ConditionType, &'static str)>,
}

impl Objects {
    pub(super) fn set(&self, kind: &str, uid: &str, conditions: &[Condition]) {
        let ours = ConditionType::ALL.iter().filter_map(|type_| {
            let found = conditions.iter().find(|c| c.type_ == type_.as_str())?;
            Some((*type_, word(found.status)))
        });
        let seen = Seen { kind: kind.to_owned(), conditions: ours.collect() };
        self.lock().insert(uid.to_owned(), seen);
    }

    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn counts(&self) -> BTreeMap<(String, ConditionType, &'static str), i64> {
        let mut counts = BTreeMap::new();
        for seen in self.lock().values() {
            for (type_, status) in &seen.conditions {
                *counts.entry((seen.kind.clone(), *type_, *status)).or_insert(0) += 1;
            }
        }
        counts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Seen>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.counts();
        if counts.is_empty() {
            return Ok(());
        }
        let help = "Objects by kind, type of condition and its status";
        let mut family =
            encoder.encode_descriptor("orrery_objects", help, None, MetricType::Gauge)?;
        for ((kind, type_, status), count) in counts {
            let labels =
                [("kind", kind.as_str()), ("condition", type_.as_str()), ("status", status)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use orrery_api::condition::{ConditionSet, Time};
    use orrery_api::{ConditionType, Reason};

    #[test]
    fn objects_are_counted_by_condition_until_they_are_gone() {
        let metrics = Metrics::default();
        let now = Time::new(jiff::Timestamp::UNIX_EPOCH);
        let ready = |status: bool| {
            ConditionSet::new(1)
                .with(ConditionType::Ready, status, Reason::Progressing, "m")
                .merge(&[], now)
        };
        metrics.object("KVCluster", "a", &ready(true));
        metrics.object("KVCluster", "b", &ready(true));
        metrics.object("KVCluster", "b", &ready(false));
        let text = metrics.encode();
        let line = |status: &str| {
            format!(
                "orrery_objects{{kind=\"KVCluster\",condition=\"Ready\",status=\"{status}\"}} 1"
            )
        };
        assert!(text.contains(&line("True")) && text.contains(&line("False")), "{text}");
        metrics.object_gone("b");
        let text = metrics.encode();
        assert!(text.contains(&line("True")) && !text.contains(&line("False")), "{text}");
    }
}
