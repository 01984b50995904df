use super::*;

const PARIS_SPRING: &str = "2027-03-28T00:00:00";
const PARIS_AUTUMN: &str = "2027-10-31T00:00:00";

fn runs(text: &str, dst: Dst, zone_name: &str, after: &str, n: usize) -> Vec<String> {
    nexts(&compile(text, Dialect::Vixie, zone(zone_name), dst).unwrap(), after, n)
}

#[test]
fn a_run_at_half_past_two_follows_the_choice_on_both_change_days() {
    let spring = |dst| runs("30 2 * * *", dst, "Europe/Paris", PARIS_SPRING, 1).remove(0);
    let autumn = |dst| runs("30 2 * * *", dst, "Europe/Paris", PARIS_AUTUMN, 2);
    let (next_day, after_gap) = ("2027-03-29T00:30:00", "2027-03-28T01:00:00");
    let (first, second, day_after) =
        ("2027-10-31T00:30:00", "2027-10-31T01:30:00", "2027-11-01T01:30:00");
    assert_eq!(spring(Dst::SkipMissingRunRepeatedOnce), next_day);
    assert_eq!(spring(Dst::SkipMissingRunRepeatedTwice), next_day);
    assert_eq!(spring(Dst::RunMissingAfterGapRunRepeatedOnce), after_gap);
    assert_eq!(spring(Dst::RunMissingAfterGapRunRepeatedTwice), after_gap);
    assert_eq!(autumn(Dst::SkipMissingRunRepeatedOnce), [first, day_after]);
    assert_eq!(autumn(Dst::SkipMissingRunRepeatedTwice), [first, second]);
    assert_eq!(autumn(Dst::RunMissingAfterGapRunRepeatedOnce), [first, day_after]);
    assert_eq!(autumn(Dst::RunMissingAfterGapRunRepeatedTwice), [first, second]);
}

#[test]
fn several_missing_runs_become_one_that_is_not_doubled() {
    let makes_up = Dst::RunMissingAfterGapRunRepeatedOnce;
    let found = runs("0,20,40 2,3 * * *", makes_up, "Europe/Paris", PARIS_SPRING, 3);
    // 02:00, 02:20 and 02:40 are gone; 03:00 runs by itself at the same instant.
    assert_eq!(found, ["2027-03-28T01:00:00", "2027-03-28T01:20:00", "2027-03-28T01:40:00"]);
}

#[test]
fn rules_of_every_hour_have_no_hole_and_no_doubles() {
    for dst in model::DSTS {
        let rule = compile("*/5 * * * *", Dialect::Vixie, zone("Europe/Paris"), dst).unwrap();
        for day in [PARIS_SPRING, PARIS_AUTUMN] {
            let from = utc(day) - 1;
            let steps: Vec<i64> = rule.iter_after(from).take(60).collect();
            assert!(steps.windows(2).all(|pair| pair[1] - pair[0] == 300), "{dst:?}");
        }
    }
}

#[test]
fn odd_changes_of_the_clock_are_right() {
    let skip = Dst::default();
    // Lord Howe moves by half an hour: 02:00 becomes 02:30 on 2027-10-03.
    let found = runs("15 2 * * *", skip, "Australia/Lord_Howe", "2027-10-02T00:00:00", 2);
    assert_eq!(found, ["2027-10-03T15:15:00", "2027-10-04T15:15:00"]);
    let makes_up = Dst::RunMissingAfterGapRunRepeatedOnce;
    let found = runs("15 2 * * *", makes_up, "Australia/Lord_Howe", "2027-10-02T00:00:00", 1);
    assert_eq!(found, ["2027-10-02T15:30:00"]);
    // Samoa had no 2011-12-30.
    let found = runs("0 12 30 12 *", skip, "Pacific/Apia", "2011-01-01T00:00:00", 1);
    assert_eq!(found, ["2012-12-29T22:00:00"]);
    let found = runs("0 12 30 12 *", makes_up, "Pacific/Apia", "2011-01-01T00:00:00", 1);
    assert_eq!(found, ["2011-12-30T10:00:00"]);
    // Dublin calls its winter time the exception; the runs do not care.
    let found = runs("30 1 * * *", skip, "Europe/Dublin", "2027-03-28T00:00:00", 1);
    assert_eq!(found, ["2027-03-29T00:30:00"]);
}

