//! Rules against a model that looks at every minute around the changes of a zone's clock.
//!
//! The model knows nothing of bits or segments: it asks another library what the clock shows at
//! each minute, compares plain lists of numbers, and applies the rule for gaps and second passes
//! as it is worded.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::civil::LOCAL_END;

pub(crate) const ZONES: &[&str] = &[
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "America/St_Johns",
    "Asia/Kolkata",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Antarctica/Troll",
];

pub(crate) const DSTS: [Dst; 4] = [
    Dst::SkipMissingRunRepeatedOnce,
    Dst::SkipMissingRunRepeatedTwice,
    Dst::RunMissingAfterGapRunRepeatedOnce,
    Dst::RunMissingAfterGapRunRepeatedTwice,
];

/// Plain lists; an empty one is a star.
#[derive(Debug, Clone)]
struct Lists {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    dates: Vec<u32>,
    months: Vec<u32>,
    weekdays: Vec<u32>,
}

impl Lists {
    fn text(&self) -> String {
        let word = |list: &[u32]| {
            let numbers: Vec<String> = list.iter().map(u32::to_string).collect();
            if numbers.is_empty() { "*".to_owned() } else { numbers.join(",") }
        };
        let Self { minutes, hours, dates, months, weekdays } = self;
        [minutes, hours, dates, months, weekdays].map(|list| word(list)).join(" ")
    }

    fn has(&self, at: DateTime) -> bool {
        let named = |list: &[u32], value: i8| list.contains(&(value as u32));
        let holds = |list: &[u32], value: i8| list.is_empty() || named(list, value);
        let weekday = at.weekday().to_sunday_zero_offset();
        let day = if self.dates.is_empty() || self.weekdays.is_empty() {
            holds(&self.dates, at.day()) && holds(&self.weekdays, weekday)
        } else {
            named(&self.dates, at.day()) || named(&self.weekdays, weekday)
        };
        at.second() == 0
            && day
            && holds(&self.minutes, at.minute())
            && holds(&self.hours, at.hour())
            && holds(&self.months, at.month())
    }
}

/// Every instant of `from..to`, which are whole minutes.
fn model(lists: &Lists, zone: &TimeZone, dst: Dst, from: Seconds, to: Seconds) -> Vec<Seconds> {
    let local = |at: Seconds| Timestamp::from_second(at).unwrap().to_zoned(zone.clone()).datetime();
    let every_hour = lists.hours.is_empty();
    let mut found = Vec::new();
    for at in (from..to).step_by(60) {
        let now = local(at);
        let minute = jiff::Span::new().minutes(1);
        let mut runs = false;
        if lists.has(now) {
            let first = zone.to_ambiguous_timestamp(now).earlier().unwrap().as_second();
            runs = first == at || every_hour || dst.repeats();
        }
        // What the clock skipped just before.
        let mut skipped = local(at - 60).checked_add(minute).unwrap();
        while skipped < now {
            runs |= dst.makes_up() && !every_hour && lists.has(skipped);
            skipped = skipped.checked_add(minute).unwrap();
        }
        if runs {
            found.push(at);
        }
    }
    found
}

fn list(least: u32, most: u32, size: usize) -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        2 => Just(Vec::new()),
        3 => proptest::collection::vec(least..=most, 1..=size),
    ]
}

prop_compose! {
    fn lists()(
        minutes in list(0, 59, 4),
        hours in prop_oneof![list(0, 4, 3), list(0, 23, 6)],
        dates in list(1, 31, 12),
        months in list(1, 12, 8),
        weekdays in list(0, 6, 3),
    ) -> Lists {
        Lists { minutes, hours, dates, months, weekdays }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_rule_agrees_with_every_minute_around_a_change_of_the_clock(
        lists in lists(),
        zone_at in 0..ZONES.len(),
        dst in 0..4usize,
        change in any::<prop::sample::Index>(),
        before_minutes in 0i64..2000,
    ) {
        let zone = zone(ZONES[zone_at]);
        let dst = DSTS[dst];
        let changes = zone.segments();
        let middle = changes[change.index(changes.len())].start;
        // Zones changed by odd seconds only before 1972.
        let middle = if middle < 80_000_000 { 1_800_000_000 } else { middle };
        prop_assume!(middle % 60 == 0 && middle < LOCAL_END - 400_000);
        let from = middle - before_minutes * 60;
        let to = from + 3 * 86_400;
        let other = TimeZone::tzif("model", zone.tzif());
        let other = if zone.tzif().is_empty() { TimeZone::UTC } else { other.unwrap() };
        let expected = model(&lists, &other, dst, from, to);
        let Ok(rule) = compile(&lists.text(), Dialect::Vixie, zone, dst) else {
            prop_assert!(expected.is_empty());
            return Ok(());
        };
        let found: Vec<Seconds> = rule.iter_after(from - 1).take_while(|at| *at < to).collect();
        prop_assert_eq!(&found, &expected, "{} {:?}", lists.text(), dst);
        let mut backwards: Vec<Seconds> =
            std::iter::successors(rule.previous_before(to), |at| rule.previous_before(*at))
                .take_while(|at| *at >= from)
                .collect();
        backwards.reverse();
        prop_assert_eq!(&backwards, &expected, "backwards");
        prop_assert_eq!(rule.count_between(from - 1, to - 1), expected.len() as u64);
        for at in (from..to).step_by(300) {
            prop_assert_eq!(rule.matches(at), expected.binary_search(&at).is_ok(), "at {}", at);
        }
    }
}
