//! Which pod is replaced next when a template changed: a pure plan.
//!
//! StatefulSets of ours never replace pods by themselves (`OnDelete`): the plan names one pod at a
//! time and the engine deletes it, so that what the processes report gates every step.
//!
//! Must not: read a clock. Whether replacing is allowed now is an argument.
//!
//! Rules, and the tests are about nothing else: a pod that does not serve anyway is replaced at
//! once, because only the new template can mend it; otherwise one pod at a time, and only while
//! every other pod serves; followers first, highest ordinal first; the primary of a group last, and
//! only after it handed over. A volume is replaced in the same order once no pod is, and never while
//! any pod does not serve. Pods that the spec names in `skipHealthChecks` are not waited for, except
//! before a volume is replaced.

pub mod turns;
pub mod window;

use orrery_api::Reason;
use orrery_api::spec::{EngineSpec, RolloutStrategy};

use crate::group::Grant;
use crate::group::decide::is_in_sync;
use crate::observation::{Observation, is_fenced_by_spec};
use crate::volumes::class::Misplaced;

/// The pods of StatefulSets as the plan needs them, and how many there should be. Empty while the
/// newest revision is not known.
pub fn states(
    seen: &Observation,
    grant: Option<&Grant>,
    asked_hash: Option<&str>,
    misplaced: &[Misplaced],
    skipped: &[String],
) -> (Vec<PodState>, usize) {
    let (mut states, mut wanted) = (Vec::new(), 0);
    for workload in &seen.workloads {
        let Some(newest) = workload.revision.as_deref().filter(|_| workload.observed) else {
            continue;
        };
        wanted += usize::try_from(workload.replicas).unwrap_or(0);
        let own = |name: &str| {
            let number = name.strip_prefix(&workload.name).and_then(|rest| rest.strip_prefix('-'));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let primary = grant.map(|grant| grant.holder.as_str());
        let reported = |name: Option<&str>| {
            let pod = seen.pods.iter().find(|pod| Some(pod.name.as_str()) == name);
            pod.and_then(|pod| pod.report.as_ref())
        };
        states.extend(seen.pods.iter().filter(|pod| own(&pod.name)).map(|pod| {
            let is_primary = primary == Some(pod.name.as_str());
            let in_group = match (grant, &pod.report, reported(primary)) {
                (None, ..) => true,
                // Fenced by its spec it is as good as ever, and must hand over before it goes.
                (Some(_), Some(report), _) if is_primary => {
                    report.writable || is_fenced_by_spec(report)
                }
                (Some(grant), Some(report), Some(primary)) => {
                    is_in_sync(&pod.name, report, grant.epoch, primary)
                }
                (Some(_), _, _) => false,
            };
            PodState {
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                age: match pod.revision.as_deref() {
                    None => Age::Newest,
                    Some(revision) if revision == newest => Age::Newest,
                    Some(_) if asked_hash.is_some_and(|hash| pod.asks(hash)) => Age::Superseded,
                    Some(_) => Age::Outdated,
                },
                terminating: pod.terminating,
                serving: pod.ready && in_group,
                is_primary,
                volume: misplaced.iter().find(|one| one.pod == pod.name).cloned(),
                skipped: skipped.contains(&pod.name),
            }
        }));
        let pods = (0..workload.replicas).map(|number| format!("{}-{number}", workload.name));
        let away = pods
            .filter(|name| skipped.contains(name))
            .filter(|name| !seen.pods.iter().any(|pod| pod.name == *name));
        let away: Vec<PodState> =
            away.map(|name| PodState { name, skipped: true, ..PodState::default() }).collect();
        states.extend(away);
    }
    (states, wanted)
}

/// What the spec says about replacing pods that serve.
pub fn allowed(
    spec: Option<&EngineSpec>,
    seen: &Observation,
    now: jiff::Timestamp,
    has_turn: bool,
) -> Allowed {
    let turn = || {
        let why = "a new release waits until other objects have taken it";
        (!has_turn).then(|| (Reason::WaitingForTurn, why.to_owned()))
    };
    let Some(spec) = spec else { return Allowed { asked: None, unasked: turn() } };
    let newest = seen.workloads.iter().find_map(|workload| workload.revision.as_deref());
    let newest = newest.unwrap_or_default();
    let gated = spec.rollout.strategy == RolloutStrategy::Gated
        && spec.rollout.released.as_deref() != Some(newest);
    if gated {
        let why = format!("set spec.rollout.released to {newest} to replace the pods");
        let held = Some((Reason::WaitingForRelease, why));
        return Allowed { asked: held.clone(), unasked: held };
    }
    // A window that cannot be understood was refused before; if not, nothing happens unasked.
    let is_open = window::is_open(&spec.maintenance_windows, now).unwrap_or(false);
    let why = || "a new release waits for the next maintenance window".to_owned();
    let window = (!is_open).then(|| (Reason::WaitingForWindow, why()));
    Allowed { asked: None, unasked: window.or_else(turn) }
}

/// How old the template of a pod is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Age {
    /// The newest.
    #[default]
    Newest,
    /// The spec asks for another.
    Outdated,
    /// Only a new release of the operator asks for another.
    Superseded,
}

