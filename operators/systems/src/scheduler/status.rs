//! The status of a Scheduler: the common part, and what was seen of its processes.
//!
//! Must not: carry a figure that moves all the time, or the controller would never rest.

use std::collections::BTreeMap;

use orrery_api::scheduler::{
    Endpoint, Lateness, Partition, Scheduler, SchedulerStatus, Verification, figures,
};
use orrery_api::{CommonStatus, Time};
use orrery_runtime::Observation;
use orrery_runtime::observation::{Report, Role};

use super::SYSTEM;
use crate::parts::names;

/// Upper ends of the steps in which lateness is shown, in milliseconds, and their names.
const LATENESS: [(i64, &str); 14] = [
    (1, "1ms"),
    (2, "2ms"),
    (5, "5ms"),
    (10, "10ms"),
    (20, "20ms"),
    (50, "50ms"),
    (100, "100ms"),
    (200, "200ms"),
    (500, "500ms"),
    (1_000, "1s"),
    (5_000, "5s"),
    (30_000, "30s"),
    (300_000, "5m"),
    (3_600_000, "1h"),
];
/// Steps in which numbers of schedules are shown.
const SCHEDULES: [(i64, &str); 9] = [
    (0, "0"),
    (10, "1-10"),
    (100, "10-100"),
    (1_000, "100-1k"),
    (10_000, "1k-10k"),
    (100_000, "10k-100k"),
    (1_000_000, "100k-1M"),
    (10_000_000, "1M-10M"),
    (100_000_000, "10M-100M"),
];

/// The status to store. What only processes know is kept while none answers.
pub fn summary(
    object: &Scheduler,
    stored: Option<&SchedulerStatus>,
    common: CommonStatus,
    seen: &Observation,
) -> SchedulerStatus {
    let stored = stored.cloned().unwrap_or_default();
    let partitions = partitions(seen).unwrap_or(stored.partitions);
    let sum = |name| {
        let values = seen.reports().filter_map(|(_, report)| report.figures.get(name));
        values.copied().reduce(i64::saturating_add)
    };
    let schedules = sum(figures::SCHEDULES).map(|count| step(&SCHEDULES, count, "over 100M"));
    let late = seen.reports().filter_map(|(_, r)| r.figures.get(figures::LATENESS_P99_MS)).max();
    let lateness = late.map(|late| Lateness { p99_bucket: step(&LATENESS, *late, "over 1h") });
    // What a recovery was found to be when it was first carried out is kept.
    let recovery = object.spec.bootstrap.as_ref().and_then(|bootstrap| bootstrap.recovery.as_ref());
    // Nothing is promised before there is a workload that was applied.
    let exists = !seen.workloads.is_empty();
    SchedulerStatus {
        common,
        endpoints: if exists { endpoints(object) } else { Vec::new() },
        partition_count: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
        partitions,
        schedules: schedules.or(stored.schedules),
        lateness: lateness.or(stored.lateness),
        durability: exists.then(|| durability(object, seen)),
        verify: seen.reports().find_map(|(_, report)| verification(report)).or(stored.verify),
        recovered_from: recovery
            .and_then(|_| stored.recovered_from.or(seen.recovered_from.clone())),
    }
}

/// The name of the first step that the value is not above.
fn step(steps: &[(i64, &str)], value: i64, above: &str) -> String {
    let found = steps.iter().find(|(end, _)| value <= *end);
    found.map_or(above, |(_, name)| name).to_owned()
}

fn endpoints(object: &Scheduler) -> Vec<Endpoint> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let (service, api) = (names::main(name, SYSTEM), &object.spec.api);
    let grpc = api.grpc.iter().map(|grpc| ("grpc", grpc.port));
    let of = |(name, port): (&str, i32)| Endpoint {
        name: name.to_owned(),
        address: format!("{service}.{namespace}.svc:{port}"),
    };
    [("http", api.http.port)].into_iter().chain(grpc).map(of).collect()
}

