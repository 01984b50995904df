//! Jobs that follow others, over partitions that share a clock and die together at any moment.

use serde_json::{Value, json};

use super::links;
use super::requests::{Handle, Link, Mailbox, Release, Request};
use crate::engine::partition_of;
use crate::ledger::dependents;
use crate::ledger::verify::{Verdict, verify};
use crate::machine::tests::life::{Life, Random, START, any_spec};
use crate::machine::{Cause, Effect, Pause};
use crate::run::Outcome;

/// All partitions of a process. What one tells another lies in the mailbox until it is read.
struct Lives {
    all: Vec<Life>,
    peers: Vec<Handle>,
    mailboxes: Vec<Mailbox>,
    /// What is called when it is durable, which takes a while.
    releases: Vec<Release>,
}

impl Lives {
    fn new(count: u16) -> Self {
        let (peers, mailboxes) = (0..count).map(Handle::new).unzip();
        let all = (0..count).map(|_| Life::new()).collect();
        Self { all, peers, mailboxes, releases: vec![] }
    }

    fn of(&mut self, name: &str) -> &mut Life {
        let partition = partition_of(name, self.peers.len() as u16);
        &mut self.all[usize::from(partition)]
    }

    fn put(&mut self, name: &str, spec: Value) {
        self.of(name).put(name, spec);
    }

    /// What is durable is told.
    fn tell(&mut self) {
        for (here, life) in self.all.iter_mut().enumerate() {
            let (followings, triggers) =
                (std::mem::take(&mut life.followings), std::mem::take(&mut life.triggers));
            links::tell(here as u16, &self.peers, &life.state, followings, &triggers);
        }
        self.releases.drain(..).for_each(|release| release());
    }

    /// A partition reads the oldest thing in its mailbox; whether there was one.
    fn read(&mut self, partition: usize) -> bool {
        let Ok(request) = self.mailboxes[partition].receiver.try_recv() else { return false };
        let Request::Link(link) = request else { panic!("{request:?}") };
        self.carry_out(partition, link);
        true
    }

    fn carry_out(&mut self, partition: usize, link: Link) {
        let Self { all, peers, releases, .. } = self;
        let carried = all[partition].turn(|turn| links::carry_out(turn, link, peers).unwrap());
        releases.extend(carried);
    }

    /// Everything is told and read, and whatever follows from it.
    fn settle(&mut self) {
        loop {
            self.tell();
            let read = (0..self.all.len()).filter(|partition| self.read(*partition)).count();
            if read == 0 {
                return;
            }
        }
    }

    /// The process dies, and with it what was on its way.
    fn crash(&mut self) {
        *self = Self { all: std::mem::take(&mut self.all), ..Self::new(self.peers.len() as u16) };
        for life in &mut self.all {
            life.crash();
        }
        for (here, life) in self.all.iter().enumerate() {
            links::tell_again(here as u16, &self.peers, &life.state);
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut Life)) {
        self.all.iter_mut().for_each(&mut act);
    }

    /// Runs go on to their ends, and what follows them, until nothing is under way.
    fn end_all(&mut self, outcome: &Outcome) {
        loop {
            self.settle();
            if self.all.iter().all(|life| life.sent.is_empty()) {
                return;
            }
            self.each(|life| life.end_all(outcome));
        }
    }

    fn verify(&self, from: i64) -> Verdict {
        let to = self.all.iter().map(|life| life.now_ms / 1000).max().unwrap();
        let (mut sum, mut told) = (Verdict { from, to, ..Verdict::default() }, vec![]);
        for life in &self.all {
            let view = life.view();
            let mut verdict = verify(&view, from, to).unwrap();
            told.push(dependents::gather(&view, from, to, &mut verdict).unwrap());
            sum.add(verdict);
        }
        dependents::compare(&told, from, to, &mut sum);
        sum
    }

    fn launches(&mut self, name: &str) -> Vec<i64> {
        self.of(name).launches(name)
    }

    fn trigger(&mut self, name: &str) {
        let life = self.of(name);
        let (id, nominal) = (life.state.named(name).unwrap().id, life.now_ms / 1000);
        life.turn(|turn| turn.trigger(id, Cause::Manual, nominal).unwrap());
    }
}

fn done() -> Outcome {
    Outcome::Succeeded { note: String::new() }
}

fn failed() -> Outcome {
    Outcome::Failed { note: String::new() }
}

fn after(leader: &str, result: &str) -> Value {
    json!({"when": {"after": {"schedule": leader, "result": result}}})
}

