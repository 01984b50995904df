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
//! only after it handed over. Pods that the spec names in `skipHealthChecks` are not waited for, except
//! before a volume is replaced. A volume is replaced in the same order once no pod is, and never while
//! any pod does not serve.
//!
//! With several shards any pod may be primary of some. One that is primary of nothing comes first;
//! else the one with the highest ordinal, after every shard that another pod can take over has left it,
//! and none comes back before it is replaced. A pod that lacks something of one shard serves the others:
//! it is waited for, and not taken for one that serves nothing.

pub mod turns;
pub mod window;

use orrery_api::Reason;
use orrery_api::spec::{EngineSpec, RolloutStrategy};

use crate::group::carry::Plan;
use crate::group::decide::is_in_sync;
use crate::observation::{Observation, PodView, is_fenced_by_spec};
use crate::volumes::class::Misplaced;

/// The pods of StatefulSets as the plan needs them, and how many there should be. Empty while the
/// newest revision is not known.
pub fn states(
    seen: &Observation,
    groups: &[Plan],
    asked_hash: Option<&str>,
    misplaced: &[Misplaced],
    skipped: &[String],
) -> (Vec<PodState>, usize) {
    let (mut states, mut wanted) = (Vec::new(), 0);
    let several = groups.len() > 1;
    for workload in &seen.workloads {
        let Some(newest) = workload.revision.as_deref().filter(|_| workload.observed) else {
            continue;
        };
        wanted += usize::try_from(workload.replicas).unwrap_or(0);
        let own = |name: &str| {
            let number = name.strip_prefix(&workload.name).and_then(|rest| rest.strip_prefix('-'));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        states.extend(seen.pods.iter().filter(|pod| own(&pod.name)).map(|pod| {
            let own = || groups.iter().filter(|plan| plan.has(&pod.name));
            let leads = own().filter(|plan| plan.holder() == Some(&pod.name));
            let sound = own().filter(|plan| is_sound(plan, pod, seen, several));
            let serves_all = own().all(|plan| plan.grant.is_none() || serves(plan, pod, seen));
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
                serving: pod.ready && serves_all,
                catching_up: several && pod.ready && pod.report.is_some() && !serves_all,
                leads: leads.map(|plan| plan.group.shard).collect(),
                sound: sound.map(|plan| plan.group.shard).collect(),
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

/// Whether a pod takes the writes of a shard, or has everything but the tail.
fn serves(plan: &Plan, pod: &PodView, seen: &Observation) -> bool {
    let Some(grant) = &plan.grant else { return false };
    let said = |pod: &PodView| pod.report.as_ref()?.of_shard(plan.group.shard);
    let Some(report) = said(pod) else { return false };
    if pod.name == grant.holder {
        // Fenced by its spec it is as good as ever, and must hand over before it goes.
        return report.writable || is_fenced_by_spec(&report);
    }
    let holder = seen.pods.iter().find(|other| other.name == grant.holder);
    let primary = holder.and_then(said);
    primary
        .is_some_and(|primary| is_in_sync(&plan.group, &pod.name, &report, grant.epoch, &primary))
}

/// See [`PodState::sound`].
fn is_sound(plan: &Plan, pod: &PodView, seen: &Observation, several: bool) -> bool {
    // Clients are sent to the primaries of several shards by name, whether their pods are ready or not.
    let is_reachable = pod.ready || (several && plan.holder() == Some(&pod.name));
    is_reachable && !pod.terminating && serves(plan, pod, seen)
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
    /// Serves every shard it has; of a follower: has everything but the tail.
    pub serving: bool,
    /// Runs and answers, but does not serve one of several shards, or not yet.
    pub catching_up: bool,
    /// Shards it is primary of.
    pub leads: Vec<u32>,
    /// Shards whose writes it takes, or of which it has everything but the tail.
    pub sound: Vec<u32>,
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
    /// This pod is next: others must take over first what it is primary of.
    LeavePrimary { name: String },
    /// A pod is on its way.
    Wait(String),
    /// It may not happen yet.
    Held(Reason, String),
}

/// Plans the next step. `wanted`: pods there should be; `is_group`: some of them are primary.
pub fn plan(pods: &[PodState], wanted: usize, is_group: bool, allowed: &Allowed) -> Next {
    let Some(next) = next_outdated(pods) else {
        return if is_group { move_volume(pods, wanted, allowed) } else { Next::Nothing };
    };
    let go = |pod: &PodState| {
        let (name, uid) = (pod.name.clone(), pod.uid.clone());
        // With nobody to hand over to, it comes back as primary.
        let leaves = is_group && wanted > 1 && can_leave(pods, pod);
        if leaves { Next::LeavePrimary { name } } else { Next::Replace { name, uid } }
    };
    if next.is_idle() {
        return go(next);
    }
    let held = if outdated(pods).all(|pod| pod.age == Age::Superseded) {
        &allowed.unasked
    } else {
        &allowed.asked
    };
    if let Some((reason, why)) = held {
        return Next::Held(*reason, why.clone());
    }
    let skipped = |pod: &&PodState| pod.skipped && !pod.serves() && pod.name != next.name;
    let wanted_now = wanted.saturating_sub(pods.iter().filter(skipped).count());
    unless_all_serve(pods, wanted_now, Some(next)).unwrap_or_else(|| go(next))
}

/// The pod that no shard may move to, not even home: the one that is replaced or left next. While a
/// group alone waits it may move anywhere.
pub fn passed_over(pods: &[PodState], next: &Next, several: bool) -> Option<String> {
    match next {
        Next::Replace { name, .. } | Next::Move { name, .. } | Next::LeavePrimary { name } => {
            Some(name.clone())
        }
        Next::Wait(_) if several => {
            let next = next_outdated(pods).or_else(|| next_misplaced(pods).map(|(pod, _)| pod));
            next.map(|pod| pod.name.clone())
        }
        Next::Nothing | Next::Wait(_) | Next::Held(..) => None,
    }
}

fn outdated(pods: &[PodState]) -> impl Iterator<Item = &PodState> {
    pods.iter().filter(|pod| pod.age != Age::Newest && !pod.terminating)
}

/// The outdated pod that is next, whenever it may: one that serves nothing, then one that is primary of
/// nothing, then one that only catches up.
fn next_outdated(pods: &[PodState]) -> Option<&PodState> {
    outdated(pods).max_by_key(|pod| {
        (pod.is_idle(), pod.leads.is_empty(), pod.catching_up, ordinal(&pod.name))
    })
}

/// Whether another pod could take over a shard that this one is primary of. One that takes no writes
/// is not left, but lost.
fn can_leave(pods: &[PodState], pod: &PodState) -> bool {
    let led = pod.leads.iter().filter(|shard| pod.sound.contains(shard));
    let others = || pods.iter().filter(|other| other.name != pod.name);
    led.into_iter().any(|shard| others().any(|other| other.sound.contains(shard)))
}

impl PodState {
    fn serves(&self) -> bool {
        self.serving && !self.terminating
    }

    /// Whether only the newest template can mend it.
    fn is_idle(&self) -> bool {
        !self.serving && !self.catching_up
    }
}

/// The wait for every pod but the one that is next, which may itself be catching up.
fn unless_all_serve(pods: &[PodState], wanted: usize, next: Option<&PodState>) -> Option<Next> {
    let counts = |pod: &&PodState| pod.serves() || next.is_some_and(|next| next.name == pod.name);
    let serving = pods.iter().filter(counts).count();
    let why = || format!("{serving} of {wanted} pods serve; the next follows when all do");
    (serving < wanted).then(|| Next::Wait(why()))
}

/// Which volume is replaced next. What it holds must be in every other pod, so that unlike a pod
/// none is replaced because its pod does not serve.
fn move_volume(pods: &[PodState], wanted: usize, allowed: &Allowed) -> Next {
    let Some((next, volume)) = next_misplaced(pods) else { return Next::Nothing };
    if let Some((reason, why)) = &allowed.asked {
        return Next::Held(*reason, why.clone());
    }
    if let Some(wait) = unless_all_serve(pods, wanted.max(2), None) {
        return wait;
    }
    let name = next.name.clone();
    if next.leads.is_empty() && !next.terminating {
        Next::Move { name, uid: next.uid.clone(), volume: volume.clone() }
    } else {
        Next::LeavePrimary { name }
    }
}

/// The pod whose volume is next, and that volume: one that is primary of nothing, else the last.
fn next_misplaced(pods: &[PodState]) -> Option<(&PodState, &Misplaced)> {
    let misplaced = pods.iter().filter_map(|pod| Some((pod, pod.volume.as_ref()?)));
    misplaced.max_by_key(|(pod, _)| (pod.leads.is_empty() && !pod.terminating, ordinal(&pod.name)))
}

/// Number at the end of the name of a pod.
fn ordinal(name: &str) -> u32 {
    name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
