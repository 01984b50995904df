//! Any text compiles or is refused, quickly; and what compiles is of one mind with itself.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::civil::LOCAL_END;
use crate::{Exclusions, Occurrences, split_zone};

/// Pieces of which texts of every form are made.
const PIECES: &[&str] = &[
    "*",
    "?",
    "/",
    "-",
    ",",
    "#",
    "L",
    "W",
    "LW",
    "H",
    "H(",
    ")",
    "0",
    "1",
    "5",
    "7",
    "15",
    "29",
    "31",
    "59",
    "60",
    "99999999999",
    " ",
    "\t",
    "MON",
    "fri",
    "JAN",
    "@",
    "@every ",
    "1h",
    "30m",
    "R/",
    "R5/",
    "2027-01-01",
    "T00:00:00Z",
    "PT1H",
    "P1D",
    "P1M",
    "/",
    "cron(",
    "rate(",
    "at(",
    "5 minutes",
    "..",
    "~",
    ":",
    "*-*-*",
    "00:00",
    "daily",
    "Mon..Fri",
    "UTC",
    "Europe/Paris",
    "TZ=",
    "é",
    "*/2",
    "0-23",
    "FREQ=",
    "DAILY",
    "SECONDLY",
    "YEARLY",
    ";",
    "INTERVAL=",
    "COUNT=",
    "UNTIL=",
    "BYDAY=",
    "2MO",
    "-1FR",
    "BYSETPOS=",
    "BYMONTH=",
    "BYHOUR=",
    "BYWEEKNO=",
    "BYYEARDAY=",
    "BYMONTHDAY=",
    "DTSTART:",
    "20270101T090000",
    "\n",
    "RRULE:",
    "EXDATE:",
    "RDATE:",
    "=",
    "366",
    "-366",
    "WKST=SU",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::collection::vec(proptest::sample::select(PIECES), 0..24)
            .prop_map(|pieces| pieces.concat()),
        ".{0,80}",
        proptest::collection::vec(proptest::sample::select(PIECES), 3..9)
            .prop_map(|pieces| pieces.join(" ")),
    ]
}

fn list(name: &'static str, least: i32, most: i32, back: bool) -> impl Strategy<Value = String> {
    let number = (least..=most, any::<bool>())
        .prop_map(move |(n, minus)| if back && minus { -n } else { n }.to_string());
    let values = proptest::collection::vec(number, 1..4);
    prop_oneof![
        3 => Just(String::new()),
        1 => values.prop_map(move |values| format!(";{name}={}", values.join(","))),
    ]
}

fn by_day() -> impl Strategy<Value = String> {
    let day = ("(SU|MO|TU|WE|TH|FR|SA)", -5i32..=5).prop_map(|(day, nth)| match nth {
        -1 | 1..=2 => format!("{nth}{day}"),
        _ => day,
    });
    let days = proptest::collection::vec(day, 1..4);
    prop_oneof![
        2 => Just(String::new()),
        1 => days.prop_map(|days| format!(";BYDAY={}", days.join(","))),
    ]
}

prop_compose! {
    /// A recurrence, mostly well formed.
    fn recurrence()(
        freq in "(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY|MINUTELY|SECONDLY)",
        interval in prop_oneof![3 => Just(1u32), 3 => 2u32..50, 1 => 50u32..100_000],
        end in "(|;COUNT=[1-9][0-9]{0,2}|;UNTIL=20(28|40)0101T000000Z)",
        day in by_day(),
        parts in (
            list("BYMONTH", 1, 12, false), list("BYMONTHDAY", 1, 31, true),
            list("BYYEARDAY", 1, 366, true), list("BYWEEKNO", 1, 53, true),
            list("BYHOUR", 0, 23, false), list("BYMINUTE", 0, 59, false),
            list("BYSECOND", 0, 59, false), list("BYSETPOS", 1, 10, true),
        ),
        week in "(|;WKST=SU)",
    ) -> String {
        let (a, b, c, d, e, f, g, h) = parts;
        format!("FREQ={freq};INTERVAL={interval}{end}{day}{a}{b}{c}{d}{e}{f}{g}{h}{week}")
    }
}

