//! Forms other than cron: OnCalendar, intervals, clouds, recurrences, calendars.

use super::*;
use crate::{CalendarSpec, Exclusions, Range};

fn systemd(text: &str) -> Rule {
    compile(text, Dialect::Systemd, Zone::utc(), Dst::default()).unwrap()
}

fn rrule(text: &str, start: &str) -> Rule {
    let options = Options { zone: Zone::utc(), dst: Dst::default(), hash_seed: "" };
    Rule::compile(&When::Rrule { text, start: utc(start) }, &options).unwrap()
}

#[test]
fn calendar_events_of_systemd_are_the_rules_they_name() {
    let same = [
        ("minutely", "* * * * *"),
        ("hourly", "0 * * * *"),
        ("daily", "0 0 * * *"),
        ("weekly", "0 0 * * 1"),
        ("monthly", "0 0 1 * *"),
        ("quarterly", "0 0 1 1,4,7,10 *"),
        ("semiannually", "0 0 1 1,7 *"),
        ("yearly", "0 0 1 1 *"),
        ("Mon..Fri *-*-* 07:00", "0 7 * * 1-5"),
        ("Sat,Sun 20:00", "0 20 * * 0,6"),
        ("*:0/15", "0/15 * * * *"),
        ("*-*-1..7 12:30:00", "30 12 1-7 * *"),
        ("*-02~01", "0 0 L 2 *"),
        ("*-*~1..3 04:00", "0 4 L,L-1,L-2 * *"),
        ("2027..2030-01-01", "0 0 0 1 1 * 2027-2030"),
        ("27-01-01", "0 0 0 1 1 * 2027"),
        ("05-01 08:00 UTC", "0 8 1 5 *"),
        ("mon, wednesday 9:00", "0 9 * * 1,3"),
        ("*:*:10/20", "10/20 * * * * *"),
    ];
    for (event, text) in same {
        let mut fields = cron(text);
        if let (crate::rule::Kind::Fields(a), crate::rule::Kind::Fields(b)) =
            (&mut fields.kind, &systemd(event).kind)
        {
            assert_eq!(a, b, "{event}");
        }
    }
    let last_monday = systemd("Mon *-05~07/1");
    assert_eq!(nexts(&last_monday, "2027-01-01T00:00:00", 1), ["2027-05-31T00:00:00"]);
    for wrong in [
        "Fri..Mon",
        "25:00",
        "*-*-* 12",
        "*-13-01",
        "12:00:00.5",
        "*/2-01-01",
        "Foo",
        "~1",
        "*:50/20",
    ] {
        let rule = compile(wrong, Dialect::Systemd, Zone::utc(), Dst::default());
        assert!(rule.is_err(), "{wrong}: {rule:?}");
    }
}

#[test]
fn the_zone_of_a_text_is_split_off_or_must_agree() {
    assert_eq!(crate::split_zone("daily Europe/Paris"), (Some("Europe/Paris"), "daily"));
    assert_eq!(crate::split_zone("Mon 12:00 UTC"), (Some("UTC"), "Mon 12:00"));
    assert_eq!(crate::split_zone("0 0 * * MON/2"), (None, "0 0 * * MON/2"));
    let text = "DTSTART;TZID=Europe/Paris:20270101T090000\nRRULE:FREQ=DAILY";
    assert_eq!(crate::split_zone(text), (Some("Europe/Paris"), text));
    let here = |zone| compile("daily Europe/Paris", Dialect::Systemd, zone, Dst::default());
    assert!(here(zone("Europe/Paris")).is_ok());
    assert!(matches!(here(Zone::utc()), Err(RuleError::Syntax { field: "zone", at: 6, .. })));
}

