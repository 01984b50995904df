use super::*;

fn refused(text: &str) -> (&'static str, usize) {
    match compile(text, Dialect::Vixie, Zone::utc(), Dst::default()) {
        Err(RuleError::Syntax { field, at, .. }) => (field, at),
        other => panic!("{text}: {other:?}"),
    }
}

fn quartz(text: &str) -> Result<Rule, RuleError> {
    compile(text, Dialect::Quartz, Zone::utc(), Dst::default())
}

#[test]
fn the_next_instant_is_strictly_after() {
    let rule = cron("*/15 9-17 * * MON-FRI");
    assert_eq!(
        nexts(&rule, "2027-01-01T17:30:00", 3),
        ["2027-01-01T17:45:00", "2027-01-04T09:00:00", "2027-01-04T09:15:00"]
    );
    assert_eq!(rule.previous_before(utc("2027-01-04T09:00:00")), Some(utc("2027-01-01T17:45:00")));
    assert!(rule.matches(utc("2027-01-04T09:00:00")) && !rule.matches(utc("2027-01-04T09:00:01")));
    assert_eq!(rule.count_between(utc("2027-01-04T09:00:00"), utc("2027-01-05T09:00:00")), 36);
}

#[test]
fn equal_meanings_are_equal_rules() {
    let same = [
        ("0 0 * * 0", "0 0 * * 7"),
        ("0 0 * * SUN", "@weekly"),
        ("0 0 1 1 *", "@yearly"),
        ("0 0 0 1 1 *", "@annually"),
        ("0 * * * *", "@hourly"),
        ("0 0 * * *", "@midnight"),
        ("0 0 * * fri-mon", "0 0 * * 0,1,5,6"),
        ("0 22-2 * * *", "0 22,23,0,1,2 * * *"),
        ("0 22-2/2 * * *", "0 22,0,2 * * *"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("0 0 ? * MON", "0 0 * * 1"),
        ("0 0 * * 5L", "0\t 0  * * FRIL"),
        ("0 0 * * L5", "0 0 * * 5l"),
        ("0 0 1-31 * 1", "0 0 * * *"),
        ("0 0 0 * * * 1970-2199", "0 0 * * *"),
        ("0 0 * nov-feb *", "0 0 * 1,2,11,12 *"),
        ("0 0 * * 7/2", "0 0 * * 0,2,4,6"),
        ("0 0 * * MON-FRI#1", "0 0 * * 1#1,2#1,3#1,4#1,5#1"),
    ];
    for (a, b) in same {
        assert_eq!(cron(a), cron(b), "{a} and {b}");
    }
    assert_ne!(cron("0 0-23 * * *"), cron("0 * * * *"), "one of them counts by the clock");
}

#[test]
fn days_of_both_kinds_are_joined_as_cron_does() {
    let either = cron("0 0 13 * FRI");
    let firsts = nexts(&either, "2027-01-01T00:00:00", 3);
    assert_eq!(firsts, ["2027-01-08T00:00:00", "2027-01-13T00:00:00", "2027-01-15T00:00:00"]);
    // A field that begins with a star restricts in its own right.
    let both = cron("0 0 */13 * FRI");
    assert_eq!(nexts(&both, "2027-01-02T00:00:00", 1), ["2027-05-14T00:00:00"]);
}

#[test]
fn moving_days_are_found() {
    let first = |text: &str, after: &str| nexts(&cron(text), after, 1).remove(0);
    assert_eq!(first("0 0 L * *", "2028-02-01T00:00:00"), "2028-02-29T00:00:00");
    assert_eq!(first("0 0 L-3 * *", "2027-02-01T00:00:00"), "2027-02-25T00:00:00");
    assert_eq!(first("0 0 LW * *", "2027-02-01T00:00:00"), "2027-02-26T00:00:00");
    assert_eq!(first("0 0 1W * *", "2027-04-30T00:00:00"), "2027-05-03T00:00:00");
    assert_eq!(first("0 0 15W 8 *", "2027-01-01T00:00:00"), "2027-08-16T00:00:00");
    assert_eq!(first("0 0 31W * *", "2027-10-01T00:00:00"), "2027-10-29T00:00:00");
    assert_eq!(first("0 0 * * 5L", "2027-01-01T00:00:00"), "2027-01-29T00:00:00");
    assert_eq!(first("0 0 * * 2#5", "2027-01-01T00:00:00"), "2027-03-30T00:00:00");
    assert_eq!(first("0 0 * * MON#1,FRI#2", "2027-01-04T00:00:00"), "2027-01-08T00:00:00");
    assert_eq!(first("0 0 29 2 *", "2027-01-01T00:00:00"), "2028-02-29T00:00:00");
    assert_eq!(first("0 0 29 2 *", "2096-03-01T00:00:00"), "2104-02-29T00:00:00");
}

#[test]
fn hashed_fields_stay_in_their_ranges_and_never_move() {
    let text = |text: &str| cron(text).explain();
    // Whoever must change these moves every hashed schedule of every user.
    assert_eq!(text("H H * * *"), "at 05:21 every day, UTC");
    assert_eq!(text("H(0-9) 7 * * *"), "at 07:03 every day, UTC");
    assert_eq!(text("H/15 * * * *"), "at every 15th minute from minute 5 of every hour, UTC");
    assert_eq!(text("H(0-29)/10 7 * * *"), "at 07:03, 07:13 and 07:23 every day, UTC");
}

#[test]
fn dates_that_do_not_exist_never_fire() {
    for text in ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 29 2 * 2027"] {
        let rule = compile(text, Dialect::Vixie, Zone::utc(), Dst::default());
        assert!(matches!(rule, Err(RuleError::NeverFires { .. })), "{text}: {rule:?}");
    }
    let gone = cron("0 0 0 1 1 * 2001");
    assert_eq!(gone.next_after(utc("2027-01-01T00:00:00")), None);
    assert_eq!(gone.previous_before(i64::MAX), Some(utc("2001-01-01T00:00:00")));
    assert_eq!(gone.next_after(i64::MIN), Some(utc("2001-01-01T00:00:00")));
    assert_eq!(gone.count_between(i64::MIN, i64::MAX), 1);
}

