//! A partition as its thread drives it, on one clock and without a disk: what was not durable when it
//! crashed is gone.

use std::collections::{BTreeMap, VecDeque};

use orrery_api::scheduler::CatchUpPolicy;
use orrery_kit::mix::mix;
use orrery_recurrence::{Zone, Zones};
use serde_json::{Value, json};

use crate::codec::Reader;
use crate::ledger::Ledger;
use crate::ledger::file::FIRST;
use crate::ledger::verify::{Verdict, View, verify};
use crate::machine::definition::{CatchUp, canonical, zone_name};
use crate::machine::{Bounds, Edit, Effect, Following, Output, Plans, State, Timer, Turn, notice};
use crate::run::Outcome;

/// 2027-03-27 22:00 UTC: the clocks of Europe change three hours later.
pub(crate) const START: i64 = 1_806_184_800;

pub(crate) struct Life {
    pub(crate) state: State,
    plans: Plans,
    pub(crate) bounds: Bounds,
    pub(crate) now_ms: i64,
    timers: BTreeMap<(i64, u64), Timer>,
    numbers: u64,
    /// Records since the snapshot, with their times.
    records: Vec<(i64, Vec<u8>)>,
    snapshot: Vec<u8>,
    folder: tempfile::TempDir,
    ledger: Ledger,
    /// Runs that were handed over and have no outcome yet.
    pub(crate) sent: VecDeque<(u64, u32)>,
    /// Every attempt ever handed over.
    pub(crate) all_sent: Vec<(u64, u32)>,
    pub(crate) cancelled: Vec<u64>,
    /// Runs that somebody was told of because they are overdue.
    pub(crate) told: Vec<u64>,
    /// What is to be told to other partitions.
    pub(crate) followings: Vec<Following>,
    pub(crate) triggers: Vec<u64>,
    zones: Zones,
    /// Whether every turn is followed by a look at the whole state: not with very many jobs.
    pub(crate) is_watched: bool,
}

