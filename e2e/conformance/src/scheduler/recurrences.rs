//! Recurrences beside python-dateutil.

use std::fmt::Write as _;
use std::process::Command;

use orrery_e2e_tests::cache;
use orrery_e2e_tests::random::Random;
use orrery_recurrence::{Dst, Options, Rule, RuleError, Seconds, When, Zone};
use serde_json::{Value, json};

use super::compared::Compared;
use super::piped::Piped;
use super::python;

const SCRIPT: &str = include_str!("../../python/recurrences.py");
/// Instances of each text.
const INSTANCES: usize = 20;
const SLOW: &str = "dateutil was stopped after half a second";
const TOO_LATE: &str = "instances after 2199 are none here";

const FIRST_WEEK: &str =
    "BYSETPOS counts a first week from its WKST on here, from DTSTART on in dateutil";

/// Whether both have the same instances from the second week on, as far as both go.
fn same_later(ours: &[Seconds], theirs: &[Seconds], start: Seconds) -> bool {
    let later = |all: &[Seconds]| -> Vec<Seconds> {
        all.iter().copied().filter(|at| *at > start + 7 * 86_400).collect()
    };
    later(ours).iter().zip(&later(theirs)).all(|(a, b)| a == b)
}

/// Compares this many instances.
pub fn run(comparisons: u64, seed: u64) -> Result<Compared, String> {
    let mut compared = Compared::new("python-dateutil rrule");
    let mut random = Random::new(seed);
    let script = cache::folder("scheduler-scripts")?.join("recurrences.py");
    std::fs::write(&script, SCRIPT).map_err(|error| error.to_string())?;
    let mut command = Command::new(python::interpreter()?);
    command.arg(script);
    let mut dateutil = Piped::start(command)?;
    while compared.total() < comparisons {
        let start = random.below(2_500_000_000) as Seconds;
        let text = text(&mut random);
        let request = json!({"text": text, "start": start, "count": INSTANCES});
        let answer = dateutil.ask(&request)?;
        one(&mut compared, &text, start, &answer);
    }
    Ok(compared)
}

fn one(compared: &mut Compared, text: &str, start: Seconds, answer: &Value) {
    if answer["slow"] == true {
        return compared.explain(SLOW);
    }
    let options = Options { zone: Zone::utc(), dst: Dst::default(), hash_seed: "" };
    let ours = Rule::compile(&When::Rrule { text, start }, &options);
    let theirs = answer["next"].as_array();
    let theirs: Option<Vec<Seconds>> =
        theirs.map(|next| next.iter().filter_map(Value::as_i64).collect());
    let found: Vec<Seconds> = match (&ours, &theirs) {
        (Ok(rule), Some(_)) => rule.iter_after(start - 1).take(INSTANCES).collect(),
        (Err(RuleError::NeverFires { .. }), Some(_)) => Vec::new(),
        (Err(_), None) => {
            compared.agreed += 1;
            return;
        }
        (Err(error), _) => return compared.fail(|| format!("`{text}`: ours {error}")),
        _ => return compared.fail(|| format!("`{text}` from {start}: theirs {answer}")),
    };
    let theirs = theirs.unwrap_or_default();
    // 2200-01-01.
    let known = theirs.iter().filter(|at| **at < 7_258_118_400).count();
    if found == theirs {
        compared.agreed += found.len().max(1) as u64;
    } else if found == theirs[..known] {
        compared.explain(TOO_LATE);
    } else if text.contains("WEEKLY")
        && text.contains("BYSETPOS")
        && same_later(&found, &theirs, start)
    {
        compared.explain(FIRST_WEEK);
    } else {
        compared.fail(|| format!("`{text}` from {start}: ours {found:?}, theirs {theirs:?}"));
    }
}

/// A random RRULE that RFC 5545 allows.
fn text(random: &mut Random) -> String {
    const FREQS: [&str; 7] =
        ["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"];
    let freq = if random.chance(700) { random.below(4) } else { random.below(7) };
    let mut text = format!("FREQ={}", FREQS[freq]);
    if random.chance(500) {
        let most = if random.chance(800) { 12 } else { 400 };
        let _ = write!(text, ";INTERVAL={}", 1 + random.below(most));
    }
    match random.below(6) {
        0 => {
            let _ = write!(text, ";COUNT={}", 1 + random.below(30));
        }
        1 => {
            let year = 1990 + random.below(60);
            let _ = write!(text, ";UNTIL={year}0{}15T120000", 1 + random.below(9));
        }
        _ => {}
    }
    let before = text.len();
    let mut part = |random: &mut Random, per_mille, name: &str, least: i64, most: i64, back| {
        if random.chance(per_mille) {
            let _ = write!(text, ";{name}={}", numbers(random, least, most, back));
        }
    };
    part(random, 250, "BYMONTH", 1, 12, false);
    if freq != 2 {
        part(random, 200, "BYMONTHDAY", 1, 31, true);
    }
    if freq == 0 || freq > 3 {
        part(random, 100, "BYYEARDAY", 1, 366, true);
    }
    let weeks = freq == 0 && random.chance(150);
    if weeks {
        part(random, 1000, "BYWEEKNO", 1, 53, true);
    }
    part(random, 150, "BYHOUR", 0, 23, false);
    part(random, 150, "BYMINUTE", 0, 59, false);
    part(random, 100, "BYSECOND", 0, 59, false);
    if random.chance(350) {
        let _ = write!(text, ";BYDAY={}", weekdays(random, freq < 2 && !weeks));
    }
    if text.len() > before && random.chance(200) {
        let _ = write!(text, ";BYSETPOS={}", numbers(random, 1, 8, true));
    }
    if random.chance(200) {
        text.push_str(";WKST=SU");
    }
    text
}

fn numbers(random: &mut Random, least: i64, most: i64, back: bool) -> String {
    let count = 1 + random.below(3);
    let mut all: Vec<String> = Vec::new();
    for _ in 0..count {
        let number = least + random.below((most - least + 1) as usize) as i64;
        let number = if back && random.chance(300) { -number } else { number };
        if !all.contains(&number.to_string()) {
            all.push(number.to_string());
        }
    }
    all.join(",")
}

fn weekdays(random: &mut Random, numbered: bool) -> String {
    const DAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
    let count = 1 + random.below(3);
    // RFC 5545 unites plain and numbered weekdays of one list; dateutil intersects them.
    let numbered = numbered && random.chance(600);
    let mut all: Vec<String> = Vec::new();
    for _ in 0..count {
        let day = DAYS[random.below(7)];
        let number = 1 + random.below(5);
        all.push(match random.below(2) {
            0 if numbered => format!("{number}{day}"),
            _ if numbered => format!("-{number}{day}"),
            _ => day.to_owned(),
        });
    }
    all.join(",")
}
