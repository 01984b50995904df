//! The order in which pods are replaced, and that every roll ends.

mod shards;

use super::*;
use crate::group::{Grant, Group};
use crate::observation::{PodView, Report, WorkloadView};
use proptest::prelude::*;

fn pod(n: usize, outdated: bool, serving: bool, is_primary: bool) -> PodState {
    let name = format!("a-{n}");
    let age = if outdated { Age::Outdated } else { Age::Newest };
    let pod = PodState { uid: name.clone(), name, age, ..PodState::default() };
    led(serves(pod, serving), is_primary)
}

fn serves(pod: PodState, serving: bool) -> PodState {
    PodState { serving, sound: if serving { vec![0] } else { Vec::new() }, ..pod }
}

fn led(pod: PodState, is_primary: bool) -> PodState {
    PodState { leads: if is_primary { vec![0] } else { Vec::new() }, ..pod }
}

fn leaves(name: &str) -> Next {
    Next::LeavePrimary { name: name.to_owned() }
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
    pods[2] = pod(2, false, true, false);
    assert_eq!(replaced(plan(&pods, 3, true, &free)), "a-0");
    pods[0] = pod(0, false, true, false);
    assert_eq!(plan(&pods, 3, true, &free), leaves("a-1"));
    pods[1].leads = Vec::new();
    pods[0].leads = vec![0];
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
    pods[1] = serves(pods[1].clone(), false);
    assert!(matches!(plan(&pods, 2, true, &free), Next::Wait(_)), "it may hold the only copy");
    pods[1] = pod(1, false, true, false);
    assert_eq!(plan(&pods, 2, true, &free), leaves("a-0"));
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
    pods[1] = pod(1, false, true, false);
    assert_eq!(plan(&pods, 3, true, &free), leaves("a-0"));
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
    let seen = Observation { workloads: vec![workload], pods: vec![old], ..Observation::default() };
    let next = |skipped: &str| {
        let (states, wanted) = states(&seen, &[], None, &[], &[skipped.to_owned()]);
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
    let group = Group::of_pods(0, &["a-0"]);
    let serving = |reason: &str| {
        let report = Report { reason: reason.into(), ..Report::default() };
        let pod =
            PodView { name: "a-0".into(), ready: true, report: Some(report), ..PodView::default() };
        let workloads = vec![workload.clone()];
        let seen = Observation { workloads, pods: vec![pod], ..Observation::default() };
        let plans = [Plan::new(group.clone(), Some(grant.clone()), true)];
        states(&seen, &plans, None, &[], &[]).0[0].serving
    };
    assert!(serving("FencedBySpec") && !serving("LeaseExpired"));
}

#[test]
fn a_single_pod_is_replaced_in_place() {
    assert_eq!(replaced(plan(&[pod(0, true, true, true)], 1, false, &Allowed::default())), "a-0");
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
                    prop_assert!(pods[at].leads.is_empty() || is_alone, "the primary was replaced");
                    let whole = others().all(|(_, pod)| pod.serving || pod.skipped);
                    prop_assert!(whole || pods[at].skipped, "two are down");
                    pods[at] = made(at, false, !pods[at].leads.is_empty());
                }
                Next::LeavePrimary { name } => {
                    prop_assert_eq!(&name, &pods[primary].name);
                    let next = pods.iter().position(|pod| pod.leads.is_empty() && pod.serving);
                    pods[primary].leads = Vec::new();
                    primary = next.expect("somebody can take over");
                    pods[primary].leads = vec![0];
                }
                Next::Wait(_) => {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if dice >> 63 == 0 {
                        for pod in pods.iter_mut().filter(|pod| !pod.skipped) {
                            *pod = serves(pod.clone(), true);
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