impl Life {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), FIRST).unwrap();
        let state = State::default();
        Self {
            snapshot: state.to_snapshot().concat(),
            state,
            plans: Plans::default(),
            bounds: Bounds {
                notices_max: 3,
                catch_up: CatchUp {
                    policy: CatchUpPolicy::FireOnce,
                    runs_max: 100,
                    seconds_max: 3600,
                },
                running_max: 1000,
                of_target_max: 1000,
            },
            now_ms: START * 1000,
            timers: BTreeMap::new(),
            numbers: 0,
            records: vec![],
            folder,
            ledger,
            sent: VecDeque::new(),
            all_sent: vec![],
            cancelled: vec![],
            told: vec![],
            followings: vec![],
            triggers: vec![],
            zones: Zones::bundled(),
            is_watched: true,
        }
    }

    /// One turn; what follows from it is done at once, because everything is durable at once.
    pub(crate) fn turn<T>(&mut self, work: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        let mut turn = Turn::new(&mut self.state, &mut self.plans, self.bounds, self.now_ms);
        let done = work(&mut turn);
        let output = std::mem::take(&mut turn.output);
        self.follow(output);
        if self.is_watched {
            let broken = self.state.check();
            assert!(broken.is_empty(), "{broken:?}");
        }
        done
    }

    fn follow(&mut self, output: Output) {
        if !output.record.is_empty() {
            self.records.push((self.now_ms, output.record));
        }
        self.ledger.append(&output.ledger).unwrap();
        assert_eq!(self.ledger.end(), self.state.ledger_end());
        self.followings.extend(output.followings);
        self.triggers.extend(output.triggers);
        for (at_ms, timer) in output.timers {
            self.numbers += 1;
            self.timers.insert((at_ms, self.numbers), timer);
        }
        for run in output.cancels {
            self.cancelled.push(run);
            if let Some(at) = self.sent.iter().position(|(sent, _)| *sent == run) {
                let (_, attempt) = self.sent.remove(at).unwrap();
                self.turn(|turn| turn.outcome(run, attempt, &Outcome::Cancelled).unwrap());
            }
        }
        for run in output.calls {
            self.told.extend(notice::run_of(run));
            if let Some(known) = self.state.run(run).filter(|run| run.retry_at_ms.is_none()) {
                self.sent.push_back((run, known.attempt));
                if self.is_watched {
                    self.all_sent.push((run, known.attempt));
                }
            }
        }
    }

    pub(crate) fn put(&mut self, name: &str, spec: Value) {
        let mut spec = spec;
        if spec.get("action").is_none() {
            spec["action"] = json!({"http": {"url": "http://sink.test/"}});
        }
        let declared: orrery_api::scheduler::DeclaredSchedule =
            serde_json::from_value(json!({ "spec": spec })).unwrap();
        let zone = self.zones.get(zone_name(&declared.spec)).unwrap();
        let (text, payload) = canonical(declared);
        self.turn(|turn| {
            let zone = turn.zone(&zone).unwrap();
            let definition = &text;
            let payload = payload.as_deref();
            let edit = Edit { name, definition, payload, generation: 0, at: None };
            turn.put(&edit, zone).unwrap();
        });
    }

    /// The database has the rules of another zone for one from now on. Gives whether it had others.
    pub(crate) fn new_rules(&mut self, name: &str, rules_of: &str) -> bool {
        let rules = self.zones.get(rules_of).unwrap();
        let zone = Zone::from_tzif(name, rules.tzif()).unwrap();
        self.turn(|turn| turn.new_rules(&zone).unwrap())
    }

    /// Time passes, second by second where something is due.
    pub(crate) fn pass(&mut self, seconds: i64) {
        let until = self.now_ms + seconds * 1000;
        while let Some((&key, _)) = self.timers.first_key_value().filter(|(key, _)| key.0 <= until)
        {
            let timer = self.timers.remove(&key).unwrap();
            self.now_ms = self.now_ms.max(key.0);
            self.turn(|turn| turn.timer(timer).unwrap());
        }
        self.now_ms = until;
    }

    /// Nobody looks for a while, and then at everything that came due.
    pub(crate) fn sleep(&mut self, seconds: i64) {
        self.now_ms += seconds * 1000;
        self.pass(0);
    }

    /// The oldest runs that were sent end so.
    pub(crate) fn end_all(&mut self, outcome: &Outcome) {
        for (run, attempt) in std::mem::take(&mut self.sent) {
            self.turn(|turn| turn.outcome(run, attempt, outcome).unwrap());
        }
    }

    pub(crate) fn take_snapshot(&mut self) {
        self.snapshot = self.state.to_snapshot().concat();
        self.records.clear();
    }

    /// The process dies and begins again from snapshot, journal and ledger.
    pub(crate) fn crash(&mut self) {
        let before = self.state.digest();
        let mut state = State::from_snapshot(&self.snapshot).unwrap();
        let mut ledger = Ledger::open(self.folder.path(), state.ledger_end()).unwrap();
        for (at_ms, record) in &self.records {
            let mut from = Reader::new(record);
            let mut entries = vec![];
            while !from.is_empty() {
                let effect = Effect::read(&mut from).unwrap();
                state.apply(*at_ms, &effect, &mut entries).unwrap();
            }
            ledger.append(&entries).unwrap();
        }
        assert_eq!(state.digest(), before, "a replay gives the same state");
        assert_eq!(state.check(), [""; 0]);
        self.plans = Plans::of(&state);
        self.state = state;
        self.ledger = ledger;
        self.timers.clear();
        self.followings.clear();
        self.triggers.clear();
        self.sent.clear();
        let runs: Vec<(u64, u32, Option<i64>)> =
            self.state.runs().map(|(n, run)| (n, run.attempt, run.retry_at_ms)).collect();
        for (run, attempt, retry_at_ms) in runs {
            match retry_at_ms {
                Some(at_ms) => {
                    self.numbers += 1;
                    self.timers.insert((at_ms, self.numbers), Timer::Retry { run });
                }
                None => self.sent.push_back((run, attempt)),
            }
        }
        let jobs: Vec<u64> = self.state.jobs().map(|job| job.id).collect();
        for id in jobs {
            self.turn(|turn| turn.due(id).unwrap());
        }
    }

    pub(crate) fn view(&self) -> View {
        View::of(&self.state, self.ledger.view())
    }

    pub(crate) fn verify(&self, from: i64) -> Verdict {
        verify(&self.view(), from, self.now_ms / 1000).unwrap()
    }

    /// Seconds at which runs of a job were launched.
    pub(crate) fn launches(&self, name: &str) -> Vec<i64> {
        let mut seen = vec![];
        let chain = self.state.named(name).unwrap().chain;
        self.ledger
            .view()
            .follow(chain, |_, entry| {
                if let crate::ledger::Fact::Launched { nominal, .. } = entry.fact {
                    seen.push(nominal);
                }
                true
            })
            .unwrap();
        seen.reverse();
        seen
    }
}

/// Numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % end
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

pub(crate) fn any_spec(random: &mut Random) -> Value {
    let crons = [
        "* * * * *",
        "*/5 * * * *",
        "*/7 * * * * *",
        "30 2 * * *",
        "0 0 * * *",
        "H * * * *",
        "0 */3 * * *",
        "15,45 1-3 * * *",
    ];
    let zones = ["Europe/Paris", "Etc/UTC", "Australia/Lord_Howe", "America/St_Johns"];
    let concurrency =
        ["Allow", "Forbid", "Replace", "BufferOne", "BufferAll", "CancelOther", "TerminateOther"];
    let dst = ["SkipMissingRunRepeatedOnce", "RunMissingAfterGapRunRepeatedTwice"];
    let mut spec = json!({
        "when": {"cron": random.one_of(&crons), "timeZone": random.one_of(&zones)},
        "concurrency": random.one_of(&concurrency),
        "dst": random.one_of(&dst),
        "jitterSeconds": *random.one_of(&[0, 0, 5]),
        "flexWindowSeconds": *random.one_of(&[0, 0, 30]),
        "retry": {"maxAttempts": 1 + random.below(3), "backoffSeconds": random.below(20)},
        "pauseOnFailure": random.below(8) == 0,
        "suspend": random.below(10) == 0,
        "action": {"http": {
            "url": format!("http://t{}.test/", random.below(3)),
            "body": format!("{}", random.below(4)),
        }},
    });
    if random.below(3) == 0 {
        let policy = random.one_of(&["Skip", "FireOnce", "FireAll"]);
        spec["catchUp"] = json!({"policy": policy, "maxRuns": 1 + random.below(30)});
    }
    if random.below(4) == 0 {
        spec["startingDeadlineSeconds"] = json!(random.below(200));
    }
    if random.below(5) == 0 {
        spec["limitRuns"] = json!(1 + random.below(20));
    }
    if random.below(5) == 0 {
        spec["finishWithinSeconds"] = json!(1 + random.below(60));
    }
    spec
}

