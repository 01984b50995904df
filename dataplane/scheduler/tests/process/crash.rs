//! Killed at random moments, the engine neither misses nor repeats a launch.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use orrery_scheduler::ledger::Fact;
use serde_json::json;

use super::engine::{Engine, now};
use super::sink::Sink;

/// Jobs that are due in the same second.
const JOBS: u64 = 150;
/// Calls a second that a target on the same two cores takes beside the engine.
const CALLS_PER_SECOND: usize = 5_000;

/// Jobs of several policies that are due together, in every second that leaves time for their calls.
pub(super) fn herd(url: &str, count: usize) -> Vec<(String, serde_json::Value)> {
    let every = every(count);
    let spec = |concurrency: &str| {
        json!({
            "when": {"cron": format!("*/{every} * * * * *")},
            "concurrency": concurrency,
            "catchUp": {"policy": "FireAll", "maxRuns": 1000},
            "action": {"http": {"url": url, "body": "x"}},
        })
    };
    let policies = ["Allow", "Forbid", "BufferAll", "Replace"];
    let job = |index| (format!("job-{index}"), spec(policies[index % policies.len()]));
    (0..count).map(job).collect()
}

/// Waits until nothing runs any more, with every job gone.
pub(super) fn drain(engine: &Engine) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        std::thread::sleep(Duration::from_millis(300));
        engine.declare(&[]);
        let running = engine.report().map_or(1, |report| report.figures["running"]);
        if running == 0 {
            break;
        }
        assert!(Instant::now() < until, "{running} runs do not end");
    }
}

/// Seconds between two times of a herd, a part of a minute.
fn every(count: usize) -> usize {
    let parts = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30];
    parts.into_iter().find(|every| every * CALLS_PER_SECOND >= count).unwrap_or(60)
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Again and again all jobs are due in one second; the process is killed in the midst of it again and again. Then the
/// ledger holds every second of every job once, every launch reached the target, and no second was
/// launched under two keys.
#[test]
fn killed_in_the_midst_of_a_herd_it_neither_misses_nor_repeats_a_launch() {
    let sink = Sink::start();
    let count = number("ORRERY_SCHEDULER_HERD", JOBS) as usize;
    let mut engine = Engine::new(4, &format!("snapshotAfterBytes: {}\n", 400 * count));
    let jobs = herd(&sink.url, count);
    engine.start();
    let answer = engine.declare(&jobs);
    assert!(answer.results.iter().all(|result| result.accepted), "{answer:?}");
    let begin = now() + 1;
    for round in 0..number("ORRERY_SCHEDULER_KILLS", 6) {
        let pause = Duration::from_millis(400 + (round * 7919) % (900 * every(count) as u64));
        std::thread::sleep(pause);
        engine.kill();
        engine.start();
    }
    std::thread::sleep(Duration::from_millis(1500));
    engine.stop();
    let end = now() - 1;
    let verdict = engine.verify(begin, end);
    assert!(verdict.is_clean(), "{verdict:?}");
    let least = ((end - begin) / every(count) as i64) as u64 * count as u64;
    assert!(verdict.expected >= least, "{verdict:?}, at least {least}");

    // What is not over is sent again by the next process; let it.
    engine.start();
    drain(&engine);
    engine.stop();
    let (launches, calls) = check_books(&sink, &engine);
    println!("{launches} launches, {calls} calls");
}

/// A key without the name of the engine: partition and run.
fn without_name(key: &str) -> &str {
    let partition = key.rmatch_indices('_').nth(1);
    partition.map_or(key, |(at, _)| &key[at + 1..])
}

/// Holds what arrived against the ledgers: no second under two keys, and no launch that never arrived.
/// Gives how many launches and calls there were.
pub(super) fn check_books(sink: &Sink, engine: &Engine) -> (usize, usize) {
    let books = sink.books();
    for ((job, nominal), keys) in &books {
        assert_eq!(keys.len(), 1, "{job} was launched twice for {nominal}: {keys:?}");
    }
    let sent: BTreeSet<&str> =
        books.values().flat_map(|keys| keys.keys().map(|key| without_name(key))).collect();
    let (mut launches, mut lost) = (0, vec![]);
    for (partition, (_, ledger)) in engine.partitions().into_iter().enumerate() {
        let mut cancelled = BTreeSet::new();
        let mut all = BTreeSet::new();
        let seen = ledger.view().scan(0, |_, entry| {
            match entry.fact {
                Fact::Launched { run, .. } => _ = all.insert(run),
                // Another run took its place, perhaps before it was sent.
                Fact::Ended { run, ended, .. } if ended.as_str() == "Cancelled" => {
                    cancelled.insert(run);
                }
                _ => {}
            }
            true
        });
        seen.expect("it can be read");
        launches += all.len();
        let keys = all.difference(&cancelled).map(|run| format!("{partition}_{run}"));
        lost.extend(keys.filter(|key| !sent.contains(key.as_str())));
    }
    assert!(lost.is_empty(), "{} of {launches} launches never arrived: {lost:?}", lost.len());
    (launches, books.len())
}
