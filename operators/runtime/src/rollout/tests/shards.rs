//! The same with several shards, whose primaries are spread over the pods. Method: a model of shards
//! that move, go home and catch up by dice, and the real plan.

use std::collections::BTreeSet;

use orrery_api::kv::layout::Layout;
use orrery_operand::v1::{Follower, Link, Role, Shard};
use proptest::prelude::*;

use super::super::*;
use crate::group::{Grant, Group};
use crate::observation::{Report, WorkloadView};

struct Dice(u64);

impl Dice {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).is_multiple_of(n)
    }
}

struct Model {
    layout: Layout,
    dice: Dice,
    /// Pod that is primary of each shard.
    primaries: Vec<u32>,
    /// Pods that have everything but the tail of each shard.
    in_sync: Vec<BTreeSet<u32>>,
    /// Pods that are being made anew.
    away: BTreeSet<u32>,
    newest: BTreeSet<u32>,
}

impl Model {
    fn new(layout: Layout, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let shards = layout.shards as usize;
        let primaries = (0..layout.shards).map(|shard| {
            // Some were lost before, and their shards are elsewhere.
            let pods = layout.pods_of(shard);
            pods[usize::from(pods.len() > 1 && dice.one_in(3))]
        });
        let primaries = primaries.collect();
        let (away, newest) = (BTreeSet::new(), BTreeSet::new());
        Self { layout, dice, primaries, in_sync: vec![BTreeSet::new(); shards], away, newest }
    }

    fn is_sound(&self, shard: u32, pod: u32) -> bool {
        let leads = self.primaries[shard as usize] == pod;
        !self.away.contains(&pod) && (leads || self.in_sync[shard as usize].contains(&pod))
    }

    /// Another pod that could take a shard over.
    fn heir(&self, shard: u32) -> Option<u32> {
        let primary = self.primaries[shard as usize];
        let others = self.layout.pods_of(shard).into_iter().filter(|pod| *pod != primary);
        others.into_iter().find(|pod| self.is_sound(shard, *pod))
    }

    fn states(&self) -> Vec<PodState> {
        let pods = (0..self.layout.pods).filter(|pod| !self.away.contains(pod));
        let state = |pod: u32| {
            let shards = self.layout.shards_of(pod);
            let sound = shards.iter().copied().filter(|shard| self.is_sound(*shard, pod));
            let sound: Vec<u32> = sound.collect();
            let led = shards.iter().copied().filter(|s| self.primaries[*s as usize] == pod);
            let serving = sound.len() == shards.len();
            PodState {
                name: format!("a-{pod}"),
                age: if self.newest.contains(&pod) { Age::Newest } else { Age::Outdated },
                serving,
                catching_up: !serving,
                leads: led.collect(),
                sound,
                ..PodState::default()
            }
        };
        pods.map(state).collect()
    }

    fn moves(&mut self, shard: u32, to: u32) {
        self.primaries[shard as usize] = to;
        // Everybody must follow anew.
        self.in_sync[shard as usize].clear();
    }

    /// What happens by itself: pods come back, catch up, and shards go home.
    fn time_passes(&mut self, passed_over: Option<u32>) {
        for pod in self.away.clone() {
            if self.dice.one_in(3) {
                self.away.remove(&pod);
            }
        }
        for shard in 0..self.layout.shards {
            let (pods, primary) = (self.layout.pods_of(shard), self.primaries[shard as usize]);
            if self.away.contains(&primary) {
                continue;
            }
            for pod in pods.iter().filter(|pod| **pod != primary && !self.away.contains(pod)) {
                if self.dice.one_in(2) {
                    self.in_sync[shard as usize].insert(*pod);
                }
            }
            let home = pods[0];
            let may = home != primary && passed_over != Some(home) && self.is_sound(shard, home);
            if may && self.dice.one_in(2) {
                self.moves(shard, home);
            }
        }
    }
}

fn number(name: &str) -> u32 {
    ordinal(name)
}

