//! The status of a KVCluster: the common part, and what was seen of its processes.
//!
//! Must not: carry a figure that moves all the time, or the controller would never rest.

use std::collections::BTreeMap;

use orrery_api::CommonStatus;
use orrery_api::kv::{
    AdoptState, Endpoint, FailoverRecord, FollowerState, KVCluster, KVClusterStatus, Shard,
};
use orrery_api::spec::RecoveredFrom;
use orrery_runtime::Observation;
use orrery_runtime::observation::{FollowerView, Report, Role};

use super::{names, spread};

/// The status to store.
pub fn summary(
    object: &KVCluster,
    stored: Option<&KVClusterStatus>,
    common: CommonStatus,
    seen: &Observation,
) -> KVClusterStatus {
    let several = spread::has_several(&object.spec);
    let shards = if several { spread_shards(object, stored, seen) } else { shards(seen) };
    let shards = shards.or_else(|| stored.map(|status| status.shards.clone())).unwrap_or_default();
    // Nothing is promised before there is a workload that was applied.
    let exists = !seen.workloads.is_empty();
    // One of the pods of a group is the primary, or will be.
    let follower_count = match seen.groups.first() {
        None => 0,
        Some(_) if several && object.spec.replicas > 1 => object.spec.followers,
        Some(_) => (common.replicas - 1).max(0),
    };
    KVClusterStatus {
        common,
        follower_count,
        endpoints: if exists { endpoints(object) } else { Vec::new() },
        shard_count: i32::try_from(shards.len()).unwrap_or(i32::MAX),
        shards,
        durability: exists.then(|| durability(object, seen)),
        primary: if several { None } else { primary(seen, stored) },
        followers: followers(seen),
        last_failover: last_failover(seen, stored),
        adopt: object.spec.adopt_from.as_ref().and_then(|_| adopt(seen, stored)),
        recovered_from: recovered_from(object, stored, seen),
    }
}

/// What the recovery was found to be when it was first carried out; nothing without a recovery.
fn recovered_from(
    object: &KVCluster,
    stored: Option<&KVClusterStatus>,
    seen: &Observation,
) -> Option<RecoveredFrom> {
    object.spec.bootstrap.as_ref()?.recovery.as_ref()?;
    let stored = stored.and_then(|status| status.recovered_from.clone());
    stored.or_else(|| seen.recovered_from.clone())
}

/// The pod that takes writes; kept while nothing was seen, since it stays so until another is
/// chosen.
fn primary(seen: &Observation, stored: Option<&KVClusterStatus>) -> Option<String> {
    match seen.groups.first() {
        Some(group) => group.primary.clone(),
        None => stored.and_then(|status| status.primary.clone()),
    }
}

/// The followers by name; one that follows several primaries is as well as with the worst of them.
fn followers(seen: &Observation) -> Vec<FollowerState> {
    let mut worst: BTreeMap<&str, FollowerView> = BTreeMap::new();
    for (name, state) in seen.groups.iter().flat_map(|group| &group.followers) {
        let known = worst.entry(name).or_insert(*state);
        *known = (*known).max(*state);
    }
    worst
        .into_iter()
        .map(|(name, state)| {
            let state = match state {
                FollowerView::InSync => "InSync",
                FollowerView::Copying => "Copying",
                FollowerView::Behind => "Behind",
                FollowerView::Disconnected => "Disconnected",
            };
            FollowerState { name: name.to_owned(), state: state.to_owned() }
        })
        .collect()
}

/// The figures of a process that came back and put records aside which the primary of an epoch did
/// not have.
const DISCARDED: &str = "last_discarded_records";
const DISCARDED_EPOCH: &str = "last_discarded_epoch";

fn last_failover(seen: &Observation, stored: Option<&KVClusterStatus>) -> Option<FailoverRecord> {
    let failover = seen.groups.iter().find_map(|group| Some((group, group.failover.as_ref()?)));
    if let Some((group, failover)) = failover {
        let shard = i32::try_from(group.shard).unwrap_or(i32::MAX);
        return Some(FailoverRecord {
            shard: (seen.groups.len() > 1).then_some(shard),
            from: failover.from.clone(),
            to: failover.to.clone(),
            epoch: i64::try_from(failover.epoch).unwrap_or(i64::MAX),
            position: i64::try_from(failover.position).unwrap_or(i64::MAX),
            lost_records: None,
        });
    }
    let mut record = stored?.last_failover.clone()?;
    // The old primary tells what only it had once it has what the new one has instead.
    let shard = record.shard.and_then(|shard| u32::try_from(shard).ok()).unwrap_or(0);
    let group = seen.groups.iter().find(|group| group.shard == shard);
    let has_copy = group.is_some_and(|group| {
        group.followers.iter().any(|(pod, how)| *pod == record.from && *how == FollowerView::InSync)
    });
    let old = seen.reports().find(|(pod, _)| *pod == record.from);
    let returned = old.and_then(|(_, report)| report.of_shard(shard)).filter(|report| {
        report.role() == Role::Follower
            && i64::try_from(report.epoch).is_ok_and(|epoch| epoch >= record.epoch)
    });
    let returned = returned.filter(|_| has_copy && record.lost_records.is_none());
    // An earlier release does not tell.
    if let Some(report) = returned
        && let Some(epoch) = report.figures.get(DISCARDED_EPOCH)
    {
        let records = report.figures.get(DISCARDED).copied().unwrap_or(0);
        record.lost_records = Some(if *epoch >= record.epoch { records } else { 0 });
    }
    Some(record)
}