/// The partitions as their owners report them; none when no process answers, so that a restart does
/// not make them come and go.
fn partitions(seen: &Observation) -> Option<Vec<Partition>> {
    let mut reports = seen.reports().peekable();
    reports.peek()?;
    let mut owners: BTreeMap<u32, Partition> = BTreeMap::new();
    for (pod, report) in reports {
        let leads = |role: Role| match role {
            Role::Unspecified => report.role() == Role::Primary,
            role => role == Role::Primary,
        };
        for shard in report.shards.iter().filter(|shard| leads(shard.role())) {
            let epoch = i64::try_from(shard.epoch).unwrap_or(i64::MAX);
            if owners.get(&shard.id).is_none_or(|known| known.epoch < epoch) {
                let id = i32::try_from(shard.id).unwrap_or(i32::MAX);
                owners.insert(shard.id, Partition { id, owner: pod.to_owned(), epoch });
            }
        }
    }
    Some(owners.into_values().collect())
}

/// What keeps launches. A process that gives less than the spec asks for is believed.
fn durability(object: &Scheduler, seen: &Observation) -> String {
    let weaker = |report: &Report| {
        let class = report.durability.as_str();
        matches!(class, "memory" | "os").then(|| class.to_owned())
    };
    let weaker = seen.reports().find_map(|(_, report)| weaker(report));
    weaker.unwrap_or_else(|| object.spec.journal.backend.caps().durability.to_owned())
}

fn verification(report: &Report) -> Option<Verification> {
    let figure = |name| report.figures.get(name).copied();
    let time = |seconds| jiff::Timestamp::from_second(seconds).ok().map(Time::new);
    Some(Verification {
        from: time(figure(figures::VERIFY_FROM)?)?,
        to: time(figure(figures::VERIFY_TO)?)?,
        missed: figure(figures::VERIFY_MISSED)?,
        duplicated: figure(figures::VERIFY_DUPLICATED)?,
    })
}

#[cfg(test)]
mod tests {
    use orrery_api::scheduler::SchedulerSpec;
    use orrery_operand::v1;
    use orrery_runtime::{PodView, WorkloadView};

    use super::*;

    fn seen(report: Option<Report>) -> Observation {
        let pod = PodView { name: "default-scheduler-0".into(), report, ..PodView::default() };
        let workloads = vec![WorkloadView::default()];
        Observation { workloads, pods: vec![pod], ..Observation::default() }
    }

    fn report(figures: &[(&str, i64)]) -> Report {
        let shard = |id| v1::Shard { id, epoch: 3, ..v1::Shard::default() };
        Report {
            role: Role::Primary.into(),
            shards: vec![shard(0), shard(1)],
            figures: figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn figures_are_shown_in_steps_and_kept_while_nobody_answers() {
        let mut object = Scheduler::new("default", SchedulerSpec::default());
        object.metadata.namespace = Some("shop".into());
        let told = report(&[
            (figures::SCHEDULES, 1_234),
            (figures::LATENESS_P99_MS, 7),
            (figures::VERIFY_FROM, 0),
            (figures::VERIFY_TO, 60),
            (figures::VERIFY_MISSED, 0),
            (figures::VERIFY_DUPLICATED, 0),
        ]);
        let status = summary(&object, None, CommonStatus::default(), &seen(Some(told)));
        assert_eq!(status.schedules.as_deref(), Some("1k-10k"));
        assert_eq!(status.lateness.as_ref().map(|l| l.p99_bucket.as_str()), Some("10ms"));
        assert_eq!((status.partition_count, status.partitions[1].epoch), (2, 3));
        assert_eq!(status.partitions[0].owner, "default-scheduler-0");
        assert_eq!(status.endpoints[0].address, "default-scheduler.shop.svc:8080");
        assert_eq!(status.durability.as_deref(), Some("single-volume"));
        assert!(status.verify.is_some());
        let silent = summary(&object, Some(&status), CommonStatus::default(), &seen(None));
        assert_eq!(silent, status);
    }

    #[test]
    fn steps_have_no_holes() {
        for (value, name) in [(0, "0"), (1, "1-10"), (11, "10-100"), (1_000_000_000, "over 100M")] {
            assert_eq!(step(&SCHEDULES, value, "over 100M"), name);
        }
    }
}
