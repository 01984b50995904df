//! Beside the npm packages croner and cron-parser, installed into the cache when run.

use std::process::Command;
use std::sync::Arc;

use orrery_e2e_tests::cache;
use orrery_e2e_tests::random::Random;
use orrery_recurrence::{Dialect, Dst, Options, Rule, Seconds, When, Zone, Zones};
use serde_json::{Value, json};

use super::compared::Compared;
use super::croner::{DAY_STARS, SUNDAY_LAST};
use super::expression::{Expression, ZONES, moment};
use super::piped::Piped;

const PACKAGES: [&str; 2] = ["croner@11.0.1", "cron-parser@5.10.6"];
const SCRIPT: &str = include_str!("../../node/next.mjs");
const MOMENTS: usize = 20;

const DUPLICATES: &str = "cron-parser refuses a value that a list has twice";

const CHANGES: &str = "near a change of the clock cron-parser moves a run by the size of the gap, \
                       passes over a repeated hour, or finds nothing";

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Croner,
    CronParser,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Croner => "croner-js",
            Self::CronParser => "cron-parser",
        }
    }

    /// Its choice for changes of the clock.
    fn dst(self, expression: &Expression) -> Dst {
        match self {
            Self::Croner if expression.is_fixed() => Dst::RunMissingAfterGapRunRepeatedOnce,
            _ => Dst::SkipMissingRunRepeatedTwice,
        }
    }
}

/// Starts the script in a folder that has the packages.
pub fn start() -> Result<Piped, String> {
    let folder = cache::folder(&format!("cron-{}", PACKAGES.join("-")))?;
    if !folder.join("node_modules/cron-parser").is_dir() {
        eprintln!("obtaining {} with npm …", PACKAGES.join(" and "));
        let mut npm = Command::new("npm");
        npm.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--prefix", "."]);
        let output = npm.args(PACKAGES).output().map_err(|error| format!("npm: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    let script = folder.join("next.mjs");
    std::fs::write(&script, SCRIPT).map_err(|error| error.to_string())?;
    let mut node = Command::new("node");
    node.arg(script).current_dir(folder);
    Piped::start(node)
}

/// Compares this many answers.
pub fn run(peer: Peer, comparisons: u64, seed: u64) -> Result<Compared, String> {
    let mut compared = Compared::new(&format!("{} (npm)", peer.name()));
    let mut random = Random::new(seed);
    let zones = Zones::bundled();
    let mut script = start()?;
    let names = same_zones(&mut script, &zones)?;
    while compared.total() < comparisons {
        let expression = Expression::random(&mut random, peer == Peer::Croner);
        let name = names[random.below(names.len())];
        let zone = zones.get(name).map_err(|error| error.to_string())?;
        one(&mut compared, &mut random, &mut script, peer, &expression, &zone)?;
    }
    Ok(compared)
}

/// Whether the clock changes within a day of either answer, or on the way when it gave none.
fn near_change(zone: &Zone, at: Seconds, ours: Option<Seconds>, theirs: Option<Seconds>) -> bool {
    let Some(ours) = ours else { return false };
    let theirs_or_start = theirs.unwrap_or(at);
    let (from, to) =
        (ours.min(theirs_or_start) - 86_400, ours.min(theirs.unwrap_or(ours)) + 86_400);
    let mut days = (from..=to).step_by(3600);
    days.any(|day| zone.offset_at(day) != zone.offset_at(day - 3600))
}

/// Zones that the database of Node defines as ours does, by the offsets of every day.
fn same_zones(script: &mut Piped, zones: &Zones) -> Result<Vec<&'static str>, String> {
    let days: Vec<Seconds> = (0..19 * 366).map(|day| 1_577_836_800 + day * 86_400).collect();
    let mut same = Vec::new();
    for name in ZONES {
        let zone = zones.get(name).map_err(|error| error.to_string())?;
        let answer = script.ask(&json!({"peer": "offsets", "zone": name, "at": days}))?;
        let theirs = answer["next"].as_array().ok_or_else(|| answer.to_string())?;
        let ours = days.iter().map(|day| i64::from(zone.offset_at(*day)));
        if theirs.iter().map(Value::as_i64).eq(ours.map(Some)) {
            same.push(*name);
        } else {
            println!("{name}: not compared, the database of Node has another definition of it");
        }
    }
    Ok(same)
}

fn one(
    compared: &mut Compared,
    random: &mut Random,
    script: &mut Piped,
    peer: Peer,
    expression: &Expression,
    zone: &Arc<Zone>,
) -> Result<(), String> {
    let text = expression.text();
    let moments: Vec<Seconds> = (0..MOMENTS).map(|_| moment(random, zone)).collect();
    let request = json!({"peer": peer.name(), "text": text, "zone": zone.name(), "at": moments});
    let answer = script.ask(&request)?;
    let dst = peer.dst(expression);
    let compile = |expression: &Expression| {
        let options = Options { zone: zone.clone(), dst, hash_seed: "" };
        let text = expression.text();
        Rule::compile(&When::Cron { text: &text, dialect: Dialect::Vixie }, &options).ok()
    };
    let starless = expression.without_day_stars();
    let sunday = Expression { weekday: starless.weekday.replace("-SUN", "-7"), ..starless.clone() };
    let ours = compile(expression);
    let alternatives = [(DAY_STARS, compile(&starless)), (SUNDAY_LAST, compile(&sunday))];
    let Some(next) = answer["next"].as_array() else {
        match ours {
            None => compared.agreed += 1,
            Some(_) if answer["error"].as_str().is_some_and(|what| what.contains("duplicate")) => {
                compared.explain(DUPLICATES);
            }
            Some(_) => compared.fail(|| format!("`{text}`: theirs {}", answer["error"])),
        }
        return Ok(());
    };
    for (at, expected) in moments.into_iter().zip(next) {
        let expected = Value::as_i64(expected);
        let found = ours.as_ref().and_then(|rule| rule.next_after(at));
        if found == expected {
            compared.agreed += 1;
            continue;
        }
        let reason = alternatives
            .iter()
            .find(|(_, rule)| rule.as_ref().is_some_and(|rule| rule.next_after(at) == expected));
        match reason {
            Some((reason, _)) => compared.explain(reason),
            None if peer == Peer::CronParser
                && alternatives
                    .iter()
                    .map(|(_, rule)| rule.as_ref().and_then(|rule| rule.next_after(at)))
                    .chain([found])
                    .any(|ours| near_change(zone, at, ours, expected)) =>
            {
                compared.explain(CHANGES);
            }
            None => compared.fail(|| {
                let zone = zone.name();
                format!("`{text}` in {zone} after {at}: ours {found:?}, theirs {expected:?}")
            }),
        }
    }
    Ok(())
}