#[test]
fn wrong_texts_say_where() {
    assert_eq!(refused(""), ("text", 0));
    assert_eq!(refused(" \t "), ("text", 0));
    assert_eq!(refused("* * * *"), ("text", 7));
    assert_eq!(refused("60 * * * *"), ("minute", 0));
    assert_eq!(refused("0 5,24 * * *"), ("hour", 4));
    assert_eq!(refused("*/0 * * * *"), ("minute", 2));
    assert_eq!(refused("0 0 0 * *"), ("day of month", 4));
    assert_eq!(refused("0 0 * FOO *"), ("month", 6));
    assert_eq!(refused("0 0 * * MON#6"), ("day of week", 12));
    assert_eq!(refused("0 0 * * 8"), ("day of week", 8));
    assert_eq!(refused("0 0 * * MONX"), ("day of week", 8));
    assert_eq!(refused("1,,2 * * * *"), ("minute", 2));
    assert_eq!(refused("1, * * * *"), ("minute", 2));
    assert_eq!(refused("99999999999 * * * *"), ("minute", 0));
    assert_eq!(refused("0 0 * * é"), ("text", 8));
    assert_eq!(refused("TZ=Europe/Paris 0 0 * * *"), ("zone", 0));
    assert_eq!(refused("@reboot"), ("nickname", 0));
    assert_eq!(refused("@every 5"), ("interval", 8));
    assert_eq!(refused("@every 1h0x"), ("interval", 10));
    assert_eq!(refused("0 0 0 * * * 2200"), ("year", 12));
    let long = format!("0 0 * * {}", "1,".repeat(5000));
    let rule = compile(&long, Dialect::Vixie, Zone::utc(), Dst::default());
    assert!(matches!(rule, Err(RuleError::TooLong { bytes: 10_008, .. })));
}