/// Next, previous, count and matches of a rule tell the same story between two moments.
fn is_of_one_mind(rule: &Rule, from: Seconds, to: Seconds) {
    let most = 300;
    let all: Vec<Seconds> = rule.iter_after(from).take_while(|at| *at <= to).take(most).collect();
    let whole = all.len() < most;
    let end = if whole { to } else { *all.last().unwrap() };
    assert_eq!(rule.count_between(from, end), all.len() as u64, "{rule:?} {from} {end}");
    let back = std::iter::successors(rule.previous_before(end + 1), |at| rule.previous_before(*at));
    let mut back: Vec<Seconds> = back.take_while(|at| *at > from).collect();
    back.reverse();
    assert_eq!(back, all, "{rule:?}");
    assert!(all.iter().all(|at| rule.matches(*at)));
    let strange = all.iter().map(|at| at + 1).filter(|at| all.binary_search(at).is_err());
    assert!({ strange }.all(|at| at > end || !rule.matches(at)), "{rule:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn any_text_is_answered_quickly(text in text(), at in any::<i64>()) {
        let options =
            Options { zone: zone("Europe/Paris"), dst: Dst::default(), hash_seed: "seed" };
        let began = Instant::now();
        let (_, rest) = split_zone(&text);
        let dialects = [Dialect::Vixie, Dialect::Quartz, Dialect::Systemd];
        let mut whens: Vec<When<'_>> =
            dialects.iter().flat_map(|dialect| {
                [When::Cron { text: &text, dialect: *dialect }, When::Cron { text: rest, dialect: *dialect }]
            }).collect();
        whens.push(When::Rrule { text: &text, start: at });
        whens.push(When::Every { seconds: at as u64, anchor: at });
        for when in whens {
            match Rule::compile(&when, &options) {
                Ok(rule) => {
                    let _ = (rule.next_after(at), rule.previous_before(at), rule.explain());
                    let _ = (rule.count_between(i64::MIN, at), rule.matches(at));
                    let _ = rule.zone_notes(0, at);
                }
                Err(RuleError::Syntax { at, .. }) => prop_assert!(at <= text.len()),
                Err(_) => {}
            }
        }
        let _ = Exclusions::parse(&text);
        prop_assert!(began.elapsed() < Duration::from_secs(30), "{:?} for {text}", began.elapsed());
    }

    #[test]
    fn recurrences_are_of_one_mind(
        text in recurrence(),
        start in 0..4_000_000_000i64,
        after in -100_000i64..100_000_000,
        zone_at in 0..model::ZONES.len(),
        dst in 0..4usize,
    ) {
        let options =
            Options { zone: zone(model::ZONES[zone_at]), dst: model::DSTS[dst], hash_seed: "" };
        if let Ok(rule) = Rule::compile(&When::Rrule { text: &text, start }, &options) {
            is_of_one_mind(&rule, start + after, start + after + 40_000_000);
        }
    }

    #[test]
    fn steps_and_occurrences_are_of_one_mind(
        text in "R[1-9]{0,2}/20[0-9]{2}-0[1-9]-(01|29|30|31)T0[0-9]:30:00/P([1-3]M)?([1-9]D)?(T[1-9]H)?",
        from in 900_000_000i64..5_000_000_000,
        zone_at in 0..model::ZONES.len(),
        dst in 0..4usize,
        yearly in "(0[1-9])-(0[1-9])",
    ) {
        let zone = zone(model::ZONES[zone_at]);
        let Ok(rule) = compile(&text, Dialect::Vixie, zone.clone(), model::DSTS[dst]) else {
            return Ok(());
        };
        is_of_one_mind(&rule, from, from + 90_000_000);
        let exclusions = Exclusions::parse(&format!("{yearly}\nRRULE:FREQ=MONTHLY;BYDAY=2TU")).unwrap();
        let all = Occurrences {
            rule: Arc::new(rule.clone()),
            start: Some(from + 1_000_000),
            end: Some(from + 80_000_000),
            exclusions: Arc::new(exclusions),
        };
        let expected: Vec<Seconds> = rule
            .iter_after(from + 999_999)
            .take_while(|at| *at <= from + 80_000_000)
            .filter(|at| !all.exclusions.excludes(&zone, *at))
            .collect();
        let found: Vec<Seconds> = all.iter_after(0).collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(all.count_between(0, LOCAL_END), expected.len() as u64);
        let back = std::iter::successors(all.previous_before(LOCAL_END), |at| all.previous_before(*at));
        let mut back: Vec<Seconds> = back.collect();
        back.reverse();
        prop_assert_eq!(&back, &expected);
    }
}
