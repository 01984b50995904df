//! The schema of each kind is walked on a real API server: every property gets good values, bad
//! values and a change back; then random sequences of changes run from a seed.
//!
//! What must hold after each change, once the object rests:
//!
//! 1. a value that was carried out shows in the children or in what the processes were told;
//! 2. the end is the same as that of a fresh object with the same spec;
//! 3. a bad value is refused by the schema, or stalls the object with a reason; going back recovers;
//! 4. further rounds write nothing; a child that is changed or deleted comes back; a deletion leaves
//!    the volumes, if their policy says so, and nothing else;
//! 5. `Ready` says all this, nothing is logged as an error, and the operator goes on.
//!
//! `ORRERY_WALK_STEPS` asks for random walks of that length and `ORRERY_WALK_SEED` repeats one,
//! `ORRERY_WALK=all` walks every property instead of a sample, `ORRERY_WALK=spec.resp` those with
//! such names.

#[path = "walk/hints.rs"]
mod hints;
#[path = "walk/schema.rs"]
mod schema;
#[path = "walk/world.rs"]
mod world;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams};
use orrery_e2e_cluster::poll;
use serde_json::{Value, json};

use crate::kv::State;
use crate::stage::LIMIT;
use hints::Hints;
use schema::{Property, at, with};
use world::{NAME, Outcome, Verdict, World};

/// Properties that are walked when nothing else is asked for.
const SAMPLE: [&str; 9] = [
    "spec.memory.limit",
    "spec.operation",
    "spec.match.prefix",
    "spec.quota.opsPerSecond",
    "spec.deadlineSeconds",
    "spec.timeZone",
    "spec.targets",
    "spec.when.cron",
    "spec.calendars.exclude",
];

/// Seeded; the same sequence on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn seed() -> u64 {
    let given = std::env::var("ORRERY_WALK_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) ^ now_seconds())
}

fn now_seconds() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

fn steps() -> Option<usize> {
    let steps = std::env::var("ORRERY_WALK_STEPS").ok().and_then(|n| n.parse().ok());
    if steps.is_none() {
        eprintln!("not run: ORRERY_WALK_STEPS is set by make nightly");
    }
    steps
}

/// What to walk instead of a sample; `all`, or a part of the names.
fn asked() -> Option<String> {
    std::env::var("ORRERY_WALK").ok().filter(|what| !what.is_empty())
}

fn properties(hints: &Hints) -> Vec<Property> {
    let crds = orrery_api::generate::crds();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == hints.kind).expect("a known kind");
    let schema = crd.spec.versions[0].schema.as_ref().expect("it has a schema");
    let schema = serde_json::to_value(&schema.open_api_v3_schema).expect("JSON");
    schema::properties(&schema, hints)
}

/// A world with an object of the smallest spec in it, and what that looks like.
struct Walk {
    world: World,
    hints: Hints,
    base: Value,
    fresh: State,
}

impl Walk {
    async fn new(hints: &Hints) -> Option<Self> {
        let world = World::new(hints, seed()).await?;
        eprintln!("{}: {}", hints.kind, world.words());
        let made = world.create(&(hints.base)()).await;
        assert_eq!(made, Outcome::Rests(Verdict::Ready), "{}", world.words());
        let (base, fresh) = (world.spec().await, world.everything().await);
        Some(Self { world, hints: hints.clone(), base, fresh })
    }

    /// Back to the smallest spec; by a new object where the schema forbids the way back.
    async fn back(&self, name: &str, from: &str) {
        let taken_back = match self.world.set(&self.base).await {
            Outcome::Rests(verdict) => {
                assert_eq!(verdict, Verdict::Ready, "back from {from}");
                true
            }
            Outcome::NotTaken(_) => false,
        };
        if !taken_back || self.hints.is_remembered(name) {
            self.world.delete().await;
            let made = self.world.create(&(self.hints.base)()).await;
            assert_eq!(made, Outcome::Rests(Verdict::Ready), "anew after {from}");
        }
        same(&self.fresh, &self.world.everything().await, &format!("back from {from}"));
    }