#[test]
fn quartz_counts_weekdays_from_sunday_as_1() {
    assert_eq!(quartz("0 0 0 ? * 1").unwrap(), cron("0 0 * * SUN"));
    assert_eq!(quartz("0 0 0 ? * 6L").unwrap(), cron("0 0 * * FRIL"));
    assert_eq!(quartz("0 0 0 ? * L").unwrap(), cron("0 0 * * SAT"));
    assert_eq!(quartz("0 0 0 ? * 6-2").unwrap(), cron("0 0 * * FRI-MON"));
    assert_eq!(quartz("0 0/5 14,18 * * ?").unwrap(), cron("0/5 14,18 * * *"));
    assert_eq!(quartz("0 15 10 ? * 6#3 2027").unwrap(), cron("0 15 10 ? * FRI#3 2027"));
    assert_eq!(quartz("0 0 0 * * *").unwrap(), cron("0 0 * * *"));
    let wrong = [("0 0 0 ? * ?", 10), ("0 0 0 1 * 2", 10), ("0 ? 0 1 * ?", 2), ("0 0 0 ? * 0", 10)];
    for (text, place) in wrong {
        let Err(RuleError::Syntax { at, .. }) = quartz(text) else { panic!("{text}") };
        assert_eq!(at, place, "{text}");
    }
}

#[test]
fn elapsed_time_ignores_the_clock() {
    let zone = zone("Europe/Paris");
    let rule = compile("@every 1h30m", Dialect::Vixie, zone.clone(), Dst::default()).unwrap();
    let start = utc("2027-03-27T22:30:00");
    let steps: Vec<i64> = rule.iter_after(start).take(5).map(|at| at - start).collect();
    assert_eq!(steps, [5400, 10_800, 16_200, 21_600, 27_000]);
    let options = Options { zone, dst: Dst::default(), hash_seed: "" };
    let every = Rule::compile(&When::Every { seconds: 10, anchor: 3 }, &options).unwrap();
    assert_eq!(every.next_after(3), Some(13));
    assert_eq!(every.previous_before(13), Some(3));
    assert_eq!(every.count_between(3, 1003), 100);
    let at = Rule::compile(&When::At(77), &options).unwrap();
    assert_eq!((at.next_after(76), at.next_after(77)), (Some(77), None));
    assert!(Rule::compile(&When::Every { seconds: 0, anchor: 0 }, &options).is_err());
    assert!(Rule::compile(&When::At(i64::MAX), &options).is_err());
}

#[test]
fn a_zone_prefix_is_split_off() {
    assert_eq!(split("CRON_TZ=Europe/Paris 0 7 * * *"), (Some("Europe/Paris"), "0 7 * * *"));
    assert_eq!(split(" TZ=UTC\t@daily"), (Some("UTC"), "@daily"));
    assert_eq!(split("0 7 * * *"), (None, "0 7 * * *"));
}

fn split(text: &str) -> (Option<&str>, &str) {
    crate::split_zone(text)
}

#[test]
fn rules_are_told_in_words() {
    let paris = zone("Europe/Paris");
    let told = |text: &str| {
        compile(text, Dialect::Vixie, paris.clone(), Dst::default()).unwrap().explain()
    };
    assert_eq!(told("0 7 * * MON-FRI"), "at 07:00 on Monday to Friday, Paris time");
    assert_eq!(told("*/5 * * * *"), "every 5 minutes, Paris time");
    assert_eq!(told("0 0 13 * FRI"), "at 00:00 on the 13th or on Friday, Paris time");
    assert_eq!(told("0 0 */13 * 5"), {
        "at 00:00 on every 13th day from the 1st if that is Friday, Paris time"
    });
    assert_eq!(told("*/15 9-17 * * *"), "every 15 minutes from 09:00 to 17:59, Paris time");
    assert_eq!(told("30 0 L,15 2 *"), {
        "at 00:30 on the 15th and the last day in February, Paris time"
    });
    assert_eq!(told("@every 90s"), "every 1 minute 30 seconds");
    assert_eq!(told("0 0 * * 5L"), "at 00:00 on the last Friday, Paris time");
}