#[test]
fn intervals_of_iso_8601_are_elapsed_or_civil() {
    let paris = zone("Europe/Paris");
    let rule = |text: &str| compile(text, Dialect::Vixie, paris.clone(), Dst::default()).unwrap();
    let after = "2027-03-27T00:00:00";
    let elapsed = rule("R/2027-03-27T00:00:00Z/PT24H");
    assert_eq!(
        nexts(&elapsed, after, 2),
        ["2027-03-28T00:00:00", "2027-03-29T00:00:00"],
        "hours pass the same whatever the clock shows"
    );
    let civil = rule("R/2027-03-27T00:00:00Z/P1D");
    assert_eq!(nexts(&civil, after, 2), ["2027-03-28T00:00:00", "2027-03-28T23:00:00"]);
    let months = rule("R4/2027-01-31T08:00:00/P1M");
    assert_eq!(nexts(&months, "2027-01-01T00:00:00", 9).len(), 4);
    assert_eq!(nexts(&months, "2027-02-01T00:00:00", 1), ["2027-02-28T07:00:00"]);
    assert_eq!(nexts(&months, "2027-03-01T00:00:00", 1), ["2027-03-31T06:00:00"]);
    assert_eq!(months.count_between(0, i64::MAX), 4);
    let five = rule("R5/2027-01-01T00:00:00Z/PT1H");
    assert_eq!(five.previous_before(i64::MAX).map(show).unwrap(), "2027-01-01T04:00:00");
    let before = rule("R3/PT1H/2027-01-01T00:00:00Z");
    assert_eq!(nexts(&before, "2026-01-01T00:00:00", 9).len(), 3);
    for wrong in ["R/2027-01-01T00:00:00Z", "R5/PT0S", "Rx/2027-01-01/P1D", "R/2027-02-30/P1D"] {
        assert!(compile(wrong, Dialect::Vixie, paris.clone(), Dst::default()).is_err(), "{wrong}");
    }
}

#[test]
fn forms_of_clouds_are_read() {
    assert_eq!(cron("cron(0 10 * * ? *)"), cron("0 10 * * *"));
    assert_eq!(cron("cron(15 12 ? * 2-6 2027)"), cron("0 15 12 ? * MON-FRI 2027"));
    assert_eq!(cron("rate(5 minutes)"), cron("@every 5m"));
    assert_eq!(cron("rate(1 hour)"), cron("@every 1h"));
    let once = cron("at(2027-03-01T08:30:00)");
    assert_eq!(nexts(&once, "2027-01-01T00:00:00", 2), ["2027-03-01T08:30:00"]);
    assert_eq!(once.explain(), "once at 2027-03-01T08:30:00, UTC");
    // Asked for once, it happens once: here right after the gap that has it.
    let paris =
        compile("at(2027-03-28T02:30:00)", Dialect::Vixie, zone("Europe/Paris"), Dst::default());
    assert_eq!(nexts(&paris.unwrap(), "2027-01-01T00:00:00", 2), ["2027-03-28T01:00:00"]);
    let wrong = compile("cron(0 10 1 * 2 *)", Dialect::Vixie, Zone::utc(), Dst::default());
    assert!(matches!(wrong, Err(RuleError::Syntax { at: 14, .. })), "{wrong:?}");
    assert!(compile("rate(0 minutes)", Dialect::Vixie, Zone::utc(), Dst::default()).is_err());
}