    /// Oracles 1, 2, 3 and 5 on one property. How many values were carried out, and those of them
    /// that show nowhere.
    async fn property(&self, property: &Property) -> (usize, Vec<String>) {
        let (name, world) = (property.name(), &self.world);
        for value in &property.bad {
            let outcome = world.set(&with(&self.base, &property.path, value)).await;
            assert!(matches!(outcome, Outcome::NotTaken(_)), "{name}: {value} gives {outcome:?}");
        }
        let (mut carried_out, mut hidden) = (0, Vec::new());
        for value in &property.good {
            let what = format!("{name} = {value}");
            let before = world.shown().await;
            let outcome = world.set(&with(&self.base, &property.path, value)).await;
            let changed = given(&at(&world.spec().await, &property.path))
                != given(&at(&self.base, &property.path));
            eprintln!("{what}: {outcome:?}");
            if outcome == Outcome::Rests(Verdict::Ready) {
                carried_out += 1;
                let shows = world.shown().await != before;
                if changed && self.hints.must_be_seen(&name) && !shows {
                    hidden.push(what.clone());
                }
            }
            if !matches!(outcome, Outcome::NotTaken(_)) {
                self.back(&name, &what).await;
            }
        }
        (carried_out, hidden)
    }

    /// Values that only the operator can refuse.
    async fn refusals(&self) {
        let what = asked().filter(|what| what != "all").unwrap_or_default();
        for (name, value) in (self.hints.refused)() {
            if !name.contains(&what) {
                continue;
            }
            let path: Vec<String> = name.split('.').skip(1).map(str::to_owned).collect();
            let outcome = self.world.set(&with(&self.base, &path, &value)).await;
            eprintln!("{name} = {value}: {outcome:?}");
            match outcome {
                Outcome::NotTaken(_) => continue,
                Outcome::Rests(Verdict::Refused(_) | Verdict::Waits(_)) => {}
                Outcome::Rests(verdict) => {
                    panic!("{name} = {value} gives {verdict:?}; {}", self.world.words())
                }
            }
            self.back(name, &format!("{name} = {value}")).await;
        }
    }

    /// Changes or deletes one child, and waits until it is as before.
    async fn disturb(&self, dice: &mut Dice) {
        let before = self.world.everything().await;
        let children: Vec<&String> = before.keys().filter(|name| is_child(name)).collect();
        if children.is_empty() {
            return;
        }
        let child = (*dice.one(&children)).clone();
        let (kind, name) = child.split_once(' ').expect("a kind and a name");
        let deletes = dice.below(2) == 0;
        let how = if deletes { "deleted" } else { "changed" };
        eprintln!("{child} is {how}");
        self.harm(kind, name, deletes).await;
        let back = || async { self.world.everything().await == before };
        if poll("the child is back", LIMIT, back).await.is_err() {
            let what = format!("{child} was {how}; {}", self.world.words());
            same(&before, &self.world.everything().await, &what);
        }
        self.world.rest().await;
    }

    async fn harm(&self, kind: &str, name: &str, deletes: bool) {
        let namespace = &self.world.stage.namespace;
        let by = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
        let edit = Patch::Merge(json!({ "metadata": { "labels": {
            "app.kubernetes.io/part-of": "walk" } } }));
        macro_rules! harm {
            ($($kind:ident),*) => { match kind {
                $(stringify!($kind) => {
                    let api = namespace.api::<$kind>();
                    let done = if deletes {
                        api.delete(name, &DeleteParams::default()).await.map(drop)
                    } else {
                        api.patch(name, &by, &edit).await.map(drop)
                    };
                    done.expect("it is there");
                })*
                other => panic!("no child is a {other}"),
            } };
        }
        harm!(
            ServiceAccount,
            Secret,
            ConfigMap,
            Service,
            NetworkPolicy,
            PodDisruptionBudget,
            StatefulSet
        );
    }

