//! What each policy does, one by one.

use serde_json::{Value, json};

use super::life::{Life, START};
use crate::machine::{Cause, Pause};
use crate::run::Outcome;

fn every_minute(more: Value) -> Value {
    let mut spec = json!({"when": {"cron": "* * * * *"}});
    if let Value::Object(more) = more {
        for (key, value) in more {
            spec[key] = value;
        }
    }
    spec
}

fn minutes(numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
    numbers.into_iter().map(|minute| START + minute * 60).collect()
}

fn done() -> Outcome {
    Outcome::Succeeded { note: String::new() }
}

fn failed() -> Outcome {
    Outcome::Failed { note: "no".to_owned() }
}

#[test]
fn a_forbidden_overlap_is_skipped_and_an_allowed_one_runs() {
    let mut life = Life::new();
    life.put("forbid", every_minute(json!({"concurrency": "Forbid"})));
    life.put("allow", every_minute(json!({"concurrency": "Allow"})));
    life.pass(180);
    assert_eq!(life.launches("forbid"), minutes([1]));
    assert_eq!(life.launches("allow"), minutes([1, 2, 3]));
    life.end_all(&done());
    life.pass(60);
    assert_eq!(life.launches("forbid"), minutes([1, 4]));
    let verdict = life.verify(START);
    assert!(verdict.is_clean() && verdict.skipped == 2, "{verdict:?}");
}

#[test]
fn a_replaced_run_is_cancelled_before_the_next_begins() {
    for (policy, at_once) in [("Replace", true), ("TerminateOther", true), ("CancelOther", true)] {
        let mut life = Life::new();
        life.put("job", every_minute(json!({"concurrency": policy})));
        life.pass(120);
        assert_eq!(life.launches("job"), minutes([1, 2]), "{policy}");
        assert_eq!((life.cancelled.len(), life.state.running() == 1), (1, at_once), "{policy}");
    }
}

#[test]
fn buffered_runs_follow_one_after_the_other() {
    let mut life = Life::new();
    life.put("one", every_minute(json!({"concurrency": "BufferOne"})));
    life.put("all", every_minute(json!({"concurrency": "BufferAll"})));
    life.pass(240);
    assert_eq!((life.launches("one"), life.launches("all")), (minutes([1]), minutes([1])));
    life.crash();
    for _ in 0..4 {
        life.end_all(&done());
    }
    assert_eq!(life.launches("one"), minutes([1, 2]));
    assert_eq!(life.launches("all"), minutes([1, 2, 3, 4]));
    assert!(life.verify(START).is_clean());
}

#[test]
fn what_was_missed_is_made_up_for_as_the_job_says() {
    let mut life = Life::new();
    let catch_up = |policy: &str, runs: i64| {
        every_minute(json!({"catchUp": {"policy": policy, "maxRuns": runs}}))
    };
    life.put("skip", catch_up("Skip", 9));
    life.put("once", catch_up("FireOnce", 9));
    life.put("all", catch_up("FireAll", 5));
    life.crash();
    life.sleep(3600);
    // The last minute is not missed yet.
    assert_eq!(life.launches("skip"), minutes([60]));
    assert_eq!(life.launches("once"), minutes([60]));
    assert_eq!(life.launches("all"), minutes([55, 56, 57, 58, 59, 60]));
    assert!(life.verify(START).is_clean());
}

#[test]
fn years_of_downtime_are_decided_in_one_go_and_within_bounds() {
    let mut life = Life::new();
    let secondly = json!({"when": {"cron": "* * * * * *"}, "catchUp": {"policy": "FireAll"}});
    life.put("secondly", secondly);
    life.sleep(5 * 365 * 86_400);
    assert!(life.launches("secondly").len() <= 100 + 62);
    assert_eq!(life.state.check(), [""; 0]);
}

#[test]
fn a_run_later_than_its_starting_deadline_is_skipped() {
    let mut life = Life::new();
    life.put("job", every_minute(json!({"startingDeadlineSeconds": 10})));
    life.sleep(75);
    assert_eq!(life.launches("job"), minutes([]));
    life.sleep(50);
    assert_eq!(life.launches("job"), minutes([2]));
    assert!(life.verify(START).is_clean());
}

#[test]
fn a_failed_run_is_tried_again_with_growing_pauses_and_then_given_up() {
    let mut life = Life::new();
    let retry = json!({"maxAttempts": 3, "backoffSeconds": 10});
    life.put("job", json!({"when": {"cron": "0 0 1 1 *"}, "retry": retry}));
    let id = life.state.named("job").unwrap().id;
    life.turn(|turn| turn.trigger(id, Cause::Manual, START).unwrap());
    life.end_all(&failed());
    life.pass(9);
    assert!(life.sent.is_empty());
    life.crash();
    life.pass(1);
    assert_eq!(life.sent.len(), 1);
    life.end_all(&failed());
    life.pass(19);
    assert!(life.sent.is_empty());
    life.pass(1);
    life.end_all(&failed());
    assert_eq!((life.state.running(), life.state.named("job").unwrap().failures), (0, 1));
    assert_eq!(life.all_sent.len(), 3);
}

