//! From what was done and seen to the common part of a status: conditions, counts, version.
//!
//! Must not: read a clock or a cluster; the local carrier uses the same function. The same
//! observation gives the same status, so that writing it again changes nothing.
//!
//! All five conditions are always there, because absence means Unknown. `observedGeneration` is the
//! last generation that was carried out or refused; while paused it stays behind.

pub mod declared;

use orrery_api::{CommonStatus, Condition, ConditionSet, ConditionType, Reason, Time};

use crate::observation::{FollowerView, Observation, WorkloadView, is_fenced_by_spec};
use crate::system::Refusal;

/// How far this round came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Everything built was applied.
    Applied { desired_hash: String, replicas_wanted: i32 },
    /// As above, and no pods are wanted.
    Hibernated { desired_hash: String },
    /// As the first, and writes are to be refused.
    Fenced { desired_hash: String, replicas_wanted: i32 },
    /// Nothing was written, as asked.
    Paused,
    /// Something the spec points to is not there yet.
    Waiting { reason: Reason, message: String },
    /// Cannot be carried out until the spec or an input changes.
    Refused(Refusal),
    /// Failed and will be tried again.
    Failed { reason: Reason, message: String },
}

/// What the status is made from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Generation of the spec this round looked at.
    pub generation: i64,
    /// The common status stored before.
    pub stored: &'a CommonStatus,
    pub progress: &'a Progress,
    pub seen: &'a Observation,
    /// Release of the operator that looks.
    pub release: &'a str,
    pub now: Time,
}

/// The common status to store.
pub fn summarise(facts: &Facts<'_>) -> CommonStatus {
    let Facts { generation, stored, progress, seen, release, now } = facts;
    let done = matches!(
        progress,
        Progress::Applied { .. }
            | Progress::Hibernated { .. }
            | Progress::Fenced { .. }
            | Progress::Refused(_)
    );
    let desired_hash = match progress {
        Progress::Applied { desired_hash, .. }
        | Progress::Hibernated { desired_hash }
        | Progress::Fenced { desired_hash, .. } => Some(desired_hash.clone()),
        _ => stored.desired_hash.clone(),
    };
    let operator_version = match progress {
        Progress::Applied { .. } | Progress::Hibernated { .. } | Progress::Fenced { .. } => {
            Some((*release).to_owned())
        }
        _ => stored.operator_version.clone(),
    };
    let engine = seen.workloads.iter().find(|workload| !workload.beside);
    let selector = engine.map(|workload| workload.selector.clone());
    CommonStatus {
        observed_generation: if done { Some(*generation) } else { stored.observed_generation },
        conditions: conditions(facts).merge(&stored.conditions, *now),
        replicas: seen.pods.iter().filter(|pod| !pod.terminating).count() as i32,
        ready_replicas: seen.ready_replicas(),
        selector: selector.or_else(|| stored.selector.clone()),
        version: version(seen).or_else(|| stored.version.clone()),
        operator_version,
        update_revision: seen
            .workloads
            .iter()
            .find_map(|workload| workload.revision.clone())
            .or_else(|| stored.update_revision.clone()),
        desired_hash,
    }
}

/// Whether nothing is left to wait for; otherwise the caller looks again soon.
pub fn is_settled(conditions: &[Condition]) -> bool {
    !orrery_api::condition::is_true(conditions, ConditionType::Reconciling)
}

/// The version all processes run; none while they differ or say nothing.
fn version(seen: &Observation) -> Option<String> {
    let mut versions = seen.reports().map(|(_, report)| report.version.as_str());
    let first = versions.next().filter(|version| !version.is_empty())?;
    versions.all(|version| version == first).then(|| first.to_owned())
}

fn conditions(facts: &Facts<'_>) -> ConditionSet {
    let set = ConditionSet::new(facts.generation);
    let seen = facts.seen;
    match facts.progress {
        Progress::Applied { replicas_wanted, .. } => running(set, seen, *replicas_wanted),
        Progress::Hibernated { .. } => hibernated(set, seen),
        Progress::Fenced { replicas_wanted, .. } => fenced(set, seen, *replicas_wanted),
        Progress::Paused => paused(set, facts),
        Progress::Waiting { reason, message } => held_up(set, seen, *reason, message),
        Progress::Failed { reason, message } => {
            let carried_out = facts.stored.observed_generation == Some(facts.generation);
            if carried_out && serving(seen).is_ok() {
                // The spec stands and clients are served; only the look-after failed.
                return running(set, seen, facts.stored.replicas).with(
                    ConditionType::Reconciling,
                    true,
                    *reason,
                    message,
                );
            }
            held_up(set, seen, *reason, message)
        }
        Progress::Refused(refusal) => {
            let (reason, message) = (refusal.reason, refusal.message.as_str());
            let message = match &refusal.field {
                Some(field) => format!("{field}: {message}"),
                None => message.to_owned(),
            };
            available(set, seen)
                .with(ConditionType::Ready, false, reason, message.as_str())
                .with(ConditionType::Reconciling, false, reason, message.as_str())
                .with(ConditionType::Stalled, true, reason, message)
                .with(ConditionType::Degraded, false, reason, "")
        }
    }
}