#[test]
fn recurrences_of_rfc_5545_have_the_instances_it_lists() {
    // Examples of section 3.8.5.3, New York's local times read as UTC.
    let start = "1997-09-02T09:00:00";
    let days = |text: &str, n: usize| -> Vec<String> {
        let all = nexts(&rrule(text, start), "1997-09-01T00:00:00", n);
        all.into_iter().map(|at| at[5..10].to_owned()).collect()
    };
    assert_eq!(days("RRULE:FREQ=DAILY;COUNT=10", 20).len(), 10);
    assert_eq!(
        days("FREQ=DAILY;INTERVAL=10;COUNT=5", 9),
        ["09-02", "09-12", "09-22", "10-02", "10-12"]
    );
    let text = "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR";
    assert_eq!(days(text, 5), ["09-03", "09-05", "09-15", "09-17", "09-19"]);
    assert_eq!(days("FREQ=MONTHLY;COUNT=10;BYDAY=1FR", 3), ["09-05", "10-03", "11-07"]);
    let text = "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU";
    assert_eq!(days(text, 4), ["09-07", "09-28", "11-02", "11-30"]);
    assert_eq!(days("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", 3), ["09-22", "10-20", "11-17"]);
    assert_eq!(days("FREQ=MONTHLY;BYMONTHDAY=-3", 3), ["09-28", "10-29", "11-28"]);
    assert_eq!(days("FREQ=YEARLY;INTERVAL=3;BYYEARDAY=1,100,200", 3), ["01-01", "04-09", "07-18"]);
    assert_eq!(days("FREQ=YEARLY;BYDAY=20MO", 3), ["05-18", "05-17", "05-15"]);
    assert_eq!(days("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", 3), ["05-11", "05-17", "05-15"]);
    assert_eq!(days("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", 3), ["03-05", "03-12", "03-19"]);
    assert_eq!(days("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", 2), ["02-13", "03-13"]);
    let election = "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8";
    assert_eq!(days(election, 2), ["11-04", "11-06"]);
    assert_eq!(
        days("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", 9),
        ["09-04", "10-07", "11-06"]
    );
    let text = "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2";
    assert_eq!(days(text, 3), ["09-29", "10-30", "11-27"]);
    let hours = nexts(&rrule("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000Z", start), start, 9);
    assert_eq!(hours, ["1997-09-02T12:00:00", "1997-09-02T15:00:00"]);
    let minutes = nexts(&rrule("FREQ=MINUTELY;INTERVAL=90;COUNT=4", start), start, 9);
    assert_eq!(minutes.last().unwrap(), "1997-09-02T13:30:00");
    assert_eq!(
        days("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", 9),
        ["09-02", "09-07", "09-16", "09-21"]
    );
    assert_eq!(
        days("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", 9),
        ["09-02", "09-14", "09-16", "09-28"]
    );
}

#[test]
fn single_dates_are_added_and_taken_away() {
    let text = "DTSTART:20270101T090000\nRRULE:FREQ=DAILY;COUNT=5\n\
                EXDATE:20270102T090000,20270103T080000\nEXDATE;VALUE=DATE:20270104\n\
                RDATE:20270110T100000,20270101T090000";
    let rule = rrule(text, "1970-01-01T00:00:00");
    let days = nexts(&rule, "2026-01-01T00:00:00", 9);
    let expected = ["01T09", "03T09", "05T09", "10T10"].map(|at| format!("2027-01-{at}:00:00"));
    assert_eq!(days, expected);
    assert_eq!(rule.count_between(0, i64::MAX), 4);
    assert_eq!(rule.previous_before(utc("2027-01-05T09:00:00")), Some(utc("2027-01-03T09:00:00")));
}

#[test]
fn wrong_recurrences_say_where() {
    let place = |text: &str| {
        let options = Options { zone: Zone::utc(), dst: Dst::default(), hash_seed: "" };
        match Rule::compile(&When::Rrule { text, start: 0 }, &options) {
            Err(RuleError::Syntax { field, at, .. }) => (field, at),
            other => panic!("{text}: {other:?}"),
        }
    };
    assert_eq!(place("FREQ=FORTNIGHTLY"), ("FREQ", 5));
    assert_eq!(place("RRULE:FREQ=DAILY;BYHOUR=9,24"), ("BYHOUR", 26));
    assert_eq!(place("FREQ=DAILY;INTERVAL=0"), ("INTERVAL", 20));
    assert_eq!(place("FREQ=DAILY;BYDAY=2MO"), ("BYDAY", 0));
    assert_eq!(place("FREQ=DAILY;COUNT=1;UNTIL=20270101"), ("COUNT", 0));
    assert_eq!(place("INTERVAL=2"), ("FREQ", 0));
    assert_eq!(place("FREQ=DAILY;FREQ=DAILY"), ("RRULE", 11));
    assert_eq!(place("DTSTART;TZID=Europe/Paris:20270101T090000\nFREQ=DAILY"), ("TZID", 0));
    let never = |text: &str| {
        let options = Options { zone: Zone::utc(), dst: Dst::default(), hash_seed: "" };
        let rule = Rule::compile(&When::Rrule { text, start: 0 }, &options);
        assert!(matches!(rule, Err(RuleError::NeverFires { .. })), "{text}: {rule:?}");
    };
    never("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30");
    never("FREQ=SECONDLY;INTERVAL=2;BYSECOND=1,3,5,7,59");
    never("FREQ=SECONDLY;INTERVAL=7;BYDAY=MO;BYHOUR=0;BYMINUTE=0;BYSECOND=1");
    never("FREQ=HOURLY;INTERVAL=24;BYHOUR=5");
    never("FREQ=YEARLY;BYDAY=MO;BYSETPOS=366");
}