proptest! {
    /// Never two away, never one that is primary of what another could take over, and it ends.
    #[test]
    fn a_roll_of_several_shards_takes_one_pod_at_a_time_and_ends(
        shards in 2_u32..8, pods in 1_u32..6, copies in 1_u32..4, seed: u64,
    ) {
        let layout = Layout { shards, pods, copies: copies.min(pods) };
        let mut model = Model::new(layout, seed);
        let mut left = 2_000;
        loop {
            left -= 1;
            prop_assert!(left > 0, "the roll does not end");
            let states = model.states();
            let next = plan(&states, pods as usize, true, &Allowed::default());
            let passed_over = passed_over(&states, &next, true).map(|name| number(&name));
            match next {
                Next::Nothing if model.newest.len() == pods as usize => break,
                Next::Replace { name, .. } => {
                    let pod = number(&name);
                    prop_assert!(model.away.is_empty(), "two are away");
                    prop_assert!(model.newest.insert(pod), "replaced twice");
                    for shard in layout.shards_of(pod) {
                        let leads = model.primaries[shard as usize] == pod;
                        prop_assert!(!leads || model.heir(shard).is_none(), "a primary went");
                        model.in_sync[shard as usize].remove(&pod);
                    }
                    model.away.insert(pod);
                }
                Next::LeavePrimary { name } => {
                    let pod = number(&name);
                    for shard in layout.shards_of(pod) {
                        let leads = model.primaries[shard as usize] == pod;
                        if let Some(heir) = model.heir(shard).filter(|_| leads)
                            && model.dice.one_in(2)
                        {
                            model.moves(shard, heir);
                        }
                    }
                }
                Next::Nothing | Next::Wait(_) => {}
                Next::Held(..) | Next::Move { .. } => {
                    prop_assert!(false, "nothing is held, no volume is misplaced");
                }
            }
            model.time_passes(passed_over);
        }
        prop_assert_eq!(model.newest.len(), pods as usize);
    }
}

fn pod(n: u32, leads: &[u32], sound: &[u32]) -> PodState {
    let name = format!("a-{n}");
    PodState {
        uid: name.clone(),
        name,
        age: Age::Outdated,
        serving: true,
        leads: leads.to_vec(),
        sound: sound.to_vec(),
        ..PodState::default()
    }
}

fn chosen(pods: &[PodState]) -> (Next, Option<String>) {
    let next = plan(pods, pods.len(), true, &Allowed::default());
    let passed_over = passed_over(pods, &next, true);
    (next, passed_over)
}

#[test]
fn the_last_pod_is_left_by_its_shards_before_it_is_replaced() {
    let all = [0, 1, 2];
    let mut pods = vec![pod(0, &[0], &all), pod(1, &[1], &all), pod(2, &[2], &all)];
    let last = Some("a-2".to_owned());
    assert_eq!(chosen(&pods), (Next::LeavePrimary { name: "a-2".into() }, last.clone()));
    // It left, and the others follow the new primary again.
    (pods[0].leads, pods[2].leads) = (vec![0, 2], Vec::new());
    for n in [1, 2] {
        (pods[n].serving, pods[n].catching_up, pods[n].sound) = (false, true, vec![0, 1]);
    }
    let (next, passed_over) = chosen(&pods);
    assert!(matches!(next, Next::Wait(_)), "{next:?}");
    assert_eq!(passed_over, last, "nothing goes home while it is waited for");
    (pods[1].serving, pods[1].catching_up) = (true, false);
    assert!(matches!(chosen(&pods).0, Next::Replace { name, .. } if name == "a-2"));
}

