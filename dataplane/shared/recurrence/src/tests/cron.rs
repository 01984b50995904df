use super::*;

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