/// The figure of a process that takes a Redis over.
const SOURCE_LAG: &str = "source_lag_bytes";
/// Why such a process does not go on.
const ADOPTION_FAILING: &str = "AdoptionFailing";

/// How far a take-over is; kept while nothing was seen. Lag is rounded up to a power of two, or it
/// would move all the time.
fn adopt(seen: &Observation, stored: Option<&KVClusterStatus>) -> Option<AdoptState> {
    let Some((_, report)) = seen.reports().next() else {
        return stored.and_then(|status| status.adopt.clone());
    };
    let link = report.link.as_ref();
    let state = match link {
        _ if report.reason == ADOPTION_FAILING => "Failing",
        Some(link) if link.copy_percent < 100 => "Copying",
        Some(link) if link.up => "Following",
        _ => "Disconnected",
    };
    let lag = report.figures.get(SOURCE_LAG).copied().unwrap_or(0).max(0) as u64;
    let lag = if lag == 0 { 0 } else { lag.checked_next_power_of_two().unwrap_or(lag) };
    let lag_bytes = (state == "Following").then(|| i64::try_from(lag).unwrap_or(i64::MAX));
    Some(AdoptState { state: state.to_owned(), lag_bytes })
}

fn endpoints(object: &KVCluster) -> Vec<Endpoint> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let (resp, http) = (object.spec.resp.port, &object.spec.http);
    let endpoint = |kind: &str, service: String, port: i32| Endpoint {
        name: kind.to_owned(),
        address: format!("{service}.{namespace}.svc:{port}"),
    };
    let (rw, ro) = (names::read_write(name), names::read_only(name));
    let watch = http.open_port().map(|port| endpoint("http", rw.clone(), port));
    [endpoint("rw", rw, resp), endpoint("ro", ro, resp)].into_iter().chain(watch).collect()
}

/// The shards as their owners report them; none when no process answers, so that a restart does
/// not make them come and go.
fn shards(seen: &Observation) -> Option<Vec<Shard>> {
    let mut reports = seen.reports().peekable();
    reports.peek()?;
    let mut owners: BTreeMap<u32, Shard> = BTreeMap::new();
    for (pod, report) in reports.filter(|(_, report)| report.role() == Role::Primary) {
        for shard in &report.shards {
            let epoch = i64::try_from(shard.epoch).unwrap_or(i64::MAX);
            let newer = owners.get(&shard.id).is_none_or(|known| known.epoch < epoch);
            if newer {
                let id = i32::try_from(shard.id).unwrap_or(i32::MAX);
                let (slots, owner) = (shard.slots.clone(), pod.to_owned());
                owners.insert(shard.id, Shard { id, slots, owner, epoch });
            }
        }
    }
    Some(owners.into_values().collect())
}

/// Several shards: those of groups by their grants, the others as their owners report them, or did before
/// they fell silent: nobody else can own them.
fn spread_shards(
    object: &KVCluster,
    stored: Option<&KVClusterStatus>,
    seen: &Observation,
) -> Option<Vec<Shard>> {
    let layout = spread::layout(&object.spec);
    let shard = |id: u32, owner: &str, epoch: u64| Shard {
        id: i32::try_from(id).unwrap_or(i32::MAX),
        slots: layout.slots_text(id),
        owner: owner.to_owned(),
        epoch: i64::try_from(epoch).unwrap_or(i64::MAX),
    };
    if !seen.groups.is_empty() {
        let granted = seen
            .groups
            .iter()
            .filter_map(|group| Some(shard(group.shard, group.primary.as_deref()?, group.epoch)));
        return Some(granted.collect()).filter(|shards: &Vec<Shard>| !shards.is_empty());
    }
    let mut reports = seen.reports().peekable();
    reports.peek()?;
    let stored = stored.iter().flat_map(|status| &status.shards);
    let mut owned: BTreeMap<i32, Shard> = stored.map(|one| (one.id, one.clone())).collect();
    for (pod, report) in reports {
        for one in report.shards.iter().filter(|one| one.role() == Role::Primary) {
            let one = shard(one.id, pod, one.epoch);
            owned.insert(one.id, one);
        }
    }
    Some(owned.into_values().collect())
}

