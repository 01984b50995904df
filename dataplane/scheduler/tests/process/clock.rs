//! Clocks that change for summer and winter, and clocks that are set while the engine runs.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use orrery_e2e_tests::clock;
use orrery_scheduler::ledger::Fact;
use serde_json::json;

use super::engine::{Engine, now};
use super::sink::Sink;

/// Zones whose clocks do what few do: half an hour, negative summer time, a day that is missing,
/// changes at midnight or for a month of fasting.
const ZONES: [(&str, &str); 12] = [
    ("Pacific/Apia", "2011-12-29T00:00:00Z"),
    ("America/Sao_Paulo", "2018-10-15T00:00:00Z"),
    ("Asia/Gaza", "2022-03-01T00:00:00Z"),
    ("Asia/Beirut", "2023-03-01T00:00:00Z"),
    ("Australia/Lord_Howe", "2024-03-01T00:00:00Z"),
    ("Europe/Dublin", "2024-10-01T00:00:00Z"),
    ("Africa/Casablanca", "2025-02-01T00:00:00Z"),
    ("America/St_Johns", "2025-10-01T00:00:00Z"),
    ("Pacific/Chatham", "2026-04-01T00:00:00Z"),
    ("America/Santiago", "2026-08-01T00:00:00Z"),
    ("Antarctica/Troll", "2027-03-01T00:00:00Z"),
    ("America/Havana", "2027-10-01T00:00:00Z"),
];

/// A process whose clock the test holds.
struct Skewed {
    engine: Engine,
    offset_s: i64,
}

impl Skewed {
    fn set(&mut self, offset_s: i64) {
        self.offset_s = offset_s;
        clock::set(self.engine.folder.path(), offset_s * 1_000_000_000);
    }

    fn now(&self) -> i64 {
        now() + self.offset_s
    }

    /// The clock of the process is at this second.
    fn jump_to(&mut self, second: i64) {
        self.set(second - now());
    }