#[test]
fn calendars_are_united_without_counting_twice() {
    let range = |start, end| Range { start, end: Some(end), step: None };
    let one = |start| Range { start, end: None, step: None };
    let work = CalendarSpec {
        hour: vec![range(9, 17)],
        day_of_week: vec![range(1, 5)],
        ..CalendarSpec::default()
    };
    let first = CalendarSpec {
        hour: vec![one(12), one(20)],
        day_of_month: vec![one(1)],
        minute: vec![Range { start: 0, end: None, step: Some(30) }],
        ..CalendarSpec::default()
    };
    let options = Options { zone: Zone::utc(), dst: Dst::default(), hash_seed: "" };
    let united = |specs: &[CalendarSpec]| Rule::compile(&When::Calendar(specs), &options).unwrap();
    assert_eq!(united(std::slice::from_ref(&work)), cron("0 9-17 * * MON-FRI"));
    let both = united(&[work, first]);
    let (from, to) = (utc("2027-01-01T00:00:00") - 1, utc("2028-01-01T00:00:00"));
    let all: Vec<i64> = both.iter_after(from).take_while(|at| *at <= to).collect();
    let expected: std::collections::BTreeSet<i64> = cron("0 9-17 * * MON-FRI")
        .iter_after(from)
        .take_while(|at| *at <= to)
        .chain(cron("0,30 12,20 1 * *").iter_after(from).take_while(|at| *at <= to))
        .collect();
    assert_eq!(all, expected.iter().copied().collect::<Vec<i64>>());
    assert_eq!(both.count_between(from, to), expected.len() as u64);
    assert_eq!(both.previous_before(to), expected.range(..to).last().copied());
    let wrong = CalendarSpec { hour: vec![one(24)], ..CalendarSpec::default() };
    assert!(Rule::compile(&When::Calendar(&[wrong]), &options).is_err());
}

#[test]
fn recurring_holidays_are_excluded() {
    let text =
        "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH # thanksgiving\nRRULE:FREQ=WEEKLY;BYDAY=SA,SU";
    let exclusions = Exclusions::parse(text).unwrap();
    let excluded = |day: &str| exclusions.excludes(&Zone::utc(), utc(day));
    assert!(excluded("2027-11-25T12:00:00") && excluded("2027-11-27T00:00:00"));
    assert!(!excluded("2027-11-26T12:00:00") && !excluded("2027-11-18T12:00:00"));
    assert!(Exclusions::parse("RRULE:FREQ=HOURLY").is_err());
    assert!(matches!(
        Exclusions::parse("12-25\nRRULE:FREQ=X"),
        Err(RuleError::Syntax { field: "FREQ", at: 17, .. })
    ));
}

#[test]
fn recurrences_and_steps_are_told_in_words() {
    let told = |text: &str| rrule(text, "2027-01-04T09:00:00").explain();
    let from = "from 2027-01-04T09:00:00";
    assert_eq!(
        told("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE"),
        format!("every 2 weeks at 09:00 on Monday and Wednesday {from}, UTC")
    );
    assert_eq!(
        told("FREQ=MONTHLY;BYDAY=-2FR;BYSETPOS=1;UNTIL=20280101T000000Z"),
        format!(
            "every month at 09:00 on the 2nd last Friday of the month (of these number 1) {from} \
             until 2028-01-01T00:00:00, UTC"
        )
    );
    assert_eq!(told("FREQ=HOURLY;INTERVAL=5"), format!("every 5 hours {from}, UTC"));
    assert_eq!(
        told("FREQ=YEARLY;BYWEEKNO=20\nEXDATE:20270517T090000"),
        format!("every year at 09:00 in week 20 {from}, except at 2027-05-17T09:00:00, UTC")
    );
    assert_eq!(
        cron("R4/2027-01-31T08:00:00/P1M").explain(),
        "every month from 2027-01-31T08:00:00, 4 times, UTC"
    );
    assert_eq!(cron("rate(36 hours)").explain(), "every 1 day 12 hours");
}
