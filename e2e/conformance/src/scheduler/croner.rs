//! Beside the crate croner, in process.

use croner::parser::CronParser;
use croner::{Cron, JobType};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use orrery_e2e_tests::random::Random;
use orrery_recurrence::{Dialect, Dst, Options, Rule, Seconds, When, Zone, Zones};

use super::compared::Compared;
use super::expression::{Expression, ZONES, moment};

/// Moments that are asked for each expression.
const MOMENTS: usize = 20;

pub const DAY_STARS: &str = "a day must match both day fields when one begins with a star (`*/2`), as for cron; the peer \
     takes either";

pub const SUNDAY_LAST: &str =
    "a range that ends with the name SUN ends on day 7 for croner, on day 0 for cron and for us";

/// Compares this many answers.
pub fn run(comparisons: u64, seed: u64) -> Compared {
    let mut compared = Compared::new("croner (crate)");
    let mut random = Random::new(seed);
    let zones = Zones::bundled();
    while compared.total() < comparisons {
        let expression = Expression::random(&mut random, true);
        let name = ZONES[random.below(ZONES.len())];
        let Ok(zone) = zones.get(name) else { continue };
        one(&mut compared, &mut random, &expression, &zone);
    }
    compared
}

/// The choice for changes of the clock that croner makes for an expression.
fn dst_of(cron: Option<&Cron>) -> Dst {
    match cron.map(Cron::determine_job_type) {
        Some(JobType::FixedTime) => Dst::RunMissingAfterGapRunRepeatedOnce,
        _ => Dst::SkipMissingRunRepeatedTwice,
    }
}

fn one(
    compared: &mut Compared,
    random: &mut Random,
    expression: &Expression,
    zone: &std::sync::Arc<Zone>,
) {
    let text = expression.text();
    let theirs = CronParser::new().parse(&text);
    let dst = dst_of(theirs.as_ref().ok());
    let compile = |text: &str| {
        let options = Options { zone: zone.clone(), dst, hash_seed: "" };
        Rule::compile(&When::Cron { text, dialect: Dialect::Vixie }, &options)
    };
    let ours = compile(&text);
    let alternative = |other: &Expression| {
        let other = other.text();
        (other != text).then(|| compile(&other).ok()).flatten()
    };
    let starless = alternative(&expression.without_day_stars());
    let sunday = expression.without_day_stars().weekday.replace("-SUN", "-7");
    let sunday = alternative(&Expression { weekday: sunday, ..expression.without_day_stars() });
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => {
            compared.agreed += 1;
            return;
        }
        (Err(_), Ok(_)) if starless.is_some() => {
            compared.explain(DAY_STARS);
            return;
        }
        (Err(error), Ok(theirs)) => {
            // What never fires is refused when it is compiled, not when it is asked.
            let start = Timestamp::from_second(1_577_836_800).unwrap_or_default();
            let start = start.to_zoned(TimeZone::UTC);
            match theirs.find_next_occurrence(&start, false) {
                Err(_) => compared.agreed += 1,
                Ok(at) if at.year() > 2199 => compared.agreed += 1,
                Ok(at) => compared.fail(|| format!("`{text}`: ours {error}, theirs {at}")),
            }
            return;
        }
        (Ok(_), Err(error)) => {
            compared.fail(|| format!("`{text}`: theirs {error}"));
            return;
        }
    };
    let clock = if zone.tzif().is_empty() {
        TimeZone::UTC
    } else {
        TimeZone::tzif(zone.name(), zone.tzif()).unwrap_or(TimeZone::UTC)
    };
    for _ in 0..MOMENTS {
        let at = moment(random, zone);
        let expected = next_of(&theirs, at, &clock);
        let found = ours.next_after(at);
        if found == expected {
            compared.agreed += 1;
        } else if starless.as_ref().is_some_and(|rule| rule.next_after(at) == expected) {
            compared.explain(DAY_STARS);
        } else if sunday.as_ref().is_some_and(|rule| rule.next_after(at) == expected) {
            compared.explain(SUNDAY_LAST);
        } else {
            let show = |at: Option<Seconds>| {
                at.and_then(|at| Timestamp::from_second(at).ok())
                    .map_or_else(|| "none".to_owned(), |at| at.to_zoned(clock.clone()).to_string())
            };
            compared.fail(|| {
                let at = show(Some(at));
                format!("`{text}` after {at}: ours {}, theirs {}", show(found), show(expected))
            });
        }
    }
}

/// The next occurrence, in the years that both know.
fn next_of(cron: &Cron, at: Seconds, zone: &TimeZone) -> Option<Seconds> {
    let at = Timestamp::from_second(at).ok()?.to_zoned(zone.clone());
    let next = cron.find_next_occurrence(&at, false).ok()?;
    (next.year() < 2200).then(|| next.timestamp().as_second())
}