/// Whether every pod that should be there is of the newest template and serves, or is skipped.
pub fn is_over(pods: &[PodState], wanted: usize) -> bool {
    let done = |pod: &&PodState| pod.age == Age::Newest && (pod.serves() || pod.skipped);
    pods.iter().filter(done).count() >= wanted
}

/// Whether pods are to be replaced for a new release alone.
pub fn is_unasked(pods: &[PodState]) -> bool {
    let mut old = pods.iter().filter(|pod| pod.age != Age::Newest).peekable();
    old.peek().is_some() && old.all(|pod| pod.age == Age::Superseded)
}

/// What is known of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a pod")]
pub struct PodState {
    pub name: String,
    pub uid: String,
    pub age: Age,
    pub terminating: bool,
    /// Serves; of a follower: has everything but the tail.
    pub serving: bool,
    pub is_primary: bool,
    /// Its volume, if another is to take its place.
    pub volume: Option<Misplaced>,
    /// Not waited for, as the spec says.
    pub skipped: bool,
}

/// Whether pods that serve may be replaced now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Why a change that the spec asks for must wait.
    pub asked: Option<(Reason, String)>,
    /// Why a change that comes from a new release must wait.
    pub unasked: Option<(Reason, String)>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Every pod is as it should be.
    Nothing,
    /// Delete this pod; its workload makes it anew.
    Replace { name: String, uid: String },
    /// Delete the volume of this pod and the pod; both are made anew, and filled from the primary.
    Move { name: String, uid: String, volume: Misplaced },
    /// The primary is the last: another pod must take over first.
    LeavePrimary,
    /// A pod is on its way.
    Wait(String),
    /// It may not happen yet.
    Held(Reason, String),
}

/// Plans the next step. `wanted`: pods there should be; `is_group`: one of them is primary.
pub fn plan(pods: &[PodState], wanted: usize, is_group: bool, allowed: &Allowed) -> Next {
    let outdated = || pods.iter().filter(|pod| pod.age != Age::Newest && !pod.terminating);
    if outdated().next().is_none() {
        return if is_group { move_volume(pods, wanted, allowed) } else { Next::Nothing };
    }
    let last = |pods: &mut dyn Iterator<Item = &PodState>| {
        pods.max_by_key(|pod| ordinal(&pod.name)).cloned()
    };
    let replace = |pod: PodState| Next::Replace { name: pod.name, uid: pod.uid };
    let idle = last(&mut outdated().filter(|pod| !pod.serving && !pod.is_primary))
        .or_else(|| last(&mut outdated().filter(|pod| !pod.serving)));
    if let Some(pod) = idle {
        return replace(pod);
    }
    let held = if outdated().all(|pod| pod.age == Age::Superseded) {
        &allowed.unasked
    } else {
        &allowed.asked
    };
    if let Some((reason, why)) = held {
        return Next::Held(*reason, why.clone());
    }
    let skipped = pods.iter().filter(|pod| pod.skipped && !pod.serves()).count();
    if let Some(wait) = unless_all_serve(pods, wanted.saturating_sub(skipped)) {
        return wait;
    }
    let can_hand_over = || pods.iter().any(|pod| !pod.is_primary && pod.serves());
    match last(&mut outdated().filter(|pod| !pod.is_primary)) {
        Some(pod) => replace(pod),
        // With nobody to hand over to, it comes back as primary.
        None if is_group && wanted > 1 && can_hand_over() => Next::LeavePrimary,
        None => last(&mut outdated()).map_or(Next::Nothing, replace),
    }
}

