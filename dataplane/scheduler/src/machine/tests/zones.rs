//! Time zones whose rules change while jobs are under them.

use serde_json::json;

use super::life::{Life, START};
use crate::machine::Pause;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Noon in Paris on the day that begins two hours behind the start, and is in summer time.
const NOON: i64 = START + 12 * HOUR;

fn next(life: &Life, name: &str) -> i64 {
    life.state.named(name).unwrap().next
}

#[test]
fn jobs_go_over_to_new_rules_at_once_and_the_proof_knows_when() {
    let mut life = Life::new();
    let noon = json!({"when": {"cron": "0 12 * * *", "timeZone": "Europe/Paris"}});
    life.put("noon", noon.clone());
    life.put("hashed", json!({"when": {"cron": "H 12 * * *", "timeZone": "Europe/Paris"}}));
    life.put("paused", noon.clone());
    life.put("elsewhere", json!({"when": {"cron": "0 12 * * *", "timeZone": "Asia/Tokyo"}}));
    let id = life.state.named("paused").unwrap().id;
    life.turn(|turn| turn.pause(id, Pause::Asked).unwrap());
    life.pass(DAY);
    assert_eq!(life.launches("noon"), [NOON]);
    let (hashed, elsewhere) = (next(&life, "hashed"), next(&life, "elsewhere"));
    assert!(life.new_rules("Europe/Paris", "Europe/London"));
    assert!(!life.new_rules("Europe/Paris", "Europe/London"), "once");
    assert_eq!(next(&life, "noon"), NOON + DAY + HOUR, "noon comes an hour later there");
    assert_eq!((next(&life, "hashed"), next(&life, "elsewhere")), (hashed + HOUR, elsewhere));
    life.turn(|turn| turn.pause(id, Pause::None).unwrap());
    assert_eq!(next(&life, "paused"), NOON + DAY + HOUR);
    // Who puts it again, under whatever rules were read, changes nothing.
    life.put("noon", noon.clone());
    assert_eq!(life.state.named("noon").unwrap().revision, 1);
    life.put("later", noon);
    assert_eq!(next(&life, "later"), NOON + DAY + HOUR);
    life.crash();
    life.pass(DAY);
    life.take_snapshot();
    life.crash();
    assert!(life.new_rules("Europe/Paris", "Europe/Paris"), "the old rules hold again");
    life.pass(DAY);
    assert_eq!(life.launches("noon"), [NOON, NOON + DAY + HOUR, NOON + 2 * DAY]);
    assert_eq!(life.launches("later"), [NOON + DAY + HOUR, NOON + 2 * DAY]);
    let verdict = life.verify(START - 10_000);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(life.verify(START + 2 * DAY).expected, 5, "a part of the time is proved as well");
    let mut view = life.view();
    view.rules.clear();
    let to = START + 3 * DAY;
    let found = crate::ledger::verify::verify(&view, START - 10_000, to).unwrap();
    assert!(!found.is_clean(), "without the changes it would not add up: {found:?}");
}

#[test]
fn a_second_that_is_due_when_rules_change_is_run_though_its_target_has_no_room() {
    let mut life = Life::new();
    life.bounds.of_target_max = 1;
    let noon = json!({"when": {"cron": "0 12 * * *", "timeZone": "Europe/Paris"}});
    life.put("a", noon.clone());
    life.put("b", noon);
    life.pass(NOON - START + 30);
    assert_eq!(life.sent.len(), 1, "the other waits for room");
    assert!(life.new_rules("Europe/Paris", "America/New_York"));
    assert_eq!((life.launches("a"), life.launches("b")), (vec![NOON], vec![NOON]));
    let verdict = life.verify(START - 10_000);
    assert!(verdict.is_clean(), "{verdict:?}");
}
