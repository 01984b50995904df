//! Rules behind a pipe: a JSON request on each line of standard input, its answer on a line of
//! standard output. What suites in other languages talk to.
//!
//! `{"op":"compile","text":"0 7 * * *","dialect":"vixie","zone":"Europe/Paris","dst":"skip-once",
//! "seed":"","and":false}` answers `{"id":0,"fields":{…}}` or `{"error":…}`;
//! `{"op":"next"|"previous","id":0,"at":1800000000}` answers `{"at":1800003600}` or `{"at":null}`.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use orrery_recurrence::{
    Dialect, Dst, Hashing, Options, Rule, RuleError, Seconds, When, Zone, Zones,
};
use serde_json::{Value, json};

/// One rule, or two that must both hold.
enum Compiled {
    One(Rule),
    Both(Rule, Rule),
}

/// Steps that two rules are moved towards each other; a day that both have is found before.
const STEPS_MAX: usize = 100_000;

impl Compiled {
    fn next(&self, after: Seconds) -> Option<Seconds> {
        match self {
            Self::One(rule) => rule.next_after(after),
            Self::Both(a, b) => {
                let mut at = a.next_after(after)?;
                for _ in 0..STEPS_MAX {
                    let other = b.next_after(at - 1)?;
                    if other == at {
                        return Some(at);
                    }
                    at = a.next_after(other - 1)?;
                }
                None
            }
        }
    }

    fn previous(&self, before: Seconds) -> Option<Seconds> {
        match self {
            Self::One(rule) => rule.previous_before(before),
            Self::Both(a, b) => {
                let mut at = a.previous_before(before)?;
                for _ in 0..STEPS_MAX {
                    let other = b.previous_before(at + 1)?;
                    if other == at {
                        return Some(at);
                    }
                    at = a.previous_before(other + 1)?;
                }
                None
            }
        }
    }

    fn fields(&self) -> Value {
        let values = |rule: &Rule| rule.field_values().unwrap_or_default();
        let (mut all, days) = match self {
            Self::One(rule) => (values(rule), None),
            Self::Both(a, b) => (values(a), Some(values(b))),
        };
        if let Some(days) = days {
            all.day_of_week = days.day_of_week;
            all.nth_day_of_week = days.nth_day_of_week;
            all.last_day_of_week = days.last_day_of_week;
        }
        json!({
            "second": all.second, "minute": all.minute, "hour": all.hour,
            "day_of_month": all.day_of_month, "last_day_of_month": all.last_day_of_month,
            "nearest_weekday": all.nearest_weekday, "month": all.month,
            "day_of_week": all.day_of_week, "nth_day_of_week": all.nth_day_of_week,
            "last_day_of_week": all.last_day_of_week, "year": all.year,
            "either_day": all.either_day,
        })
    }
}

/// Serves until the input ends.
pub fn serve() -> Result<bool, String> {
    let zones = Zones::bundled();
    let mut rules: Vec<Compiled> = Vec::new();
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let answer = serde_json::from_str(&line)
            .map_err(|error| error.to_string())
            .and_then(|request: Value| answer(&request, &zones, &mut rules));
        let answer = answer.unwrap_or_else(|what| json!({"error": what, "kind": "request"}));
        writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(|e| e.to_string())?;
    }
    Ok(true)
}

fn answer(request: &Value, zones: &Zones, rules: &mut Vec<Compiled>) -> Result<Value, String> {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let at = || request["at"].as_i64().ok_or("at is missing");
    let rule = || {
        let id = request["id"].as_u64().ok_or("id is missing")?;
        rules.get(id as usize).ok_or("no such rule")
    };
    match text("op") {
        "next" => Ok(json!({"at": rule()?.next(at()?)})),
        "previous" => Ok(json!({"at": rule()?.previous(at()?)})),
        "compile" => match compile(request, zones) {
            Ok(compiled) => {
                let answer = json!({"id": rules.len(), "fields": compiled.fields()});
                rules.push(compiled);
                Ok(answer)
            }
            Err(error) => Ok(refusal(&error)),
        },
        other => Err(format!("unknown op `{other}`")),
    }
}

fn refusal(error: &RuleError) -> Value {
    let kind = match error {
        RuleError::Syntax { .. } => "syntax",
        RuleError::NeverFires { .. } => "never",
        RuleError::TooLong { .. } => "long",
        _ => "zone",
    };
    json!({"error": error.to_string(), "kind": kind})
}

/// `Europe/Paris`, or seconds ahead of UTC.
pub fn zone_of(name: &str, zones: &Zones) -> Result<Arc<Zone>, RuleError> {
    match name.parse::<i32>() {
        Ok(seconds) => Ok(Zone::fixed(seconds)),
        Err(_) => Ok(zones.get(name)?),
    }
}

/// The choice's short name.
pub fn dst_of(name: &str) -> Dst {
    match name {
        "skip-twice" => Dst::SkipMissingRunRepeatedTwice,
        "run-once" => Dst::RunMissingAfterGapRunRepeatedOnce,
        "run-twice" => Dst::RunMissingAfterGapRunRepeatedTwice,
        _ => Dst::SkipMissingRunRepeatedOnce,
    }
}

fn compile(request: &Value, zones: &Zones) -> Result<Compiled, RuleError> {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let options = Options {
        zone: zone_of(text("zone"), zones)?,
        dst: dst_of(text("dst")),
        hash_seed: text("seed"),
    };
    let hashing = match request["croniter_hash_id"].as_array() {
        Some(bytes) => {
            let bytes = bytes.iter().map(|byte| byte.as_u64().unwrap_or_default() as u8);
            Hashing::croniter(&bytes.collect::<Vec<u8>>())
        }
        None => Hashing::Spread,
    };
    let dialect = match text("dialect") {
        "quartz" => Dialect::Quartz,
        "systemd" => Dialect::Systemd,
        _ => Dialect::Vixie,
    };
    let compile =
        |text: &str| Rule::compile_hashed(&When::Cron { text, dialect }, &options, hashing);
    let start = request["start"].as_i64().unwrap_or(0);
    if text("dialect") == "rrule" {
        let when = When::Rrule { text: text("text"), start };
        return Ok(Compiled::One(Rule::compile(&when, &options)?));
    }
    let words: Vec<&str> = text("text").split_ascii_whitespace().collect();
    if request["and"].as_bool() != Some(true) || words.len() < 5 {
        return Ok(Compiled::One(compile(text("text"))?));
    }
    // Seconds come first when there are more than five fields.
    let date = if words.len() > 5 { 3 } else { 2 };
    let with = |place: usize| {
        let mut words = words.clone();
        words[place] = "*";
        compile(&words.join(" "))
    };
    Ok(Compiled::Both(with(date + 2)?, with(date)?))
}
