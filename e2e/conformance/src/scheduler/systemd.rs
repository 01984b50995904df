//! Beside `systemd-analyze calendar`, which prints the next elapses of OnCalendar text.

use std::process::Command;

use orrery_e2e_tests::random::Random;
use orrery_recurrence::{Dialect, Dst, Options, Rule, Seconds, When, Zone, Zones};

use super::compared::Compared;
use super::expression::{ZONES, moment};

/// Elapses that are compared of each text.
const ITERATIONS: usize = 10;
/// Texts of one run of the program.
const BATCH: usize = 50;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const SHORTHANDS: [&str; 9] = [
    "minutely",
    "hourly",
    "daily",
    "monthly",
    "weekly",
    "yearly",
    "quarterly",
    "semiannually",
    "annually",
];

const SINGLE_RANGE: &str = "a range with one value (`41..41`) is refused by some versions there";
const NO_SECOND_PASS: &str =
    "rules of every hour run in both passes of a repeated hour here, in one of them there";
const CHANGES: &str = "near a change of the clock systemd stays in the pass in which it began to \
                       look, and after a gap passes over the rest of the day";
const CARRIED: &str = "a repetition is carried over the end of its field there, and skips some of \
                       the next; here it begins anew, as the manual says";
const GIVES_UP: &str = "systemd gives up with `Infinite loop in calendar calculation`";

/// Compares this many elapses.
pub fn run(comparisons: u64, seed: u64) -> Result<Compared, String> {
    let mut compared = Compared::new("systemd-analyze calendar");
    let mut random = Random::new(seed);
    let zones = Zones::folder("/usr/share/zoneinfo");
    while compared.total() < comparisons {
        let name = ZONES[random.below(ZONES.len())];
        let zone = zones.get(name).map_err(|error| error.to_string())?;
        let base = moment(&mut random, &zone);
        let texts: Vec<String> = (0..BATCH).map(|_| text(&mut random)).collect();
        batch(&mut compared, &zone, base, &texts)?;
    }
    Ok(compared)
}

/// Random OnCalendar text.
fn text(random: &mut Random) -> String {
    if random.chance(20) {
        return (*random.pick(&SHORTHANDS)).to_owned();
    }
    let mut parts = Vec::new();
    if random.chance(300) {
        parts.push(weekdays(random));
    }
    if random.chance(600) {
        parts.push(date(random));
    }
    if parts.is_empty() || random.chance(800) {
        parts.push(time(random));
    }
    if random.chance(50) {
        parts.push("UTC".to_owned());
    }
    parts.join(" ")
}

fn weekdays(random: &mut Random) -> String {
    let (a, b) = (random.below(7), random.below(7));
    match random.below(3) {
        0 => WEEKDAYS[a].to_owned(),
        1 => format!("{}..{}", WEEKDAYS[a.min(b)], WEEKDAYS[a.max(b)]),
        _ => format!("{},{}", WEEKDAYS[a], WEEKDAYS[b]),
    }
}

fn date(random: &mut Random) -> String {
    let year = match random.below(12) {
        0 => "2030".to_owned(),
        1 => "2024..2032".to_owned(),
        2 => "2021/3".to_owned(),
        3 => String::new(),
        _ => "*".to_owned(),
    };
    let month = chain(random, 1, 12);
    let day = if random.chance(200) {
        match random.below(3) {
            0 => format!("~{:02}", 1 + random.below(28)),
            1 => format!("~{:02}/{}", 1 + random.below(28), 1 + random.below(9)),
            _ => format!("~{:02}..{:02}", 1 + random.below(9), 5 + random.below(23)),
        }
    } else {
        format!("-{}", chain(random, 1, 31))
    };
    if year.is_empty() { format!("{month}{day}") } else { format!("{year}-{month}{day}") }
}

fn time(random: &mut Random) -> String {
    let hour = if random.chance(500) { chain(random, 0, 4) } else { chain(random, 0, 23) };
    let minute = chain(random, 0, 59);
    if random.chance(300) {
        return format!("{hour}:{minute}:{}", chain(random, 0, 59));
    }
    format!("{hour}:{minute}")
}

fn chain(random: &mut Random, least: usize, most: usize) -> String {
    let value = |random: &mut Random| least + random.below(most - least + 1);
    match random.below(8) {
        0..=2 => "*".to_owned(),
        3 => {
            let (a, b) = (value(random), value(random));
            format!("{:02}..{:02}", a.min(b), a.max(b))
        }
        4 => format!("{:02}/{}", value(random), 1 + random.below(most)),
        5 => format!("{:02},{:02}", value(random), value(random)),
        6 => {
            let (a, b) = (value(random), value(random));
            format!("{:02}..{:02}/{}", a.min(b), a.max(b), 1 + random.below(9))
        }
        _ => format!("{:02}", value(random)),
    }
}

fn batch(
    compared: &mut Compared,
    zone: &std::sync::Arc<Zone>,
    base: Seconds,
    texts: &[String],
) -> Result<(), String> {
    for text in texts {
        let mut command = Command::new("systemd-analyze");
        command.args(["calendar", &format!("--base-time=@{base}")]);
        command.arg(format!("--iterations={ITERATIONS}")).arg(text);
        // Elapses come in the zone of TZ, then in UTC unless that is the same.
        command.env("TZ", zone.name()).env("LC_ALL", "C");
        let output = command.output().map_err(|error| format!("systemd-analyze: {error}"))?;
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        one(compared, zone, base, text, &printed, output.status.success());
    }
    Ok(())
}

