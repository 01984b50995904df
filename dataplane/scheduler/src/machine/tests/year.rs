//! A year of very many jobs on a virtual clock, whose owner is lost at random moments.

use std::time::Instant;

use serde_json::{Value, json};

use super::life::{Life, Random, START};
use crate::run::Outcome;

const DAY: i64 = 86_400;
const PARTITIONS: u64 = 4;
/// Owners that are lost, on average, in the year of a partition.
const LOSSES: u64 = 50;

/// Jobs as a company has them: most run once a day to once a month, in zones that change their clocks.
fn spec(random: &mut Random) -> Value {
    let rules = [
        json!({"cron": "H H * * MON"}),
        json!({"cron": "0 7 1 * *"}),
        json!({"cron": "30 2 * * SUN"}),
        json!({"cron": "H 2 15,L * *"}),
        json!({"cron": "0 0 1 */3 *"}),
        json!({"cron": "0 0 9 ? * 2#1", "dialect": "Quartz"}),
        json!({"cron": "Mon *-*-01..07 03:00:00", "dialect": "Systemd"}),
        json!({"rrule": "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17;BYMINUTE=0;BYSECOND=0"}),
        json!({"every": "P7D"}),
        json!({"at": "2027-10-31T00:30:00Z"}),
    ];
    let zones = ["Europe/Paris", "Etc/UTC", "Australia/Lord_Howe", "America/St_Johns"];
    let policies = ["Allow", "Forbid", "Replace", "BufferOne", "BufferAll"];
    let mut when = random.one_of(&rules).clone();
    when["timeZone"] = json!(random.one_of(&zones));
    json!({
        "when": when,
        "start": "2027-03-28T00:00:00Z",
        "concurrency": random.one_of(&policies),
        "flexWindowSeconds": *random.one_of(&[0, 0, 0, 600]),
        "catchUp": {"policy": random.one_of(&["FireOnce", "FireAll", "Skip"]), "maxRuns": 10},
        "retry": {"maxAttempts": 2, "backoffSeconds": 30},
        "action": {"http": {"url": format!("http://t{}.test/", random.below(50))}},
    })
}

/// The year of a partition with so many jobs; gives its launches.
fn live(seed: u64, jobs: u64) -> u64 {
    let mut random = Random::of(seed);
    let mut life = Life::new();
    life.is_watched = false;
    (life.bounds.of_target_max, life.bounds.running_max) = (usize::MAX, usize::MAX);
    for job in 0..jobs {
        life.put(&format!("tenant-{}-job-{job}", job % 97), spec(&mut random));
    }
    life.take_snapshot();
    let mut lost = 0;
    for _ in 0..366 {
        let end = life.now_ms + DAY * 1000;
        while life.now_ms < end {
            let seconds = 1 + random.below(DAY as u64 / 2) as i64;
            life.pass(seconds);
            if random.below(366 * 4) < LOSSES {
                // Most are replaced at once; some were missed for hours.
                life.crash();
                let asleep = if random.below(3) == 0 { random.below(10_000) } else { 2 };
                life.sleep(asleep as i64);
                lost += 1;
            }
            let note = String::new();
            let outcome = match random.below(10) {
                0 => Outcome::Failed { note },
                1 => Outcome::TimedOut { note },
                _ => Outcome::Succeeded { note },
            };
            life.end_all(&outcome);
        }
        life.take_snapshot();
    }
    let broken = life.state.check();
    assert!(broken.is_empty(), "{broken:?}");
    let verdict = life.verify(START - 10_000);
    assert!(verdict.is_clean(), "seed {seed}: {verdict:?}");
    assert!(lost > 0 && verdict.launched > jobs, "seed {seed}: {lost} owners lost, {verdict:?}");
    verdict.launched
}

#[test]
fn after_a_year_the_ledger_is_what_is_derived_from_the_rules() {
    let jobs = std::env::var("ORRERY_SCHEDULER_YEAR_JOBS").ok().and_then(|text| text.parse().ok());
    let jobs: u64 = jobs.unwrap_or(800);
    let mut launched = 0;
    for partition in 0..PARTITIONS {
        let begun = Instant::now();
        launched += live(partition, jobs / PARTITIONS);
        let seconds = begun.elapsed().as_secs();
        println!(
            "partition {partition}: {launched} launches so far, the last year took {seconds} s"
        );
    }
}
