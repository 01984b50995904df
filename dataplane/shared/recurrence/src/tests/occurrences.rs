use super::*;
use crate::{Exclusions, Occurrences};

fn occurrences(rule: Rule, exclusions: &str) -> Occurrences {
    let exclusions = Arc::new(Exclusions::parse(exclusions).unwrap());
    Occurrences { rule: Arc::new(rule), start: None, end: None, exclusions }
}

#[test]
fn excluded_days_are_passed_over() {
    let paris = zone("Europe/Paris");
    let rule = compile("0 7 * * *", Dialect::Vixie, paris, Dst::default()).unwrap();
    let holidays = "# France\n12-25 # every year\n2027-12-24\n\n2027-12-26..2027-12-28\n";
    let all = occurrences(rule, holidays);
    let after = utc("2027-12-23T06:00:00");
    assert_eq!(all.next_after(after).map(show).unwrap(), "2027-12-29T06:00:00");
    assert_eq!(all.previous_before(utc("2027-12-29T06:00:00")), Some(after));
    assert_eq!(all.count_between(after, utc("2027-12-31T06:00:00")), 3);
    assert!(!all.matches(utc("2028-12-25T06:00:00")));
    assert!(all.matches(utc("2028-12-24T06:00:00")));
}

#[test]
fn start_and_end_are_part_of_it() {
    let mut all = occurrences(cron("0 * * * *"), "");
    all.start = Some(utc("2027-01-01T05:00:00"));
    all.end = Some(utc("2027-01-01T07:00:00"));
    let hours: Vec<String> = all.iter_after(i64::MIN).map(show).collect();
    assert_eq!(hours, ["2027-01-01T05:00:00", "2027-01-01T06:00:00", "2027-01-01T07:00:00"]);
    assert_eq!(all.previous_before(i64::MAX).map(show).unwrap(), "2027-01-01T07:00:00");
    assert_eq!(all.previous_before(utc("2027-01-01T05:00:00")), None);
    assert_eq!(all.count_between(i64::MIN, i64::MAX), 3);
}

#[test]
fn a_calendar_of_nothing_but_holidays_ends_the_search() {
    let days: String = (1..=12).flat_map(|m| (1..=31).map(move |d| (m, d))).fold(
        String::new(),
        |text, (month, day)| {
            let real = crate::civil::Date::checked(2000, month, day).is_some();
            if real { format!("{text}{month:02}-{day:02}\n") } else { text }
        },
    );
    let all = occurrences(cron("* * * * *"), &days);
    assert_eq!(all.next_after(0), None);
    assert_eq!(all.previous_before(i64::MAX), None);
    assert_eq!(all.count_between(0, i64::MAX), 0);
}

#[test]
fn wrong_lines_say_where() {
    let place = |text: &str| match Exclusions::parse(text) {
        Err(RuleError::Syntax { at, .. }) => at,
        other => panic!("{other:?}"),
    };
    assert_eq!(place("2027-12-25\n  2027-02-30\n"), 13);
    assert_eq!(place("13-01"), 0);
    assert_eq!(place("2027-12-25..2027-12-01"), 12);
    assert_eq!(place("christmas"), 0);
}

#[test]
fn merged_lists_exclude_what_any_of_them_does() {
    let a = Exclusions::parse("2027-01-01..2027-01-05").unwrap();
    let b = Exclusions::parse("2027-01-04..2027-01-09\n05-01").unwrap();
    let both = Exclusions::merged(&[&a, &b]);
    let excluded = |day: &str| both.excludes(&Zone::utc(), utc(day));
    assert!(excluded("2027-01-01T00:00:00") && excluded("2027-01-09T23:59:59"));
    assert!(!excluded("2027-01-10T00:00:00") && excluded("2030-05-01T12:00:00"));
    assert!(Exclusions::none().is_empty() && !both.is_empty());
}

#[test]
fn a_range_of_many_years_is_one_step() {
    let all = occurrences(cron("0 12 * * *"), "2000-01-01..2150-12-31\n01-01");
    let after = utc("2027-01-01T00:00:00");
    assert_eq!(all.next_after(after).map(show).unwrap(), "2151-01-02T12:00:00");
    assert_eq!(all.previous_before(after).map(show).unwrap(), "1999-12-31T12:00:00");
    assert_eq!(all.count_between(after, utc("2151-01-03T00:00:00")), 1);
}