#[test]
fn a_job_that_pauses_on_failure_goes_on_when_told_to() {
    let mut life = Life::new();
    life.put("job", every_minute(json!({"pauseOnFailure": true})));
    life.pass(60);
    life.end_all(&failed());
    life.pass(600);
    assert_eq!(life.launches("job"), minutes([1]));
    let id = life.state.named("job").unwrap().id;
    life.turn(|turn| turn.pause(id, Pause::None).unwrap());
    life.pass(60);
    assert_eq!(life.launches("job"), minutes([1, 12]));
    assert!(life.verify(START).is_clean());
}

#[test]
fn a_limited_job_runs_so_often_and_no_more() {
    let mut life = Life::new();
    life.put("job", every_minute(json!({"limitRuns": 3})));
    life.pass(600);
    life.crash();
    life.pass(600);
    assert_eq!(life.launches("job"), minutes([1, 2, 3]));
    assert!(life.verify(START).is_clean());
}

#[test]
fn a_run_that_is_not_over_in_time_is_overdue_until_one_succeeds() {
    let mut life = Life::new();
    life.put("job", every_minute(json!({"finishWithinSeconds": 30})));
    life.pass(89);
    assert!(!life.state.named("job").unwrap().overdue);
    life.pass(1);
    assert!(life.state.named("job").unwrap().overdue);
    life.crash();
    assert!(life.state.named("job").unwrap().overdue);
    life.end_all(&done());
    assert!(!life.state.named("job").unwrap().overdue);
}

#[test]
fn jobs_that_are_done_go_after_a_while_and_others_stay() {
    let mut life = Life::new();
    let at = jiff::Timestamp::from_second(START + 60).unwrap().to_string();
    life.put("once", json!({"when": {"at": at}}));
    life.put("runs", json!({"when": {"at": at}}));
    life.put("often", every_minute(json!({"concurrency": "Forbid"})));
    life.put("limited", every_minute(json!({"limitRuns": 1})));
    life.pass(60);
    let runs = life.state.named("runs").unwrap().id;
    let (going, over): (Vec<_>, Vec<_>) = std::mem::take(&mut life.sent)
        .into_iter()
        .partition(|(run, _)| life.state.run(*run).is_some_and(|run| run.job == runs));
    life.sent.extend(over);
    life.end_all(&done());
    life.sent.extend(going);
    life.pass(600);
    let before_ms = life.now_ms;
    assert_eq!(life.turn(|turn| turn.sweep((START + 60) * 1000, 10).unwrap()), 0);
    assert_eq!(life.turn(|turn| turn.sweep(before_ms, 10).unwrap()), 1);
    assert!(life.state.named("once").is_none());
    for kept in ["runs", "often", "limited"] {
        assert!(life.state.named(kept).is_some(), "{kept}");
    }
    assert!(life.verify(START).is_clean());
}

#[test]
fn a_herd_is_spread_over_its_window_and_nobody_leaves_it() {
    let mut life = Life::new();
    for index in 0..500 {
        life.put(&format!("job-{index}"), every_minute(json!({"flexWindowSeconds": 49})));
    }
    life.pass(60);
    assert!(life.state.running() < 60, "{} at once", life.state.running());
    life.pass(50);
    assert_eq!(life.state.running(), 500);
    assert!(life.verify(START).is_clean());
}

#[test]
fn a_target_without_room_delays_its_own_jobs_alone() {
    let mut life = Life::new();
    life.bounds.of_target_max = 5;
    let to = |target: &str| {
        every_minute(json!({"action": {"http": {"url": format!("http://{target}.test/")}}}))
    };
    for index in 0..20 {
        life.put(&format!("slow-{index}"), to("slow"));
    }
    life.put("quick", to("quick"));
    life.pass(60);
    assert_eq!((life.state.running(), life.launches("quick")), (6, minutes([1])));
    for _ in 0..6 {
        life.end_all(&done());
        life.pass(0);
    }
    assert_eq!(life.state.running(), 0);
    let verdict = life.verify(START);
    assert!(verdict.is_clean() && verdict.launched == 21, "{verdict:?}");
}

#[test]
fn an_edit_keeps_what_was_due_before_it_and_counts_from_then_on() {
    let mut life = Life::new();
    life.put("job", every_minute(json!({})));
    life.pass(150);
    life.put("job", json!({"when": {"cron": "*/5 * * * *"}}));
    life.pass(600);
    assert_eq!(life.launches("job"), minutes([1, 2, 5, 10]));
    let job = life.state.named("job").unwrap();
    assert_eq!(job.revision, 2);
    assert!(life.verify(START).is_clean());
}

#[test]
fn the_night_of_the_change_of_clocks_is_as_the_job_says() {
    let mut life = Life::new();
    let at =
        |dst: &str| json!({"when": {"cron": "30 2 * * *", "timeZone": "Europe/Paris"}, "dst": dst});
    life.put("skips", at("SkipMissingRunRepeatedOnce"));
    life.put("makes-up", at("RunMissingAfterGapRunRepeatedOnce"));
    life.pass(86_400);
    // 02:30 does not exist on 2027-03-28: the clock goes from 02:00 to 03:00, which is 01:00 UTC.
    assert_eq!(life.launches("skips"), Vec::<i64>::new());
    assert_eq!(life.launches("makes-up"), [START + 3 * 3600]);
    assert!(life.verify(START).is_clean());
}