#[test]
fn zones_are_found_in_any_case_and_by_old_names() {
    let zones = Zones::bundled();
    assert_eq!(zones.get("europe/paris").unwrap().name(), "Europe/Paris");
    assert_eq!(zones.get("US/Eastern").unwrap().offset_at(utc("2027-07-01T00:00:00")), -4 * 3600);
    assert!(Arc::ptr_eq(&zones.get("utc").unwrap(), &Zone::utc()));
    assert_ne!(zones.version(), "unknown");
    let nearest = |name: &str| match zones.get(name) {
        Err(crate::ZoneError::Unknown { nearest, .. }) => nearest,
        other => panic!("{other:?}"),
    };
    assert_eq!(nearest("Europe/Pariss").as_deref(), Some("Europe/Paris"));
    assert_eq!(nearest("Amsterdam").as_deref(), Some("Europe/Amsterdam"));
    assert_eq!(nearest("../../etc/passwd"), None);
    assert_eq!(nearest(""), None);
    let message = zones.get("Europe/Pariss").unwrap_err().to_string();
    assert_eq!(message, "unknown time zone `Europe/Pariss`; did you mean `Europe/Paris`?");
    assert!(matches!(Zone::from_tzif("x", b"TZif"), Err(crate::ZoneError::Malformed { .. })));
    assert_eq!(Zone::fixed(-19_800).name(), "-05:30");
}

#[test]
fn a_folder_is_read_and_the_bundled_database_fills_its_holes() {
    let folder = std::env::temp_dir().join(format!("orrery-recurrence-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("Europe")).unwrap();
    // Tokyo's definition under the name of Paris shows which one was read.
    std::fs::write(folder.join("Europe/Paris"), zone("Asia/Tokyo").tzif()).unwrap();
    std::fs::write(folder.join("+VERSION"), "2099z\n").unwrap();
    let zones = Zones::folder(&folder);
    assert_eq!(zones.get("EUROPE/PARIS").unwrap().offset_at(0), 9 * 3600);
    assert_eq!(zones.get("Europe/Berlin").unwrap().offset_at(0), 3600);
    assert_eq!(zones.version(), "2099z");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_newer_definition_moves_the_runs() {
    let rule = compile("0 7 * * *", Dialect::Vixie, zone("Europe/Paris"), Dst::default()).unwrap();
    let moved = rule.rezone(zone("Asia/Tokyo"));
    assert_eq!(nexts(&moved, "2027-01-01T00:00:00", 1), ["2027-01-01T22:00:00"]);
    assert_ne!(moved, rule);
}

#[test]
fn notes_say_what_a_change_of_the_clock_does_to_a_run() {
    use crate::{ZoneChange, ZoneNote};
    let notes = |text: &str, dst| {
        let rule = compile(text, Dialect::Vixie, zone("Europe/Paris"), dst).unwrap();
        rule.zone_notes(utc("2027-01-01T00:00:00"), utc("2028-01-01T00:00:00"))
    };
    let note =
        |at: &str, kind, local: &str| ZoneNote { at: utc(at), kind, local: local.to_owned() };
    let (gap, first_pass) = ("2027-03-28T01:00:00", "2027-10-31T00:30:00");
    let (spring, autumn) = ("2027-03-28T02:30:00", "2027-10-31T02:30:00");
    assert_eq!(
        notes("30 2 * * *", Dst::default()),
        [note(gap, ZoneChange::Skipped, spring), note(first_pass, ZoneChange::RunOnce, autumn)]
    );
    assert_eq!(
        notes("30 2 * * *", Dst::RunMissingAfterGapRunRepeatedTwice),
        [
            note(gap, ZoneChange::MovedTo(utc(gap)), spring),
            note(first_pass, ZoneChange::RunTwice, autumn)
        ]
    );
    assert_eq!(notes("0 4 * * *", Dst::default()), []);
    assert_eq!(notes("*/5 * * * *", Dst::default()), []);
}

#[test]
fn two_zones_differ_first_where_their_clocks_do() {
    let (paris, berlin) = (zone("Europe/Paris"), zone("Europe/Berlin"));
    let now = utc("2027-01-01T00:00:00");
    assert_eq!(paris.first_difference(&berlin, now), None);
    assert_eq!(paris.first_difference(&zone("Europe/London"), now), Some(now));
    // Lagos has the time of Paris without its summers.
    let lagos = zone("Africa/Lagos");
    let summer = Some(utc("2027-03-28T01:00:00"));
    assert_eq!(paris.first_difference(&lagos, now), summer);
    assert_eq!(lagos.first_difference(&paris, now), summer);
}