/// With more in its spec.
fn and(mut spec: Value, more: &Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A job for every minute, and what follows it.
fn led(followers: &[(&str, Value)]) -> Lives {
    let mut lives = Lives::new(4);
    lives.put("a", json!({"when": {"cron": "* * * * *"}}));
    for (name, spec) in followers {
        lives.put(name, spec.clone());
    }
    lives.settle();
    lives
}

fn clean(lives: &Lives) -> Verdict {
    let verdict = lives.verify(START - 10_000);
    assert!(verdict.is_clean(), "{verdict:?}");
    verdict
}

#[test]
fn a_run_follows_each_run_that_ended_as_it_is_to_follow_and_has_its_second() {
    let mut lives = led(&[
        ("b", after("a", "Succeeded")),
        ("c", after("a", "Failed")),
        ("d", after("a", "Finished")),
        ("e", after("b", "Succeeded")),
    ]);
    let minute = |n: i64| START + 60 * n;
    lives.each(|life| life.pass(60));
    lives.end_all(&done());
    lives.each(|life| life.pass(60));
    lives.end_all(&failed());
    assert_eq!(lives.launches("b"), [minute(1)]);
    assert_eq!(lives.launches("c"), [minute(2)]);
    assert_eq!(lives.launches("d"), [minute(1), minute(2)]);
    assert_eq!(lives.launches("e"), [minute(1)], "a chain keeps the second it began with");
    let verdict = clean(&lives);
    assert_eq!((verdict.expected, verdict.launched, verdict.pending), (7, 7, 0), "{verdict:?}");
}

#[test]
fn a_follower_obeys_its_policies() {
    let mut lives = led(&[
        ("suspended", and(after("a", "Finished"), &json!({"suspend": true}))),
        ("forbids", and(after("a", "Finished"), &json!({"concurrency": "Forbid"}))),
        ("buffers", and(after("a", "Finished"), &json!({"concurrency": "BufferOne"}))),
        ("once", and(after("a", "Finished"), &json!({"limitRuns": 1}))),
        ("later", and(after("a", "Finished"), &json!({"start": "2100-01-01T00:00:00Z"}))),
        ("soon", and(after("a", "Finished"), &json!({"startingDeadlineSeconds": 5}))),
    ]);
    for _ in 0..3 {
        lives.each(|life| life.pass(60));
        let life = lives.of("a");
        let id = life.state.named("a").unwrap().id;
        let of_a =
            life.state.runs().find(|(_, run)| run.job == id).map(|(n, run)| (n, run.attempt));
        let (run, attempt) = of_a.unwrap();
        life.turn(|turn| turn.outcome(run, attempt, &done()).unwrap());
        lives.tell();
        // What is told comes late.
        lives.each(|life| life.pass(10));
        lives.settle();
    }
    let count = |lives: &mut Lives, name: &str| lives.launches(name).len();
    assert_eq!(count(&mut lives, "suspended"), 0);
    assert_eq!(count(&mut lives, "forbids"), 1);
    assert_eq!(count(&mut lives, "once"), 1);
    assert_eq!(count(&mut lives, "later"), 0);
    assert_eq!(count(&mut lives, "soon"), 0);
    let life = lives.of("buffers");
    let waiting = life.state.activity(life.state.named("buffers").unwrap()).unwrap().waiting.len();
    assert_eq!((waiting, count(&mut lives, "buffers")), (1, 1));
    clean(&lives);
    lives.end_all(&done());
    assert_eq!(count(&mut lives, "buffers"), 2);
    clean(&lives);
}

#[test]
fn who_no_longer_follows_is_not_run_and_who_comes_first_waits_for_its_leader() {
    let mut lives = Lives::new(4);
    lives.put("b", after("a", "Finished"));
    lives.settle();
    lives.put("a", json!({"when": {"cron": "* * * * *"}}));
    lives.each(|life| life.pass(60));
    lives.end_all(&done());
    assert_eq!(lives.launches("b").len(), 1, "it was there before its leader");
    // The end is told, and meanwhile the follower becomes something else.
    lives.each(|life| life.pass(60));
    lives.of("a").end_all(&done());
    lives.put("b", json!({"when": {"cron": "0 0 1 1 *"}}));
    lives.end_all(&done());
    assert_eq!(lives.launches("b").len(), 1);
    clean(&lives);
    lives.each(|life| life.pass(60));
    lives.end_all(&done());
    assert_eq!(lives.launches("b").len(), 1);
    assert_eq!(lives.of("a").state.links().of("a").len(), 0);
    clean(&lives);
}

#[test]
fn a_crash_between_any_two_steps_leaves_one_run_for_each() {
    // Steps: ended, told, taken, acknowledged. A crash comes behind as many of them as the case says.
    for steps in 0..5 {
        let mut lives = led(&[("b", after("a", "Finished"))]);
        lives.each(|life| life.pass(60));
        lives.of("a").end_all(&done());
        for step in 0..steps {
            if step % 2 == 0 {
                lives.tell();
            } else {
                (0..4).for_each(|partition| _ = lives.read(partition));
            }
        }
        lives.crash();
        lives.crash();
        lives.settle();
        assert_eq!(lives.launches("b"), [START + 60], "after {steps} steps");
        assert_eq!(lives.of("a").state.links().outbox().count(), 0, "after {steps} steps");
        clean(&lives);
    }
}

#[test]
fn an_end_that_was_lost_or_taken_twice_is_noticed() {
    let mut lives = led(&[("b", after("a", "Finished")), ("c", after("a", "Finished"))]);
    for _ in 0..2 {
        lives.each(|life| life.pass(60));
        lives.end_all(&done());
    }
    let leader = usize::from(partition_of("a", 4));
    lives.each(|life| life.pass(60));
    // Nobody is told, and the outbox forgets it.
    lives.of("a").end_all(&done());
    let told = std::mem::take(&mut lives.of("a").triggers);
    lives.of("a").turn(|turn| turn.delivered(&told).unwrap());
    assert_eq!(lives.verify(START).pending, 2);
    lives.each(|life| life.pass(60));
    lives.end_all(&done());
    let verdict = lives.verify(START);
    assert_eq!((verdict.missed, verdict.duplicated), (2, 0), "{verdict:?}");
    // A partition that forgets what it took takes it again.
    let mut lives = led(&[("b", after("a", "Finished"))]);
    lives.each(|life| life.pass(60));
    lives.end_all(&done());
    let id = lives.of("b").state.named("b").unwrap().id;
    let (source, nominal) = (leader as u16, START + 60);
    let again = Effect::Take { source, sequence: 1, id, run: 1, nominal };
    lives.of("b").turn(|turn| turn.effect(&again).unwrap());
    let verdict = lives.verify(START);
    assert_eq!((verdict.duplicated, verdict.missed), (1, 1), "{verdict:?}");
}

/// What follows what changes, runs end one way or the other, things are told and read piecemeal, and
/// the process dies at any moment: each end brings about one decision.
fn live(seed: u64) {
    let mut random = Random::of(seed);
    let mut lives = Lives::new(2);
    for _ in 0..500 {
        let name = format!("job-{}", random.below(8));
        let known = lives.of(&name).state.named(&name).map(|job| job.id);
        match (random.below(16), known) {
            (0..=1, _) => {
                let spec = any_spec(&mut random);
                lives.put(&name, spec);
            }
            (2..=3, _) => {
                let leader = format!("job-{}", random.below(8));
                let result = *random.one_of(&["Succeeded", "Failed", "Finished"]);
                let mut spec = any_spec(&mut random);
                spec["when"] = json!({"after": {"schedule": leader, "result": result}});
                // Two that follow each other would never rest.
                if leader < name {
                    lives.put(&name, spec);
                }
            }
            (4, Some(id)) if random.below(3) == 0 => {
                lives.of(&name).turn(|turn| turn.remove(id).unwrap());
            }
            (5, Some(id)) => {
                let pause = *random.one_of(&[Pause::Asked, Pause::None]);
                lives.of(&name).turn(|turn| turn.pause(id, pause).unwrap());
            }
            (6, Some(_)) => lives.trigger(&name),
            (7, _) => lives.all[random.below(2) as usize].take_snapshot(),
            (8, _) if random.below(2) == 0 => lives.crash(),
            (9, _) if random.below(6) == 0 => {
                let step = *random.one_of(&[-1, 1, -3600, 3600]);
                lives.each(|life| life.now_ms += step * 1000);
            }
            (10, _) => lives.tell(),
            (11..=12, _) => {
                lives.read(random.below(2) as usize);
            }
            (13..=14, _) => {
                let note = "x".to_owned();
                let outcome = match random.below(4) {
                    0 => Outcome::Failed { note },
                    1 => Outcome::TimedOut { note },
                    _ => Outcome::Succeeded { note },
                };
                lives.all[random.below(2) as usize].end_all(&outcome);
            }
            _ => {
                let seconds = random.below(300) as i64;
                lives.each(|life| life.pass(seconds));
            }
        }
    }
    let verdict = lives.verify(START - 10_000);
    assert!(verdict.is_clean(), "seed {seed}, under way: {verdict:?}");
    lives.crash();
    lives.end_all(&done());
    let verdict = lives.verify(START - 10_000);
    assert!(verdict.is_clean(), "seed {seed}: {verdict:?}");
    let told: usize = lives.all.iter().map(|life| life.state.links().outbox().count()).sum();
    assert_eq!(told, 0, "seed {seed}: everything told was taken");
}

#[test]
fn each_end_that_is_followed_is_decided_once_whatever_happens() {
    let seeds = std::env::var("ORRERY_SCHEDULER_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(60) {
        live(seed);
    }
}