#[test]
fn a_volume_waits_until_its_pod_is_primary_of_nothing() {
    let misplaced = |n: u32| Misplaced {
        claim: format!("data-a-{n}"),
        uid: String::new(),
        pod: format!("a-{n}"),
    };
    let mut pods = vec![pod(0, &[0], &[0, 1]), pod(1, &[1], &[0, 1])];
    for (n, pod) in pods.iter_mut().enumerate() {
        (pod.age, pod.volume) = (Age::Newest, Some(misplaced(n as u32)));
    }
    let last = Some("a-1".to_owned());
    assert_eq!(chosen(&pods), (Next::LeavePrimary { name: "a-1".into() }, last.clone()));
    (pods[0].leads, pods[1].leads) = (vec![0, 1], Vec::new());
    (pods[1].serving, pods[1].catching_up) = (false, true);
    let (next, passed_over) = chosen(&pods);
    assert!(matches!(next, Next::Wait(_)), "{next:?}");
    assert_eq!(passed_over, last);
    (pods[1].serving, pods[1].catching_up) = (true, false);
    assert!(matches!(chosen(&pods).0, Next::Move { name, .. } if name == "a-1"));
}

#[test]
fn a_pod_that_is_not_ready_is_left_before_it_is_mended() {
    let mut pods = vec![pod(0, &[0], &[0, 1]), pod(1, &[1], &[0, 1])];
    pods[0].serving = false;
    assert_eq!(chosen(&pods).0, Next::LeavePrimary { name: "a-0".into() });
    pods[0].sound.clear();
    let next = chosen(&pods).0;
    assert!(
        matches!(next, Next::Replace { name, .. } if name == "a-0"),
        "its shard is lost anyway"
    );
}

#[test]
fn a_pod_is_judged_by_each_shard_that_it_has() {
    let shard = |id: u32, role: Role, followers: &[&str]| Shard {
        id,
        role: role.into(),
        epoch: 1,
        writable: role == Role::Primary,
        whole: Some(true),
        followers: followers
            .iter()
            .map(|name| Follower { name: (*name).into(), in_sync: true, ..Follower::default() })
            .collect(),
        link: (role == Role::Follower).then(|| Link {
            up: true,
            copy_percent: 100,
            ..Link::default()
        }),
        ..Shard::default()
    };
    let pod = |name: &str, ready: bool, shards: Vec<Shard>| PodView {
        name: name.into(),
        ready,
        report: Some(Report { shards, ..Report::default() }),
        ..PodView::default()
    };
    let plan = |shard: u32, pods: [&str; 2]| {
        let group = Group { home: Some(pods[0].into()), ..Group::of_pods(shard, &pods) };
        let holder = pods[0].to_owned();
        Plan::new(group, Some(Grant { holder, epoch: 1, resource_version: String::new() }), true)
    };
    let workload = WorkloadView {
        name: "a".into(),
        replicas: 3,
        observed: true,
        revision: Some("new".into()),
        ..WorkloadView::default()
    };
    let (lead, follow) = (Role::Primary, Role::Follower);
    let pods = vec![
        pod("a-0", true, vec![shard(0, lead, &[]), shard(1, follow, &[])]),
        pod("a-1", false, vec![shard(0, follow, &[]), shard(1, lead, &["a-0"])]),
        pod("a-2", true, Vec::new()),
    ];
    let seen = Observation { workloads: vec![workload], pods, ..Observation::default() };
    let plans = [plan(0, ["a-0", "a-1"]), plan(1, ["a-1", "a-0"])];
    let (states, wanted) = states(&seen, &plans, None, &[], &[]);
    assert_eq!(wanted, 3);
    let of = |n: usize| (states[n].leads.clone(), states[n].sound.clone());
    assert_eq!(of(0), (vec![0], vec![0, 1]), "it leads one and could take the other over");
    assert_eq!(of(1), (vec![1], vec![1]), "it leads one whether ready or not, and lacks the other");
    assert_eq!(of(2), (Vec::new(), Vec::new()), "it has none");
    let serving: Vec<bool> = states.iter().map(|state| state.serving).collect();
    assert_eq!(serving, [true, false, true]);
    assert!(!states[1].catching_up, "it is not ready");
}
