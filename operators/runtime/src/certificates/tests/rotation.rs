//! Goal: while an authority takes the place of another, no two processes of the installation ever
//! refuse each other, whoever is late and wherever the operator dies.
//!
//! Method: a small world of Secrets, pods and an operator takes random steps, each of which may come
//! at any time: the operator looks (and dies before or after its write), a Secret is written, a pod
//! takes its Secret over, a pod reports. After every step every pair must trust each other.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::authority::{Authority, Step, View, behind};
use super::super::issue::Signer;
use super::super::mark::Mark;
use super::*;
use crate::resources::hex;

const LIFE: Duration = Duration::from_hours(24 * 300);
const OVERLAP: Duration = Duration::from_hours(24);
const PODS: usize = 3;

/// Whom somebody trusts, by their authority, and which authority vouches for itself.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    issuer: String,
    trusted: Vec<String>,
    trust: String,
}

impl Held {
    fn hash(&self) -> String {
        hex(format!("{} {}", self.issuer, self.trust).as_bytes())
    }

    fn accepts(&self, other: &Self) -> bool {
        self.trusted.contains(&other.issuer)
    }
}

struct World {
    random: StdRng,
    now: i64,
    /// What the Secret of the authority holds.
    stored: std::collections::BTreeMap<String, k8s_openapi::ByteString>,
    until: i64,
    since: i64,
    asked: bool,
    operator: Held,
    secrets: Vec<Held>,
    pods: Vec<Held>,
    reported: Vec<Option<String>>,
    steps: Vec<Step>,
}

fn mark_of(certificate: &str) -> String {
    hex(certificate.trim_end().as_bytes())
}

fn held(authority: &Authority) -> Held {
    let Authority { signing, next, retiring } = authority;
    let next = next.iter().map(|next| &next.certificate);
    let all = std::iter::once(&signing.certificate).chain(next).chain(retiring);
    Held {
        issuer: mark_of(&signing.certificate),
        trusted: all.map(|certificate| mark_of(certificate)).collect(),
        trust: authority.trust(),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let first = Authority::first(day(0), LIFE).expect("an authority");
        let now = held(&first);
        let (secrets, pods) = (vec![now.clone(); PODS], vec![now.clone(); PODS]);
        let reported = vec![Some(now.hash()); PODS];
        Self {
            random: StdRng::seed_from_u64(seed),
            now: 0,
            stored: first.data(),
            until: 300,
            since: 0,
            asked: false,
            operator: now,
            secrets,
            pods,
            reported,
            steps: vec![],
        }
    }

    fn authority(&self) -> Authority {
        Authority::read(&self.stored).expect("what was written can be read")
    }

    fn look(&mut self) {
        let authority = self.authority();
        // A fresh operator knows what is stored, and nothing else.
        self.operator = held(&authority);
        let mark = |held: &Held| Mark {
            issuer: held.issuer.clone(),
            trust: held.trust.clone(),
            until: day(0),
            names: vec![],
            hash: held.hash(),
            content: String::new(),
        };
        let secrets = self.secrets.iter().map(|held| (String::new(), mark(held)));
        let pods = self.secrets.iter().zip(&self.reported);
        let pods = pods.map(|(held, said)| (String::new(), Some(held.hash()), said.clone()));
        let (secrets, pods): (Vec<_>, Vec<_>) = (secrets.collect(), pods.collect());
        let behind = behind(&self.operator.issuer, &self.operator.trust, &secrets, &pods);
        let step = authority.step(&View {
            now: day(self.now),
            until: day(self.until),
            since: day(self.since),
            life: LIFE,
            overlap: OVERLAP,
            is_asked: self.asked,
            behind: behind.as_deref(),
        });
        // It may die before its write.
        if step == Step::Stay || self.random.random_bool(0.2) {
            return;
        }
        let after = authority.after(step, day(self.now), LIFE).expect("a key");
        Signer::new(&after.signing).expect("it can sign");
        self.stored = after.data();
        self.steps.push(step);
        (self.since, self.asked) = (self.now, self.asked && step != Step::Publish);
        if step == Step::Switch {
            self.until = self.now + 300;
        }
        // Or after it, and then another one reads what is stored.
        self.operator = held(&self.authority());
    }

    fn act(&mut self) {
        let pod = self.random.random_range(0..PODS);
        match self.random.random_range(0..12) {
            0..=3 => self.look(),
            4..=5 => self.secrets[pod] = held(&self.authority()),
            6..=7 => self.pods[pod] = self.secrets[pod].clone(),
            8..=9 => self.reported[pod] = Some(self.pods[pod].hash()),
            // A pod made anew has said nothing yet, and has what is newest.
            10 => {
                self.pods[pod] = self.secrets[pod].clone();
                self.reported[pod] = None;
            }
            _ => self.now += self.random.random_range(0..3),
        }
    }

    fn check(&self) {
        for one in self.pods.iter().chain([&self.operator]) {
            for other in self.pods.iter().chain([&self.operator]) {
                assert!(one.accepts(other), "{:?}: {one:?} refuses {other:?}", self.steps);
            }
        }
    }
}

