//! iCalendar text, read back as a recurrence.

use super::*;
use crate::{Exclusions, Occurrences, ical};

fn occurrences(rule: Rule, exclusions: &str) -> Occurrences {
    let exclusions = Arc::new(Exclusions::parse(exclusions).unwrap());
    Occurrences { rule: Arc::new(rule), start: None, end: None, exclusions }
}

/// The lines of an event, unfolded.
fn lines(occurrences: &Occurrences) -> Vec<String> {
    let event = ical::Event {
        uid: "billing@orrery",
        summary: "billing; all, of it",
        occurrences,
        now: utc("2027-01-01T00:00:00"),
        instances: 5,
    };
    let text = ical::calendar(&[event]);
    assert!(text.lines().all(|line| line.len() <= 75), "{text}");
    assert!(text.ends_with("END:VCALENDAR\r\n"));
    text.replace("\r\n ", "").lines().map(str::to_owned).collect()
}

#[test]
fn a_rule_that_an_rrule_can_say_is_one() {
    let texts =
        ["0 7 * * MON-FRI", "*/5 * * * *", "0 0 L * *", "30 12 * 5 TUE#2,FRIL", "@every 90m"];
    for text in texts {
        let rule = cron(text);
        let all = lines(&occurrences(rule.clone(), ""));
        let found = |name: &str| all.iter().find(|line| line.starts_with(name)).unwrap().clone();
        let read = format!("{}\n{}", found("DTSTART"), found("RRULE"));
        let options = Options { zone: Zone::utc(), dst: Dst::default(), hash_seed: "" };
        let back = Rule::compile(&When::Rrule { text: &read, start: 0 }, &options).unwrap();
        let after = "2027-01-01T00:00:00";
        assert_eq!(nexts(&back, after, 400), nexts(&rule, after, 400), "{text}: {read}");
    }
    let all = lines(&occurrences(cron("0 7 * * *"), ""));
    assert!(all.contains(&"SUMMARY:billing\\; all\\, of it".to_owned()));
}

#[test]
fn what_an_rrule_cannot_say_is_a_list() {
    let list = |occurrences: &Occurrences| {
        let all = lines(occurrences);
        assert!(!all.iter().any(|line| line.starts_with("RRULE")), "{all:?}");
        all.iter().find(|line| line.starts_with("RDATE")).unwrap().split(',').count()
    };
    // Four more beside DTSTART.
    assert_eq!(list(&occurrences(cron("0 0 13 * FRI"), "")), 4);
    assert_eq!(list(&occurrences(cron("0 0 15W * *"), "")), 4);
    assert_eq!(list(&occurrences(cron("0 7 * * *"), "12-25")), 4);
    // In the hour that the clock skips, the choice for it matters.
    let paris = zone("Europe/Paris");
    let night = compile("30 2 * * *", Dialect::Vixie, paris.clone(), Dst::default()).unwrap();
    assert_eq!(list(&occurrences(night, "")), 4);
    let day = compile("0 7 * * *", Dialect::Vixie, paris, Dst::default()).unwrap();
    let all = lines(&occurrences(day, ""));
    assert!(all.contains(&"DTSTART;TZID=Europe/Paris:20270101T070000".to_owned()), "{all:?}");
    assert!(all.contains(&"RRULE:FREQ=DAILY;BYHOUR=7;BYMINUTE=0;BYSECOND=0".to_owned()));
}