fn one(
    compared: &mut Compared,
    zone: &std::sync::Arc<Zone>,
    base: Seconds,
    text: &str,
    printed: &str,
    accepted: bool,
) {
    let options = Options { zone: zone.clone(), dst: Dst::default(), hash_seed: "" };
    let ours = Rule::compile(&When::Cron { text, dialect: Dialect::Systemd }, &options);
    let theirs: Vec<Seconds> =
        { printed.lines() }.filter_map(|line| elapse(line, zone.tzif().is_empty())).collect();
    let ours = match (ours, accepted) {
        (Ok(rule), true) => rule,
        (Err(_), false) => {
            compared.agreed += 1;
            return;
        }
        // What never elapses is read there and refused here.
        (Err(orrery_recurrence::RuleError::NeverFires { .. }), true) if theirs.is_empty() => {
            compared.agreed += 1;
            return;
        }
        (Err(error), true) => return compared.fail(|| format!("`{text}`: ours {error}")),
        (Ok(_), false) if has_single_range(text) => return compared.explain(SINGLE_RANGE),
        (Ok(_), false) if printed.contains("Infinite loop") => return compared.explain(GIVES_UP),
        (Ok(_), false) if theirs.is_empty() && printed.contains("never") => {
            compared.agreed += 1;
            return;
        }
        (Ok(_), false) => {
            let name = zone.name();
            return compared.fail(|| format!("`{text}` in {name} after @{base}: there {printed}"));
        }
    };
    let found: Vec<Seconds> = ours.iter_after(base).take(ITERATIONS).collect();
    if found == theirs {
        compared.agreed += found.len().max(1) as u64;
        return;
    }
    let first = found.iter().zip(&theirs).position(|(a, b)| a != b);
    let first = first.unwrap_or(found.len().min(theirs.len()));
    if once_each(text).is_some_and(|text| {
        Rule::compile(&When::Cron { text: &text, dialect: Dialect::Systemd }, &options)
            .is_ok_and(|rule| rule.iter_after(base).take(ITERATIONS).eq(theirs.iter().copied()))
    }) {
        return compared.explain(NO_SECOND_PASS);
    }
    let answers = [found.get(first), theirs.get(first)].map(|at| at.copied().unwrap_or(base));
    if near_change(zone, answers[0].min(answers[1])) {
        return compared.explain(CHANGES);
    }
    if repeats_openly(text) && theirs.iter().all(|at| ours.matches(*at)) {
        return compared.explain(CARRIED);
    }
    compared.fail(|| {
        let name = zone.name();
        let place = found.iter().zip(&theirs).position(|(a, b)| a != b);
        let place = place.unwrap_or(found.len().min(theirs.len()));
        format!(
            "`{text}` in {name} after @{base}, elapse {place}: ours {:?}, theirs {:?}",
            found.get(place),
            theirs.get(place)
        )
    });
}

/// Whether a range of the text has one value alone, as `41..41`.
fn has_single_range(text: &str) -> bool {
    text.split([' ', ':', '-', '~', ',', '/'])
        .filter_map(|word| word.split_once(".."))
        .any(|(from, to)| from == to)
}

/// The text with its hours written out, if they are a star: then each hour of the day runs once.
fn once_each(text: &str) -> Option<String> {
    match text {
        "hourly" => return Some("00..23:00".to_owned()),
        "minutely" => return Some("00..23:*".to_owned()),
        _ => {}
    }
    let at = if text.starts_with("*:") { 0 } else { text.find(" *:")? + 1 };
    Some(format!("{}00..23{}", &text[..at], &text[at + 1..]))
}

/// Whether a value is repeated without an end, as `*-*-04/16`.
fn repeats_openly(text: &str) -> bool {
    text.split([' ', ':', '-', '~', ',']).any(|word| word.contains('/') && !word.contains(".."))
}

/// Whether the clock changes within a day of a moment.
fn near_change(zone: &Zone, at: Seconds) -> bool {
    (at - 86_400..=at + 86_400)
        .step_by(3600)
        .any(|hour| zone.offset_at(hour) != zone.offset_at(hour - 3600))
}

/// Seconds of a line `Next elapse: Mon 2027-01-04 07:00:00 CET`: of its twin in UTC, if the zone is
/// another one.
fn elapse(line: &str, is_utc: bool) -> Option<Seconds> {
    let line = line.trim();
    let rest = if is_utc {
        line.strip_prefix("Next elapse:")
            .or_else(|| line.strip_prefix("Iter. #")?.split_once(':').map(|pair| pair.1))?
    } else {
        line.strip_prefix("(in UTC):")?
    };
    let mut words = rest.split_whitespace().skip(1);
    let (date, time) = (words.next()?, words.next()?);
    let moment: jiff::civil::DateTime = format!("{date}T{time}").parse().ok()?;
    Some(moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}
