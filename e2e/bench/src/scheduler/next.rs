//! One next instant of a cron rule: beside the crate croner in process, and croniter in Python.
//!
//! Both sides get the same rules in one zone with summer time and the same random moments of two
//! years, and keep what they have parsed.

use std::hint::black_box;
use std::time::Instant;

use croner::Cron;
use croner::parser::CronParser;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use orrery_e2e_tests::random::Random;
use orrery_recurrence::{Dialect, Dst, Options as RuleOptions, Rule, Seconds, When, Zone, Zones};

use crate::Options;
use crate::python;
use crate::row::{Bar, Row};

const ZONE: &str = "Europe/Paris";
/// What schedules look like, from dense to rare.
const TEXTS: [&str; 6] =
    ["*/5 * * * *", "0 * * * *", "0 7 * * MON-FRI", "30 2 * * *", "0 0 1 * *", "15 10 L * *"];
/// Moments that croner is asked for each rule; ours is asked more often, to have something to time.
const MOMENTS: u64 = 20_000;
const TIMES_OURS: u64 = 50;
/// Moments for croniter.
const MOMENTS_PYTHON: u64 = 2_000;
const CRONITER: &str = "croniter==7.0.0";
const SCRIPT: &str = include_str!("../../python/croniter_next.py");

/// `next-croner` and `next-croniter`; the latter is left out when there is no Python to have it.
pub fn rows(options: &Options) -> Result<Vec<Row>, String> {
    let zone = Zones::bundled().get(ZONE).map_err(|error| error.to_string())?;
    let ours = compiled(&zone)?;
    let count = options.scaled(MOMENTS);
    let mut croner = Row::new("next-croner", "/s", Bar::AtLeast(20.0));
    for round in 0..options.rounds {
        let moments = moments(count, round as u64);
        croner.pairs.push((ours_rate(&ours, &moments), croner_rate(&zone, &moments)?));
    }
    let mut rows = vec![croner];
    let mut croniter = Row::new("next-croniter", "/s", Bar::AtLeast(500.0));
    for round in 0..options.rounds {
        let moments = moments(options.scaled(MOMENTS_PYTHON), round as u64);
        match croniter_rate(&moments) {
            Ok(theirs) => croniter.pairs.push((ours_rate(&ours, &moments), theirs)),
            Err(why) => {
                println!("next-croniter | not run: {why}");
                return Ok(rows);
            }
        }
    }
    rows.push(croniter);
    Ok(rows)
}

fn compiled(zone: &std::sync::Arc<Zone>) -> Result<Vec<Rule>, String> {
    let options = RuleOptions { zone: zone.clone(), dst: Dst::default(), hash_seed: "" };
    let compile = |text: &&str| {
        Rule::compile(&When::Cron { text, dialect: Dialect::Vixie }, &options)
            .map_err(|error| format!("{text}: {error}"))
    };
    TEXTS.iter().map(compile).collect()
}

/// Random moments of 2027 and 2028.
fn moments(count: u64, seed: u64) -> Vec<Seconds> {
    let mut random = Random::new(seed + 1);
    (0..count).map(|_| 1_798_761_600 + random.below(2 * 365 * 86_400) as Seconds).collect()
}

fn ours_rate(rules: &[Rule], moments: &[Seconds]) -> f64 {
    let begun = Instant::now();
    for _ in 0..TIMES_OURS {
        for rule in rules {
            for moment in moments {
                black_box(black_box(rule).next_after(*moment));
            }
        }
    }
    per_second(begun, TIMES_OURS as usize * rules.len() * moments.len())
}

fn croner_rate(zone: &Zone, moments: &[Seconds]) -> Result<f64, String> {
    let clock = TimeZone::tzif(zone.name(), zone.tzif()).map_err(|error| error.to_string())?;
    let rules: Result<Vec<Cron>, String> = TEXTS
        .iter()
        .map(|text| CronParser::new().parse(text).map_err(|error| error.to_string()))
        .collect();
    let rules = rules?;
    let moments: Vec<jiff::Zoned> = moments
        .iter()
        .filter_map(|at| Timestamp::from_second(*at).ok())
        .map(|at| at.to_zoned(clock.clone()))
        .collect();
    let begun = Instant::now();
    for rule in &rules {
        for moment in &moments {
            let next = black_box(rule).find_next_occurrence(moment, false);
            black_box(next.map_err(|error| error.to_string())?);
        }
    }
    Ok(per_second(begun, rules.len() * moments.len()))
}

fn per_second(begun: Instant, calls: usize) -> f64 {
    calls as f64 / begun.elapsed().as_secs_f64()
}

fn croniter_rate(moments: &[Seconds]) -> Result<f64, String> {
    let texts: Vec<String> = TEXTS.iter().map(|text| format!("\"{text}\"")).collect();
    let texts = texts.join(",");
    // Lists of numbers print as JSON does.
    let request = format!("{{\"zone\":\"{ZONE}\",\"texts\":[{texts}],\"at\":{moments:?}}}\n");
    Ok(1e9 / python::number(&[CRONITER], SCRIPT, &[], &request)?)
}