    /// A random walk; at its end the object is deleted and made anew with the same spec.
    async fn random(&self, steps: usize) {
        let properties = properties(&self.hints);
        let mut dice = Dice(self.world.seed);
        let mut good = self.base.clone();
        for step in 0..steps {
            let property = dice.one(&properties);
            let bad = dice.below(4) == 0 && !property.bad.is_empty();
            let value = dice.one(if bad { &property.bad } else { &property.good });
            let outcome = self.world.set(&with(&good, &property.path, value)).await;
            eprintln!("step {step}: {} = {value}: {outcome:?}", property.name());
            match &outcome {
                Outcome::NotTaken(_) => {}
                Outcome::Rests(Verdict::Ready) => {
                    good = self.world.spec().await;
                    if dice.below(3) == 0 {
                        self.disturb(&mut dice).await;
                    }
                }
                Outcome::Rests(verdict) => {
                    assert!(!bad, "a bad value is taken: {verdict:?}; {}", self.world.words());
                    let back = self.world.set(&good).await;
                    let what = format!("back from {} = {value}", property.name());
                    match back {
                        Outcome::Rests(found) => assert_eq!(found, Verdict::Ready, "{what}"),
                        // What cannot be taken back is left by making the object anew.
                        Outcome::NotTaken(_) => {
                            self.world.delete().await;
                            let made = self.world.create(&good).await;
                            assert_eq!(made, Outcome::Rests(Verdict::Ready), "{what}");
                        }
                    }
                }
            }
        }
        self.ends_as_a_fresh_one(&good).await;
    }

    /// Oracle 2 and the end of 4.
    async fn ends_as_a_fresh_one(&self, spec: &Value) {
        let walked = self.world.everything().await;
        self.world.delete().await;
        let keeps = spec["deletionPolicy"] == "Retain";
        if keeps {
            assert!(self.world.claims().await > 0, "volumes are kept; {}", self.world.words());
        } else if spec["deletionPolicy"] == "Delete" {
            let gone = || async { self.world.claims().await == 0 };
            poll("volumes are deleted", LIMIT, gone).await.expect("as the policy says");
        }
        let made = self.world.create(spec).await;
        assert_eq!(made, Outcome::Rests(Verdict::Ready), "{}", self.world.words());
        let what = format!("a fresh object and a changed one; {}", self.world.words());
        let (mut fresh, mut walked) = (self.world.everything().await, walked);
        if walked.values().any(|object| !object["status"]["primary"].is_null()) {
            forget_the_primary(&mut fresh);
            forget_the_primary(&mut walked);
        }
        same(&fresh, &walked, &what);
    }
}

/// What a value says: an empty list or map is the same as none.
fn given(value: &Value) -> Value {
    let is_empty = value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty);
    if is_empty { Value::Null } else { value.clone() }
}

/// Children are what is not the object, its kind or another object that was declared.
fn is_child(name: &str) -> bool {
    !name.starts_with("KV") && name != "the object" && name.contains(&format!(" {NAME}-"))
}

/// An object that has followers, or had some, leads its Service to the pod that was chosen.
fn forget_the_primary(state: &mut State) {
    for object in state.values_mut() {
        let selector = object.pointer_mut("/spec/selector").and_then(Value::as_object_mut);
        selector.map(|labels| labels.remove("statefulset.kubernetes.io/pod-name"));
        let status = object.get_mut("status").and_then(Value::as_object_mut);
        status.map(|status| (status.remove("desiredHash"), status.remove("followers")));
    }
}

/// Compares object by object, so that a difference can be read.
fn same(expected: &State, found: &State, when: &str) {
    let (expected, found) = (comparable(expected), comparable(found));
    let names: Vec<&String> = expected.keys().collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), names, "{when}");
    for name in names {
        let (left, right) = (format!("{:#}", expected[name]), format!("{:#}", found[name]));
        let differs = left.lines().zip(right.lines()).find(|(left, right)| left != right);
        assert!(left == right, "{when}: {name}: {differs:?}\n{left}\n---\n{right}");
    }
}