/// Why the object is not fully there, if so.
fn shortfall(seen: &Observation, wanted: i32) -> Option<(Reason, String)> {
    let ready = seen.ready_replicas();
    let trouble = seen.pods.iter().find_map(|pod| {
        let (reason, message) = pod.trouble.as_ref()?;
        Some((Reason::PodFailing, trouble_text(&pod.name, reason, message)))
    });
    if trouble.is_some() {
        return trouble;
    }
    if let Some(why) = &seen.missing_release {
        return Some((Reason::RefNotFound, why.clone()));
    }
    if wanted > 0 && seen.workloads.is_empty() {
        return Some((Reason::Starting, "the workload is being created".to_owned()));
    }
    if let Some(trouble) = group_trouble(seen, |_| true) {
        return Some(trouble);
    }
    if let Some((Reason::WaitingForRelease, why)) = &seen.held {
        return Some((Reason::WaitingForRelease, why.clone()));
    }
    // A new release that waits for its window leaves the object as the spec asks for it.
    let waits = seen.held.is_some();
    let rolling =
        seen.workloads.iter().find(|w| !w.observed || (!waits && w.updated_replicas < w.replicas));
    if let Some(workload) = rolling {
        let (updated, replicas) = (workload.updated_replicas, workload.replicas);
        let message = format!("{}: {updated} of {replicas} pods are up to date", workload.name);
        return Some((Reason::RollingOut, message));
    }
    if let Some(growing) = &seen.growing {
        return Some(growing.clone());
    }
    let short = |w: &&WorkloadView| w.beside && w.ready_replicas < w.replicas;
    if let Some(workload) = seen.workloads.iter().find(short) {
        let (ready, wanted) = (workload.ready_replicas, workload.replicas);
        let message = format!("{}: {ready} of {wanted} pods are ready", workload.name);
        return Some((Reason::PodsNotReady, message));
    }
    if ready < wanted {
        // A process that says what it waits for is believed more than a count.
        if let Err(told @ (Reason::Adopting | Reason::AdoptionFailing, _)) = serving(seen) {
            return Some(told);
        }
        return Some((Reason::PodsNotReady, format!("{ready} of {wanted} pods are ready")));
    }
    serving(seen).err()
}

/// The first trouble of a group whose reason counts.
fn group_trouble(seen: &Observation, counts: impl Fn(Reason) -> bool) -> Option<(Reason, String)> {
    seen.groups.iter().find_map(|group| {
        let (reason, why) = group.trouble.as_ref().filter(|(reason, _)| counts(*reason))?;
        Some((*reason, seen.of_group(group, why)))
    })
}

/// Whether the processes behind ready pods say they serve.
fn serving(seen: &Observation) -> Result<(), (Reason, String)> {
    for pod in seen.pods.iter().filter(|pod| !pod.terminating) {
        if let Some(report) = &pod.report
            && (!report.ready || is_fenced_by_spec(report))
        {
            let reason = report.reason.parse().unwrap_or(Reason::PodsNotReady);
            return Err((reason, format!("{}: {} {}", pod.name, report.reason, report.message)));
        }
        if let Some(error) = &pod.report_error {
            return Err((Reason::Unreachable, format!("{}: {error}", pod.name)));
        }
    }
    Ok(())
}

fn running(set: ConditionSet, seen: &Observation, wanted: i32) -> ConditionSet {
    let set = degraded(available(set, seen), seen, wanted);
    if let Some((reason @ (Reason::VolumeNotGrown | Reason::VolumeKeepsClass), why)) = &seen.growing
    {
        let (reason, why) = (*reason, why.as_str());
        return set
            .with(ConditionType::Ready, false, reason, why)
            .with(ConditionType::Reconciling, false, reason, why)
            .with(ConditionType::Stalled, true, reason, why);
    }
    let set = set.with(ConditionType::Stalled, false, Reason::Settled, "");
    match shortfall(seen, wanted) {
        None => {
            let ready = format!("{wanted} of {wanted} pods are ready");
            let message = match &seen.held {
                Some((_, why)) => format!("{ready}; {why}"),
                None => ready,
            };
            set.with(ConditionType::Ready, true, Reason::Serving, message).with(
                ConditionType::Reconciling,
                false,
                Reason::Settled,
                "",
            )
        }
        Some((reason, message)) => set
            .with(ConditionType::Ready, false, reason, message.as_str())
            .with(ConditionType::Reconciling, true, reason, message),
    }
}

fn hibernated(set: ConditionSet, seen: &Observation) -> ConditionSet {
    let left = seen.pods.len();
    let asleep = left == 0 && seen.workloads.iter().all(|w| w.observed && w.replicas == 0);
    let message = if asleep {
        "no pods run; volumes and configuration are kept".to_owned()
    } else {
        format!("{left} pods are still stopping")
    };
    set.with(ConditionType::Ready, asleep, Reason::Hibernated, message.as_str())
        .with(ConditionType::Reconciling, !asleep, Reason::Hibernated, message)
        .with(ConditionType::Available, false, Reason::Hibernated, "no pods are wanted")
        .with(ConditionType::Degraded, false, Reason::Hibernated, "")
        .with(ConditionType::Stalled, false, Reason::Hibernated, "")
}