#[test]
fn nobody_is_refused_while_an_authority_takes_the_place_of_another() {
    let mut rotations = 0;
    for seed in 0..30 {
        let mut world = World::new(seed);
        for number in 0..1500 {
            world.asked |= number % 400 == 0;
            world.act();
            world.check();
        }
        let order: Vec<_> = world.steps.chunks(3).collect();
        for steps in order {
            let expected = [Step::Publish, Step::Switch, Step::Drop];
            assert_eq!(steps, &expected[..steps.len()], "seed {seed}");
        }
        rotations += world.steps.len() / 3;
    }
    assert!(rotations > 60, "asked for four times in each of thirty worlds: {rotations}");
}

#[test]
fn an_authority_is_replaced_in_time_without_being_asked() {
    let mut world = World::new(7);
    world.now = 199;
    world.look();
    assert_eq!(world.steps, []);
    world.now = 200;
    while world.steps.is_empty() {
        world.look();
    }
    assert_eq!(world.steps, [Step::Publish]);
}

#[test]
fn nothing_goes_on_while_the_overlap_lasts_or_somebody_is_behind() {
    let first = Authority::first(day(0), LIFE).expect("an authority");
    let both = first.after(Step::Publish, day(0), LIFE).expect("a next one");
    let view = View {
        now: day(10),
        until: day(300),
        since: day(9),
        life: LIFE,
        overlap: OVERLAP,
        is_asked: true,
        behind: None,
    };
    assert_eq!(both.step(&view), Step::Switch);
    assert_eq!(both.step(&View { since: day(10), ..view }), Step::Stay);
    assert_eq!(both.step(&View { behind: Some("a pod"), ..view }), Step::Stay);
    let retiring = both.after(Step::Switch, day(10), LIFE).expect("no key is needed");
    assert_eq!(retiring.step(&view), Step::Drop);
    assert_eq!(retiring.trust(), Authority::read(&retiring.data()).expect("it reads").trust());
    let steady = retiring.after(Step::Drop, day(11), LIFE).expect("no key is needed");
    assert_eq!(steady.trusted().matches("BEGIN").count(), 1);
    assert_eq!(steady.step(&View { is_asked: false, ..view }), Step::Stay);
}

#[test]
fn a_damaged_secret_is_said_to_be_and_names_the_key() {
    let good = Authority::first(day(0), LIFE).expect("an authority").data();
    for key in ["tls.crt", "tls.key"] {
        let mut damaged = good.clone();
        damaged.remove(key);
        let error = Authority::read(&damaged).expect_err("it is not whole").to_string();
        assert!(error.contains(key), "{error}");
        damaged.insert(key.to_owned(), k8s_openapi::ByteString(vec![0xff, 0xfe]));
        Authority::read(&damaged).expect_err("it is no text");
    }
}