/// Whatever happens, the ledger holds each second that the rules named exactly once, and a replay
/// gives the state again.
fn live(seed: u64) {
    let mut random = Random::of(seed);
    let mut life = Life::new();
    life.bounds.of_target_max = 1 + random.below(40) as usize;
    life.bounds.running_max = 1 + random.below(80) as usize;
    for _ in 0..400 {
        let name = format!("job-{}", random.below(12));
        let known = life.state.named(&name).map(|job| job.id);
        match (random.below(14), known) {
            (0..=1, _) => life.put(&name, any_spec(&mut random)),
            (2, Some(id)) if random.below(3) == 0 => life.turn(|turn| turn.remove(id).unwrap()),
            (3, Some(id)) => {
                let pauses = [crate::machine::Pause::Asked, crate::machine::Pause::None];
                let pause = *random.one_of(&pauses);
                life.turn(|turn| turn.pause(id, pause).unwrap());
            }
            (4, Some(id)) => {
                let nominal = life.now_ms / 1000;
                let cause = crate::machine::Cause::Manual;
                life.turn(|turn| turn.trigger(id, cause, nominal).unwrap());
            }
            (5, _) => life.take_snapshot(),
            (6, _) => life.crash(),
            (7, _) if random.below(4) == 0 => {
                life.crash();
                let seconds = random.below(20_000) as i64;
                life.sleep(seconds);
            }
            (8, _) if random.below(6) == 0 => {
                // The clock steps, by a second or an hour, in both directions.
                let step = *random.one_of(&[-1, 1, -3600, 3600]);
                life.now_ms += step * 1000;
            }
            (9, _) => {
                let runs: Vec<u64> = life.state.runs().map(|(number, _)| number).collect();
                if !runs.is_empty() {
                    let run = *random.one_of(&runs);
                    life.turn(|turn| turn.cancel(run).unwrap());
                }
            }
            (10..=11, _) => {
                let note = "x".to_owned();
                let outcome = match random.below(5) {
                    0 => Outcome::Failed { note },
                    1 => Outcome::Refused { note },
                    2 => Outcome::TimedOut { note },
                    _ => Outcome::Succeeded { note },
                };
                life.end_all(&outcome);
            }
            (12, _) if random.below(4) == 0 => {
                let rules = *random.one_of(&["Europe/Paris", "Europe/London", "Africa/Cairo"]);
                life.new_rules("Europe/Paris", rules);
            }
            _ => {
                let seconds = random.below(900) as i64;
                life.pass(seconds);
            }
        }
    }
    life.crash();
    let verdict = life.verify(START - 10_000);
    assert!(verdict.is_clean(), "seed {seed}: {verdict:?}");
    let mut sent = life.all_sent.clone();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent.len(), life.all_sent.len(), "seed {seed}: an attempt was handed over twice");
}

#[test]
fn the_ledger_holds_every_second_of_the_rules_once_whatever_happens() {
    let seeds = std::env::var("ORRERY_SCHEDULER_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(20) {
        live(seed);
    }
}

#[test]
fn a_ledger_that_lacks_or_repeats_something_is_told_from_one_that_is_whole() {
    let mut life = Life::new();
    life.put("minutely", json!({"when": {"cron": "* * * * *"}}));
    life.pass(600);
    let verdict = life.verify(START);
    assert!(verdict.is_clean() && verdict.launched == 10, "{verdict:?}");
    // A second more, and one less.
    let mut ledger = life.ledger.view();
    let mut view = View::of(&life.state, ledger.clone());
    view.jobs[0].since -= 60;
    let found = verify(&view, START - 100, START + 600).unwrap();
    assert_eq!((found.missed, found.duplicated, found.unexpected), (1, 0, 0), "{found:?}");
    let mut view = View::of(&life.state, ledger.clone());
    view.jobs[0].since += 60;
    let found = verify(&view, START - 100, START + 600).unwrap();
    assert_eq!((found.missed, found.unexpected), (0, 1), "{found:?}");
    let mut view = View::of(&life.state, ledger.clone());
    view.jobs[0].waiting = vec![START + 120];
    let found = verify(&view, START - 100, START + 600).unwrap();
    assert_eq!((found.missed, found.duplicated), (0, 1), "{found:?}");
    ledger = Ledger::open(tempfile::tempdir().unwrap().path(), FIRST).unwrap().view();
    let found = verify(&View::of(&life.state, ledger), START, START + 600).unwrap();
    assert_eq!(found.missed, 10, "{found:?}");
}