fn fenced(set: ConditionSet, seen: &Observation, wanted: i32) -> ConditionSet {
    let refusing = seen.reports().filter(|(_, report)| is_fenced_by_spec(report)).count() as i32;
    let done = refusing >= wanted;
    let mut message = if done {
        "writes are refused, reads go on".to_owned()
    } else {
        format!("{refusing} of {wanted} pods refuse writes")
    };
    // That the primary takes no writes is what was asked for.
    let expected = [Reason::FencedBySpec, Reason::NoPrimary];
    if let Some((_, why)) = group_trouble(seen, |reason| !expected.contains(&reason)) {
        message = format!("{message}; {why}");
    }
    let reason = Reason::FencedBySpec;
    set.with(ConditionType::Ready, done, reason, message.as_str())
        .with(ConditionType::Reconciling, !done, reason, message.as_str())
        .with(ConditionType::Available, false, reason, message)
        .with(ConditionType::Degraded, false, reason, "")
        .with(ConditionType::Stalled, false, reason, "")
}

fn paused(set: ConditionSet, facts: &Facts<'_>) -> ConditionSet {
    let current = facts.stored.observed_generation == Some(facts.generation);
    let ready = current && facts.seen.ready_replicas() > 0 && serving(facts.seen).is_ok();
    let message = if current {
        "nothing is changed while spec.operation is Pause"
    } else {
        "the spec was changed while paused and is not carried out yet"
    };
    available(set, facts.seen)
        .with(ConditionType::Ready, ready, Reason::Paused, message)
        .with(ConditionType::Reconciling, false, Reason::Paused, message)
        .with(ConditionType::Stalled, false, Reason::Paused, "")
        .with(ConditionType::Degraded, false, Reason::Paused, "")
}

fn held_up(set: ConditionSet, seen: &Observation, reason: Reason, message: &str) -> ConditionSet {
    available(set, seen)
        .with(ConditionType::Ready, false, reason, message)
        .with(ConditionType::Reconciling, true, reason, message)
        .with(ConditionType::Stalled, false, reason, "")
        .with(ConditionType::Degraded, false, reason, "")
}

fn available(set: ConditionSet, seen: &Observation) -> ConditionSet {
    let ready = seen.ready_replicas();
    if let Some(group) = seen.groups.iter().find(|group| !group.writable) {
        let waits = (Reason::NoPrimary, "no pod takes writes".to_owned());
        let (reason, why) = group.trouble.as_ref().unwrap_or(&waits);
        let (reason, message) = (*reason, seen.of_group(group, why));
        return set.with(ConditionType::Available, false, reason, message);
    }
    let (reason, message) = match ready {
        0 => (Reason::PodsNotReady, "no pod is ready".to_owned()),
        _ => (Reason::Serving, format!("{ready} pods are ready")),
    };
    set.with(ConditionType::Available, ready > 0, reason, message)
}

fn degraded(set: ConditionSet, seen: &Observation, wanted: i32) -> ConditionSet {
    let ready = seen.ready_replicas();
    let told = seen.reports().find(|(_, report)| report.degraded).map(|(pod, report)| {
        let reason = report.reason.parse().unwrap_or(Reason::ReplicasMissing);
        (reason, format!("{pod}: {} {}", report.reason, report.message))
    });
    let behind = seen.groups.iter().flat_map(|group| &group.followers);
    let behind = behind.clone().filter(|(_, state)| *state != FollowerView::InSync).count();
    let behind = (behind > 0).then(|| {
        (Reason::FollowerLagging, format!("{behind} followers do not have everything yet"))
    });
    let rolled = seen.workloads.iter().all(|w| w.observed && w.updated_replicas >= w.replicas);
    let missing = (rolled && ready > 0 && ready < wanted)
        .then(|| (Reason::ReplicasMissing, format!("{ready} of {wanted} pods are ready")));
    match told.or(missing).or(behind) {
        Some((reason, message)) => set.with(ConditionType::Degraded, true, reason, message),
        None => set.with(ConditionType::Degraded, false, Reason::FullStrength, ""),
    }
}

/// Longest part of a pod's own words that is repeated, in characters.
const TROUBLE_CHARS_MAX: usize = 200;

/// Only what stays the same from try to try: back-off times would change the status every time.
fn trouble_text(pod: &str, reason: &str, message: &str) -> String {
    let reason = if reason == "ErrImagePull" { "ImagePullBackOff" } else { reason };
    if reason.ends_with("BackOff") {
        return format!("{pod}: {reason}");
    }
    let words: String = message.chars().take(TROUBLE_CHARS_MAX).collect();
    format!("{pod}: {reason}: {words}")
}

#[cfg(test)]
mod tests;