    /// Hours go by in seconds.
    fn race_to(&mut self, second: i64) {
        while self.now() < second {
            self.set(self.offset_s + 100);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Seconds between `from` and `to` at which a clock on the wall shows a time that `fits`, as few lines
/// say it: of a time that comes twice the first, unless `both`.
fn on_the_wall(
    zone: &TimeZone,
    (from, to): (i64, i64),
    both: bool,
    fits: impl Fn(jiff::civil::DateTime) -> bool,
) -> BTreeSet<i64> {
    let minutes = (from..=to).filter(|second| second % 60 == 0);
    let chosen = minutes.filter(|second| {
        let at = Timestamp::from_second(*second).expect("in range");
        let local = zone.to_datetime(at);
        let first = zone.to_ambiguous_timestamp(local).earlier().expect("it exists");
        fits(local) && (both || first == at)
    });
    chosen.collect()
}

fn launched(engine: &Engine, name: &str) -> BTreeSet<i64> {
    let mut all = BTreeSet::new();
    for (state, ledger) in engine.partitions() {
        let Some(job) = state.named(name) else { continue };
        let seen = ledger.view().follow(job.chain, |_, entry| {
            if let Fact::Launched { nominal, .. } = entry.fact {
                assert!(all.insert(nominal), "{name} was launched twice for {nominal}");
            }
            true
        });
        seen.expect("it can be read");
    }
    all
}

/// Around a change of the clock in twelve zones, one after the other in one process: each job runs
/// exactly at the times that a clock on the wall shows.
#[test]
fn changes_of_clocks_neither_lose_nor_repeat_a_run() {
    let library = match clock::library() {
        Ok(library) => library,
        Err(why) => return println!("not run: {why}"),
    };
    let sink = Sink::start();
    let engine = Engine::new(2, "");
    clock::install(&library, engine.folder.path());
    let mut skewed = Skewed { engine, offset_s: 0 };
    let spec = |cron: &str, zone: &str| {
        json!({
            "when": {"cron": cron, "timeZone": zone},
            // Its loops look at the clock twice a second, which is minutes here.
            "catchUp": {"policy": "FireAll", "maxRuns": 100, "maxSeconds": 3600},
            "action": {"http": {"url": sink.url}},
        })
    };
    let mut jobs = vec![];
    let mut windows = vec![];
    for (zone, after) in ZONES {
        let known = orrery_recurrence::Zones::bundled().get(zone).expect("it is known");
        let rules = TimeZone::tzif(zone, known.tzif()).expect("it can be read");
        let after: Timestamp = after.parse().expect("a moment");
        let change = rules.following(after).next().expect("a change").timestamp();
        let window = (
            change.checked_sub(80.minutes()).expect("in range").as_second(),
            change.checked_add(80.minutes()).expect("in range").as_second(),
        );
        // A time of day within what is skipped or repeated.
        let before = rules.to_datetime(change.checked_sub(1.second()).expect("in range"));
        let (hour, minute) = (before.hour(), before.minute() / 10 * 10);
        jobs.push((format!("often-{}", windows.len()), spec("*/5 * * * *", zone)));
        jobs.push((
            format!("daily-{}", windows.len()),
            spec(&format!("{minute} {hour} * * *"), zone),
        ));
        let skipped = (i32::from(hour) * 60 + 70) % 1440;
        let cron = format!("{} {} * * *", skipped % 60, skipped / 60);
        jobs.push((format!("later-{}", windows.len()), spec(&cron, zone)));
        windows.push((zone, rules, window, (hour, minute), (skipped / 60, skipped % 60)));
    }
    skewed.jump_to(windows[0].2.0 - 3600);
    skewed.engine.start();
    let answer = skewed.engine.declare(&jobs);
    assert!(answer.results.iter().all(|result| result.accepted), "{answer:?}");
    for (_, _, (from, to), ..) in &windows {
        skewed.jump_to(*from);
        std::thread::sleep(Duration::from_millis(1200));
        skewed.race_to(*to);
        // Until its loops have seen the last minutes.
        std::thread::sleep(Duration::from_millis(700));
    }
    let end = skewed.now();
    skewed.engine.stop();
    let verdict = skewed.engine.verify(windows[0].2.0, end);
    assert!(verdict.is_clean(), "{verdict:?}");
    for (index, (zone, rules, (from, to), daily, later)) in windows.into_iter().enumerate() {
        // The first minutes of a window are those in which the clock was set.
        let window = (from + 300, to);
        let within = |all: BTreeSet<i64>| -> Vec<i64> {
            all.into_iter().filter(|second| (window.0..=window.1).contains(second)).collect()
        };
        let often = on_the_wall(&rules, window, true, |local| local.minute() % 5 == 0);
        let name = format!("often-{index}");
        assert_eq!(within(launched(&skewed.engine, &name)), within(often), "{name} in {zone}");
        for (name, (hour, minute)) in
            [("daily", (i32::from(daily.0), i32::from(daily.1))), ("later", later)]
        {
            let expected = on_the_wall(&rules, window, false, |local| {
                (i32::from(local.hour()), i32::from(local.minute())) == (hour, minute)
            });
            let name = format!("{name}-{index}");
            let runs = within(launched(&skewed.engine, &name));
            assert_eq!(runs, within(expected), "{name} at {hour}:{minute} in {zone}");
        }
    }
}

/// The clock is set by a second and by a day, forth and back: what was launched is never launched
/// again, and what the rules named is decided.
#[test]
fn a_clock_that_is_set_neither_loses_nor_repeats_a_run() {
    let library = match clock::library() {
        Ok(library) => library,
        Err(why) => return println!("not run: {why}"),
    };
    let sink = Sink::start();
    let engine = Engine::new(2, "");
    clock::install(&library, engine.folder.path());
    let mut skewed = Skewed { engine, offset_s: 0 };
    let spec = |policy: &str| {
        json!({
            "when": {"cron": "* * * * * *"},
            "catchUp": {"policy": policy, "maxRuns": 50},
            "action": {"http": {"url": sink.url}},
        })
    };
    let jobs: Vec<_> = ["Skip", "FireOnce", "FireAll"]
        .map(|policy| (policy.to_owned(), spec(policy)))
        .into_iter()
        .collect();
    skewed.engine.start();
    skewed.engine.declare(&jobs);
    let begin = now();
    for step in [1, -1, -1, 1, 86_400, -86_400, 3, -3600, 3600] {
        std::thread::sleep(Duration::from_millis(1300));
        let offset_s = skewed.offset_s + step;
        skewed.set(offset_s);
        if step.abs() > 1000 {
            skewed.engine.kill();
            skewed.engine.start();
        }
    }
    std::thread::sleep(Duration::from_millis(1500));
    skewed.engine.stop();
    let verdict = skewed.engine.verify(begin - 10, begin + 86_400 + 3600);
    assert!(verdict.is_clean(), "{verdict:?}");
    for ((job, nominal), keys) in sink.books() {
        assert_eq!(keys.len(), 1, "{job} was launched twice for {nominal}");
    }
    for policy in ["Skip", "FireOnce", "FireAll"] {
        assert!(launched(&skewed.engine, policy).len() > 3, "{policy}");
    }
}