/// Without what remembers the way on purpose: the size a volume template was made with, the primary
/// that was chosen, the epochs of those before, how many pods are of the revision that was first, and
/// when it was done.
fn comparable(state: &State) -> State {
    let mut state = state.clone();
    for object in state.values_mut() {
        if let Some(templates) = object.pointer_mut("/spec/volumeClaimTemplates") {
            *templates = Value::Null;
        }
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
            let of_the_way =
                ["primary", "shards", "updateRevision", "lastFailover", "currentReplicas"];
            for field in of_the_way.into_iter().chain(["startedAt", "completedAt"]) {
                status.remove(field);
            }
        }
    }
    state
}

/// The properties that are walked now.
fn chosen(hints: &Hints) -> Vec<Property> {
    let mut all = properties(hints);
    match asked().as_deref() {
        Some("all") => {}
        Some(part) => all.retain(|property| property.name().contains(part)),
        None => all.retain(|property| SAMPLE.contains(&property.name().as_str())),
    }
    all
}

async fn every_property(hints: &Hints) {
    let Some(walk) = Walk::new(hints).await else { return };
    let (mut idle, mut hidden) = (Vec::new(), Vec::new());
    for property in chosen(hints) {
        let (carried_out, shows_nowhere) = walk.property(&property).await;
        hidden.extend(shows_nowhere);
        if carried_out == 0 && hints.must_work(&property.name()) {
            idle.push(property.name());
        }
    }
    if asked().is_some() {
        walk.refusals().await;
    }
    let words = walk.world.words();
    assert!(hidden.is_empty(), "these are carried out and show nowhere: {hidden:#?}; {words}");
    assert!(idle.is_empty(), "no value of these is carried out: {idle:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_a_kvcluster_takes_good_values_and_survives_bad_ones() {
    every_property(&hints::KVCLUSTER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_a_kvnamespace_takes_good_values_and_survives_bad_ones() {
    every_property(&hints::KVNAMESPACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_a_backup_takes_good_values_and_survives_bad_ones() {
    every_property(&hints::BACKUP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_a_backupschedule_takes_good_values_and_survives_bad_ones() {
    every_property(&hints::BACKUPSCHEDULE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_a_scheduler_takes_good_values_and_survives_bad_ones() {
    every_property(&hints::scheduler::SCHEDULER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_a_schedule_takes_good_values_and_survives_bad_ones() {
    every_property(&hints::scheduler::SCHEDULE).await;
}

/// Walks at random, if that was asked for.
async fn random(hints: &Hints) {
    let Some(steps) = steps() else { return };
    let Some(walk) = Walk::new(hints).await else { return };
    walk.random(steps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_of_a_kvcluster_ends_as_a_fresh_one() {
    random(&hints::KVCLUSTER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_of_a_kvnamespace_ends_as_a_fresh_one() {
    random(&hints::KVNAMESPACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_of_a_backupschedule_ends_as_a_fresh_one() {
    random(&hints::BACKUPSCHEDULE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_of_a_scheduler_ends_as_a_fresh_one() {
    random(&hints::scheduler::SCHEDULER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_of_a_schedule_ends_as_a_fresh_one() {
    random(&hints::scheduler::SCHEDULE).await;
}

#[test]
fn every_kind_is_walked() {
    let walked = hints::ALL.map(|hints| hints.kind);
    for crd in orrery_api::generate::crds() {
        let kind = crd.spec.names.kind;
        let subresources = crd.spec.versions[0].subresources.clone().unwrap_or_default();
        if subresources.status.is_none() {
            // Nobody carries it out; what it does shows in the field that names it.
            assert_eq!(kind, "ReleaseCatalog");
            continue;
        }
        assert!(walked.contains(&kind.as_str()), "{kind} has no hints to walk by");
    }
    for hints in hints::ALL {
        let names: Vec<String> = properties(&hints).iter().map(Property::name).collect();
        for (name, _) in (hints.refused)() {
            assert!(names.iter().any(|known| known == name), "{}: {name}", hints.kind);
        }
    }
}