impl PodState {
    fn serves(&self) -> bool {
        self.serving && !self.terminating
    }
}

fn unless_all_serve(pods: &[PodState], wanted: usize) -> Option<Next> {
    let serving = pods.iter().filter(|pod| pod.serves()).count();
    let why = || format!("{serving} of {wanted} pods serve; the next follows when all do");
    (serving < wanted).then(|| Next::Wait(why()))
}

/// Which volume is replaced next. What it holds must be in every other pod, so that unlike a pod
/// none is replaced because its pod does not serve.
fn move_volume(pods: &[PodState], wanted: usize, allowed: &Allowed) -> Next {
    let misplaced = || pods.iter().filter(|pod| pod.volume.is_some());
    if misplaced().next().is_none() {
        return Next::Nothing;
    }
    if let Some((reason, why)) = &allowed.asked {
        return Next::Held(*reason, why.clone());
    }
    if let Some(wait) = unless_all_serve(pods, wanted.max(2)) {
        return wait;
    }
    let last = misplaced().filter(|pod| !pod.is_primary && !pod.terminating);
    let last = last.max_by_key(|pod| ordinal(&pod.name));
    match last.and_then(|pod| Some((pod, pod.volume.clone()?))) {
        Some((pod, volume)) => Next::Move { name: pod.name.clone(), uid: pod.uid.clone(), volume },
        None => Next::LeavePrimary,
    }
}