/// What keeps acknowledged writes. A process that gives less than the spec asks for is believed.
fn durability(object: &KVCluster, seen: &Observation) -> String {
    let weaker = seen.reports().map(|(_, report)| weaker(report)).find(Option::is_some).flatten();
    weaker.unwrap_or_else(|| object.spec.journal.backend.caps().durability.to_owned())
}

fn weaker(report: &Report) -> Option<String> {
    matches!(report.durability.as_str(), "memory" | "os").then(|| report.durability.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::kv::KVClusterSpec;
    use orrery_operand::v1;
    use orrery_runtime::observation::{Failover, GroupView};
    use orrery_runtime::{PodView, WorkloadView};

    fn object() -> KVCluster {
        let mut object = KVCluster::new("default", KVClusterSpec::default());
        object.metadata.namespace = Some("shop".into());
        object
    }

    fn report(epoch: u64, durability: &str) -> Report {
        Report {
            role: v1::Role::Primary.into(),
            durability: durability.into(),
            shards: vec![v1::Shard {
                id: 0,
                slots: "0-16383".into(),
                epoch,
                durable_position: 99,
                ..v1::Shard::default()
            }],
            ..Report::default()
        }
    }

    fn seen(reports: Vec<Option<Report>>) -> Observation {
        let pods = reports.into_iter().enumerate().map(|(index, report)| PodView {
            name: format!("default-kv-{index}"),
            report,
            ..PodView::default()
        });
        Observation {
            workloads: vec![WorkloadView::default()],
            pods: pods.collect(),
            ..Observation::default()
        }
    }

    #[test]
    fn endpoints_and_durability_are_said_once_there_is_a_workload() {
        let before = summary(&object(), None, CommonStatus::default(), &Observation::default());
        assert_eq!((before.endpoints.len(), before.durability), (0, None));
        let after = summary(&object(), None, CommonStatus::default(), &seen(vec![None]));
        assert_eq!(after.endpoints[0].address, "default-kv-rw.shop.svc:6379");
        assert_eq!(after.durability.as_deref(), Some("single-volume"));
    }

    #[test]
    fn a_process_that_gives_less_is_believed() {
        let seen = seen(vec![Some(report(1, "memory"))]);
        let status = summary(&object(), None, CommonStatus::default(), &seen);
        assert_eq!(status.durability.as_deref(), Some("memory"));
    }

    #[test]
    fn a_take_over_says_how_far_it_is_and_only_while_it_is_asked_for() {
        let of = |reason: &str, up: bool, copy_percent: u32, lag: i64| {
            let link = v1::Link { up, copy_percent, ..v1::Link::default() };
            let figures = [(SOURCE_LAG.to_owned(), lag)].into();
            let report =
                Report { link: Some(link), reason: reason.into(), figures, ..Report::default() };
            let mut object = object();
            object.spec.adopt_from = Some(orrery_api::kv::Adopt {
                secret_ref: orrery_api::spec::LocalRef { name: "old".into() },
                tls: None,
            });
            let seen = seen(vec![Some(report)]);
            let state = summary(&object, None, CommonStatus::default(), &seen).adopt;
            object.spec.adopt_from = None;
            assert_eq!(summary(&object, None, CommonStatus::default(), &seen).adopt, None);
            state.map(|state| (state.state, state.lag_bytes))
        };
        let is = |state: &str, lag| Some((state.to_owned(), lag));
        assert_eq!(of("Adopting", true, 40, 9), is("Copying", None));
        assert_eq!(of("", true, 100, 0), is("Following", Some(0)));
        assert_eq!(of("", true, 100, 1000), is("Following", Some(1024)));
        assert_eq!(of("", false, 100, 0), is("Disconnected", None));
        assert_eq!(of(ADOPTION_FAILING, true, 100, 0), is("Failing", None));
    }

    #[test]
    fn a_shard_belongs_to_the_newest_epoch_and_outlives_silence() {
        let seen_both = seen(vec![Some(report(4, "disk")), Some(report(5, "disk"))]);
        let status = summary(&object(), None, CommonStatus::default(), &seen_both);
        assert_eq!(status.shard_count, 1);
        assert_eq!((status.shards[0].owner.as_str(), status.shards[0].epoch), ("default-kv-1", 5));

        let mut stored = object();
        stored.status = Some(status.clone());
        let silent =
            summary(&stored, stored.status.as_ref(), CommonStatus::default(), &seen(vec![None]));
        assert_eq!(silent.shards, status.shards);
    }

    #[test]
    fn several_shards_are_where_their_grants_say_or_else_where_they_were_seen_last() {
        let mut object = object();
        object.spec.replicas = 2;
        object.spec.resp.cluster_mode = orrery_api::kv::ClusterMode::Slots;
        let said = |ids: &[u32]| {
            let one = |id: &u32| v1::Shard {
                id: *id,
                role: v1::Role::Primary.into(),
                ..v1::Shard::default()
            };
            Some(Report { shards: ids.iter().map(one).collect(), ..Report::default() })
        };
        let of = |stored: Option<&KVClusterStatus>, seen: &Observation| {
            let status = summary(&object, stored, CommonStatus::default(), seen);
            let owners: Vec<String> = status.shards.iter().map(|one| one.owner.clone()).collect();
            (status, owners.join(" "))
        };
        let (both, owners) = of(None, &seen(vec![said(&[0]), said(&[1])]));
        assert_eq!(owners, "default-kv-0 default-kv-1");
        assert_eq!((both.shards[1].slots.as_str(), both.primary.as_deref()), ("8192-16383", None));
        let (_, owners) = of(Some(&both), &seen(vec![said(&[0]), None]));
        assert_eq!(owners, "default-kv-0 default-kv-1", "nobody else can own it");

        let group = |shard: u32, pod: &str, state| GroupView {
            shard,
            primary: Some(pod.into()),
            epoch: 7,
            followers: vec![("default-kv-2".into(), state)],
            ..GroupView::default()
        };
        let mut granted = seen(vec![None]);
        granted.groups = vec![
            group(0, "default-kv-1", FollowerView::InSync),
            group(1, "default-kv-1", FollowerView::Behind),
        ];
        let (status, owners) = of(Some(&both), &granted);
        assert_eq!((owners.as_str(), status.shards[0].epoch), ("default-kv-1 default-kv-1", 7));
        assert_eq!(status.followers.len(), 1, "each pod once");
        assert_eq!(status.followers[0].state, "Behind", "it is as well as with the worst");
    }

    #[test]
    fn a_failover_is_remembered_from_the_status_written_last() {
        let failover = Failover { from: "a-0".into(), to: "a-1".into(), epoch: 2, position: 9 };
        let group = GroupView { failover: Some(failover), ..GroupView::default() };
        let told = Observation { groups: vec![group], ..Observation::default() };
        let written = summary(&object(), None, CommonStatus::default(), &told);
        // The object in the cache is older than what was written a moment ago.
        let calm = Observation { groups: vec![GroupView::default()], ..Observation::default() };
        let next = summary(&object(), Some(&written), CommonStatus::default(), &calm);
        assert_eq!(next.last_failover, written.last_failover);
        assert_eq!(next.last_failover.map(|record| record.position), Some(9));
    }

    #[test]
    fn what_a_failover_lost_is_told_by_the_old_primary_once_it_has_a_copy() {
        let from = "default-kv-0".to_owned();
        let failover = Failover { from: from.clone(), to: "b".into(), epoch: 3, position: 9 };
        let group = GroupView { failover: Some(failover), ..GroupView::default() };
        let told = Observation { groups: vec![group], ..Observation::default() };
        let written = summary(&object(), None, CommonStatus::default(), &told);
        let lost = |how: FollowerView, figures: &[(&str, i64)]| {
            let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value));
            let role = Role::Follower.into();
            let figures = figures.collect();
            let mut seen =
                seen(vec![Some(Report { role, epoch: 3, figures, ..Report::default() })]);
            let followers = vec![(from.clone(), how)];
            seen.groups = vec![GroupView { followers, ..GroupView::default() }];
            let next = summary(&object(), Some(&written), CommonStatus::default(), &seen);
            next.last_failover.expect("it is remembered").lost_records
        };
        let now = [(DISCARDED, 7), (DISCARDED_EPOCH, 3)];
        assert_eq!(lost(FollowerView::Copying, &now), None, "not put aside yet");
        assert_eq!(lost(FollowerView::InSync, &now), Some(7));
        let before = [(DISCARDED, 7), (DISCARDED_EPOCH, 2)];
        assert_eq!(lost(FollowerView::InSync, &before), Some(0), "lost by an earlier failover");
        assert_eq!(lost(FollowerView::InSync, &[]), None, "an earlier release");
    }

    #[test]
    fn the_durable_position_does_not_reach_the_status() {
        let status =
            summary(&object(), None, CommonStatus::default(), &seen(vec![Some(report(1, "disk"))]));
        assert!(!serde_json::to_string(&status).unwrap().contains("99"));
    }
}