/// Number at the end of the name of a pod.
fn ordinal(name: &str) -> u32 {
    name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{PodView, Report, WorkloadView};
    use proptest::prelude::*;

    fn pod(n: usize, outdated: bool, serving: bool, is_primary: bool) -> PodState {
        let name = format!("a-{n}");
        let age = if outdated { Age::Outdated } else { Age::Newest };
        PodState { uid: name.clone(), name, age, serving, is_primary, ..PodState::default() }
    }

    fn replaced(next: Next) -> String {
        let Next::Replace { name, .. } = next else { panic!("{next:?}") };
        name
    }

    #[test]
    fn followers_first_and_the_primary_last() {
        let free = Allowed::default();
        let mut pods =
            vec![pod(0, true, true, false), pod(1, true, true, true), pod(2, true, true, false)];
        assert_eq!(replaced(plan(&pods, 3, true, &free)), "a-2");
        pods[2] = pod(2, false, false, false);
        assert!(matches!(plan(&pods, 3, true, &free), Next::Wait(_)));
        pods[2].serving = true;
        assert_eq!(replaced(plan(&pods, 3, true, &free)), "a-0");
        pods[0] = pod(0, false, true, false);
        assert_eq!(plan(&pods, 3, true, &free), Next::LeavePrimary);
        pods[1].is_primary = false;
        pods[0].is_primary = true;
        assert_eq!(replaced(plan(&pods, 3, true, &free)), "a-1");
        pods[1] = pod(1, false, true, false);
        assert_eq!(plan(&pods, 3, true, &free), Next::Nothing);
    }

    #[test]
    fn a_pod_that_does_not_serve_is_mended_whatever_is_held() {
        let held = Allowed {
            asked: Some((Reason::WaitingForRelease, "w".into())),
            unasked: Some((Reason::WaitingForWindow, "w".into())),
        };
        let pods = [pod(0, true, true, true), pod(1, true, false, false)];
        assert_eq!(replaced(plan(&pods, 2, true, &held)), "a-1");
        let pods = [pod(0, true, true, true)];
        assert!(matches!(plan(&pods, 1, false, &held), Next::Held(Reason::WaitingForRelease, _)));
        let pods = [PodState { age: Age::Superseded, ..pod(0, true, true, true) }];
        assert!(matches!(plan(&pods, 1, false, &held), Next::Held(Reason::WaitingForWindow, _)));
    }

    #[test]
    fn volumes_are_replaced_one_by_one_while_every_pod_serves() {
        let free = Allowed::default();
        let volume = |pod: &PodState| Misplaced {
            claim: format!("data-{}", pod.name),
            uid: pod.uid.clone(),
            pod: pod.name.clone(),
        };
        let mut pods = vec![pod(0, false, true, true), pod(1, false, true, false)];
        for pod in &mut pods {
            pod.volume = Some(volume(pod));
        }
        let next = plan(&pods, 2, true, &free);
        let Next::Move { name, volume, .. } = next else { panic!("{next:?}") };
        assert_eq!((name.as_str(), volume.claim.as_str()), ("a-1", "data-a-1"));
        pods[1].serving = false;
        assert!(matches!(plan(&pods, 2, true, &free), Next::Wait(_)), "it may hold the only copy");
        pods[1] = pod(1, false, true, false);
        assert_eq!(plan(&pods, 2, true, &free), Next::LeavePrimary);
        assert_eq!(plan(&pods, 2, false, &free), Next::Nothing, "no other pod has the data");
        let held = Allowed { asked: Some((Reason::WaitingForRelease, "w".into())), unasked: None };
        assert!(matches!(plan(&pods, 2, true, &held), Next::Held(..)));
        pods[1].age = Age::Outdated;
        assert_eq!(replaced(plan(&pods, 2, true, &free)), "a-1", "templates first");
    }

    #[test]
    fn pods_that_are_skipped_are_not_waited_for() {
        let free = Allowed::default();
        let skipped = |pod: PodState| PodState { skipped: true, ..pod };
        let mut pods =
            vec![pod(0, true, true, true), pod(1, true, true, false), pod(2, false, false, false)];
        assert!(matches!(plan(&pods, 3, true, &free), Next::Wait(_)));
        pods[2].skipped = true;
        assert_eq!(replaced(plan(&pods, 3, true, &free)), "a-1");
        pods[1] = pod(1, false, false, false);
        assert!(matches!(plan(&pods, 3, true, &free), Next::Wait(_)), "this one is waited for");
        pods[1].serving = true;
        assert_eq!(plan(&pods, 3, true, &free), Next::LeavePrimary);
        // Nobody is left to take over.
        pods[1] = skipped(pod(1, false, false, false));
        assert_eq!(replaced(plan(&pods, 3, true, &free)), "a-0");
        pods[0] = pod(0, false, true, true);
        assert_eq!(plan(&pods, 3, true, &free), Next::Nothing);
        assert!(is_over(&pods, 3), "its turn ends");
        let volume = Misplaced { claim: "data-a-0".into(), uid: "u".into(), pod: "a-0".into() };
        pods[0].volume = Some(volume);
        let next = plan(&pods, 3, true, &free);
        assert!(matches!(next, Next::Wait(_)), "volumes wait for every pod: {next:?}");
    }

    #[test]
    fn a_pod_that_is_skipped_may_be_away() {
        let workload = WorkloadView {
            name: "a".into(),
            replicas: 2,
            observed: true,
            revision: Some("new".into()),
            ..WorkloadView::default()
        };
        let old = PodView { name: "a-0".into(), ready: true, ..PodView::default() };
        let old = PodView { revision: Some("old".into()), ..old };
        let seen =
            Observation { workloads: vec![workload], pods: vec![old], ..Observation::default() };
        let next = |skipped: &str| {
            let (states, wanted) = states(&seen, None, None, &[], &[skipped.to_owned()]);
            plan(&states, wanted, false, &Allowed::default())
        };
        assert!(matches!(next("a-7"), Next::Wait(_)), "no such pod is wanted");
        assert_eq!(replaced(next("a-1")), "a-0");
    }

    #[test]
    fn a_primary_that_its_spec_fences_hands_over_like_any_other() {
        let grant = Grant { holder: "a-0".into(), epoch: 1, resource_version: String::new() };
        let workload = WorkloadView {
            name: "a".into(),
            replicas: 1,
            observed: true,
            revision: Some("new".into()),
            ..WorkloadView::default()
        };
        let serving = |reason: &str| {
            let report = Report { reason: reason.into(), ..Report::default() };
            let pod = PodView {
                name: "a-0".into(),
                ready: true,
                report: Some(report),
                ..PodView::default()
            };
            let workloads = vec![workload.clone()];
            let seen = Observation { workloads, pods: vec![pod], ..Observation::default() };
            states(&seen, Some(&grant), None, &[], &[]).0[0].serving
        };
        assert!(serving("FencedBySpec") && !serving("LeaseExpired"));
    }

    #[test]
    fn a_single_pod_is_replaced_in_place() {
        assert_eq!(
            replaced(plan(&[pod(0, true, true, true)], 1, false, &Allowed::default())),
            "a-0"
        );
    }

    proptest! {
        /// Never two down by the plan but those that are skipped, never a serving primary while another
        /// serves, and it always comes to an end, even if those that are skipped never serve.
        #[test]
        fn a_roll_keeps_all_but_one_pod_serving(
            n in 1_usize..6, primary in 0_usize..6, broken in 0_u8..64, seed: u64,
        ) {
            let first = primary % n;
            let (mut primary, mut steps, mut dice) = (first, 0, seed);
            let is_group = n > 1;
            let made = |i: usize, outdated: bool, is_primary: bool| {
                let skipped = broken >> i & 1 == 1 && i != first;
                PodState { skipped, ..pod(i, outdated, outdated && !skipped, is_primary) }
            };
            let mut pods: Vec<PodState> =
                (0..n).map(|i| made(i, true, is_group && i == primary)).collect();
            loop {
                steps += 1;
                prop_assert!(steps < 20 * n, "the roll does not end");
                match plan(&pods, n, is_group, &Allowed::default()) {
                    Next::Nothing => break,
                    Next::Replace { name, .. } => {
                        let at = pods.iter().position(|pod| pod.name == name).unwrap();
                        let others = || pods.iter().enumerate().filter(|(i, _)| *i != at);
                        let is_alone = others().all(|(_, pod)| pod.skipped && !pod.serving);
                        prop_assert!(!pods[at].is_primary || is_alone, "the primary was replaced");
                        let whole = others().all(|(_, pod)| pod.serving || pod.skipped);
                        prop_assert!(whole || pods[at].skipped, "two are down");
                        pods[at] = made(at, false, pods[at].is_primary);
                    }
                    Next::LeavePrimary => {
                        let next = pods.iter().position(|pod| !pod.is_primary && pod.serving);
                        pods[primary].is_primary = false;
                        primary = next.expect("somebody can take over");
                        pods[primary].is_primary = true;
                    }
                    Next::Wait(_) => {
                        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        if dice >> 63 == 0 {
                            for pod in pods.iter_mut().filter(|pod| !pod.skipped) {
                                pod.serving = true;
                            }
                        }
                    }
                    Next::Held(..) | Next::Move { .. } => {
                        prop_assert!(false, "nothing is held, no volume is misplaced");
                    }
                }
            }
        }
    }
}
