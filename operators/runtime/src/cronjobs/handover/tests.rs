use serde_json::{Value, json};

use super::super::decide::{Whose, Wish, next};
use super::super::kind::{ADOPTED_BY, STOPPED_AT, SUSPEND};
use super::*;

/// A whole minute.
const MINUTE: i64 = 1_795_773_600;
/// In its midst.
const NOW: i64 = MINUTE + 20;

fn time(second: i64) -> String {
    jiff::Timestamp::from_second(second).expect("a time").to_string()
}

fn at(now: i64) -> At {
    let newest = now.div_euclid(60) * 60;
    At { now, newest: Some(newest), next: Some(newest + 60), due: Some(MINUTE + 60) }
}

fn cron_job(annotations: &Value, spec: &Value, status: &Value) -> CronJobSeen {
    let mut all = json!({"schedule": "* * * * *"});
    all.as_object_mut().expect("fields").extend(spec.as_object().expect("fields").clone());
    let value = json!({
        "metadata": {"name": "a", "annotations": annotations, "creationTimestamp": time(MINUTE - 600)},
        "spec": all, "status": status,
    });
    serde_json::from_value(value).expect("a CronJob")
}

/// One whose controller is through with the minute.
fn free() -> CronJobSeen {
    cron_job(&json!({}), &json!({}), &json!({"lastScheduleTime": time(MINUTE)}))
}

fn stopped() -> CronJobSeen {
    let annotations = json!({ADOPTED_BY: "default", SUSPEND: "false", STOPPED_AT: time(NOW)});
    cron_job(&annotations, &json!({"suspend": true}), &json!({"lastScheduleTime": time(MINUTE)}))
}

fn held(last: i64) -> CronJobSeen {
    let annotations = json!({ADOPTED_BY: "default", SUSPEND: "false"});
    cron_job(&annotations, &json!({"suspend": true}), &json!({"lastScheduleTime": time(last)}))
}

const BESIDE: Beside = Beside {
    whose: Whose::Ours,
    is_of_adopter: true,
    is_same: true,
    stands: Stands::Accepted,
    was_changed: false,
    jobless: None,
};

const TRIAL: Jobless =
    Jobless { is_suspended: true, until: None, next: None, ran: None, is_orphan: false };
const FIRES: Jobless = Jobless { is_suspended: false, next: Some(MINUTE + 60), ..TRIAL };

fn ran(nominal: i64, is_over: bool) -> Ran {
    Ran { nominal, is_over, succeeded: is_over.then_some(nominal + 1) }
}

fn wanted(cron_job: &CronJobSeen, beside: &Beside, object: &Jobless, now: i64) -> Step {
    decide(cron_job, true, Some((beside, object)), &at(now))
}

fn unwanted(cron_job: &CronJobSeen, beside: &Beside, object: &Jobless, now: i64) -> Step {
    decide(cron_job, false, Some((beside, object)), &at(now))
}

#[test]
fn it_is_on_trial_first_and_stopped_when_its_controller_has_decided_all() {
    assert_eq!(decide(&free(), true, None, &at(NOW)), Step::Apply);
    assert_eq!(decide(&free(), false, None, &at(NOW)), Step::Rest);
    let waits = Beside { stands: Stands::Waits, ..BESIDE };
    assert_eq!(wanted(&free(), &waits, &TRIAL, NOW), Step::Rest);
    let refused = Beside { stands: Stands::Refused("no".into()), ..BESIDE };
    assert_eq!(wanted(&free(), &refused, &TRIAL, NOW), Step::Tell("no".into()));
    assert_eq!(unwanted(&free(), &BESIDE, &TRIAL, NOW), Step::Remove);
    assert_eq!(wanted(&free(), &BESIDE, &TRIAL, NOW), Step::Stop);
}

#[test]
fn it_is_not_stopped_while_its_controller_may_be_at_it() {
    let at_time = |last: Option<i64>, spec: Value, now: i64| {
        let status = last.map_or(json!({}), |last| json!({"lastScheduleTime": time(last)}));
        wanted(&cron_job(&json!({}), &spec, &status), &BESIDE, &TRIAL, now)
    };
    let none = json!({});
    // The newest time is not in its status yet.
    assert_eq!(at_time(Some(MINUTE - 60), none.clone(), NOW), Step::Later(2));
    assert_eq!(at_time(None, none.clone(), NOW), Step::Later(2));
    // It never will be.
    let deadline = json!({"startingDeadlineSeconds": 10});
    assert_eq!(at_time(Some(MINUTE - 60), deadline.clone(), NOW), Step::Stop);
    assert_eq!(at_time(Some(MINUTE - 60), deadline, MINUTE + 12), Step::Later(2));
    // Just after, and just before a time.
    assert_eq!(at_time(Some(MINUTE), none.clone(), MINUTE + 2), Step::Later(3));
    assert_eq!(at_time(Some(MINUTE), none.clone(), MINUTE + 41), Step::Later(22));
    assert_eq!(at_time(Some(MINUTE), none, MINUTE + 40), Step::Stop);
    // Nothing is on its way of what the user suspends.
    assert_eq!(at_time(None, json!({"suspend": true}), MINUTE + 59), Step::Stop);
    // A rule that names no more than it did.
    let never = At { now: NOW, newest: None, next: None, due: None };
    assert_eq!(decide(&free(), true, Some((&BESIDE, &TRIAL)), &never), Step::Stop);
    // One that is younger than the newest time.
    let mut young = cron_job(&json!({}), &json!({}), &json!({}));
    young.metadata.creation_timestamp =
        Some(serde_json::from_value(json!(time(MINUTE + 1))).expect("a time"));
    assert_eq!(wanted(&young, &BESIDE, &TRIAL, NOW), Step::Stop);
    let busy = json!({"lastScheduleTime": time(MINUTE), "active": [{"name": "a-1"}]});
    let busy = cron_job(&json!({}), &json!({"concurrencyPolicy": "Forbid"}), &busy);
    assert!(matches!(wanted(&busy, &BESIDE, &TRIAL, NOW), Step::Tell(_)));
}

#[test]
fn the_engine_begins_before_the_next_time_or_not_at_all() {
    let differs = Beside { is_same: false, ..BESIDE };
    assert_eq!(wanted(&stopped(), &differs, &TRIAL, NOW + 1), Step::Apply);
    let waits = Beside { stands: Stands::Waits, ..BESIDE };
    assert_eq!(wanted(&stopped(), &waits, &FIRES, NOW + 2), Step::Later(2));
    assert_eq!(wanted(&stopped(), &BESIDE, &FIRES, NOW + 3), Step::Suspend);
    // It has run it by the time somebody looks.
    let has_run = Jobless { next: Some(MINUTE + 120), ran: Some(ran(MINUTE + 60, true)), ..FIRES };
    assert_eq!(wanted(&stopped(), &BESIDE, &has_run, MINUTE + 61), Step::Suspend);

    // The operator was away: nobody has fired, and its controller makes up for it.
    assert_eq!(wanted(&stopped(), &differs, &TRIAL, MINUTE + 56), Step::GiveBackBehind(NOW));
    assert_eq!(wanted(&stopped(), &differs, &TRIAL, MINUTE + 600), Step::GiveBackBehind(NOW));
    // The engine was told too late: it is ended as of what its controller had decided.
    let late = Jobless { next: Some(MINUTE + 120), ..FIRES };
    assert_eq!(wanted(&stopped(), &BESIDE, &late, MINUTE + 70), Step::End(NOW));
    let refused = Beside { stands: Stands::Refused("no".into()), ..BESIDE };
    assert_eq!(wanted(&stopped(), &refused, &FIRES, NOW + 3), Step::GiveBackBehind(NOW));
    // The user wants it back in between.
    assert_eq!(unwanted(&stopped(), &BESIDE, &TRIAL, NOW + 1), Step::GiveBackBehind(NOW));
    assert_eq!(unwanted(&stopped(), &BESIDE, &FIRES, NOW + 1), Step::End(NOW));
}

#[test]
fn one_that_the_user_suspends_is_handed_over_at_any_time() {
    let annotations = json!({ADOPTED_BY: "default", SUSPEND: "true", STOPPED_AT: time(NOW)});
    let suspended = cron_job(&annotations, &json!({"suspend": true}), &json!({}));
    assert_eq!(wanted(&suspended, &BESIDE, &TRIAL, MINUTE + 59), Step::Suspend);
    assert_eq!(wanted(&suspended, &BESIDE, &TRIAL, MINUTE + 300), Step::Suspend);
}

#[test]
fn it_ends_before_it_is_given_back_and_is_removed_when_its_runs_are_over() {
    assert_eq!(unwanted(&held(MINUTE), &BESIDE, &FIRES, NOW), Step::End(NOW));
    // What is due and waits for room would be passed over.
    assert_eq!(unwanted(&held(MINUTE), &BESIDE, &FIRES, MINUTE + 60), Step::Later(2));
    let ending = Jobless { until: Some(NOW), next: None, ran: Some(ran(MINUTE, true)), ..FIRES };
    let waits = Beside { stands: Stands::Waits, ..BESIDE };
    assert_eq!(unwanted(&held(MINUTE), &waits, &ending, NOW + 1), Step::Rest);
    assert_eq!(unwanted(&held(MINUTE), &BESIDE, &ending, NOW + 2), Step::GiveBackBehind(NOW));
    // A time came before it had heard.
    let later = Jobless { ran: Some(ran(MINUTE + 60, true)), ..ending.clone() };
    let step = unwanted(&held(MINUTE), &BESIDE, &later, MINUTE + 62);
    assert_eq!(step, Step::GiveBackBehind(MINUTE + 60));
    // Wanted again meanwhile, it goes all the way first.
    assert_eq!(wanted(&held(MINUTE), &BESIDE, &ending, NOW + 2), Step::GiveBackBehind(NOW));
    assert_eq!(wanted(&free(), &BESIDE, &ending, NOW + 3), Step::Remove);
    let runs = Jobless { ran: Some(ran(MINUTE, false)), ..ending };
    assert_eq!(unwanted(&free(), &BESIDE, &runs, NOW + 3), Step::Later(2));
}

#[test]
fn beside_a_run_that_bears_none_its_controller_does_not_go_on() {
    let ending = Jobless { until: Some(NOW), next: None, ran: Some(ran(MINUTE, false)), ..FIRES };
    for (policy, expected) in [
        ("Allow", Step::GiveBackBehind(NOW)),
        ("Forbid", Step::Later(2)),
        ("Replace", Step::Later(2)),
    ] {
        let mut held = held(MINUTE);
        held.spec.concurrency_policy = Some(policy.to_owned());
        assert_eq!(unwanted(&held, &BESIDE, &ending, NOW + 2), expected, "{policy}");
    }
}

#[test]
fn what_its_engine_refuses_is_told_to_end_in_other_words() {
    let refused = Beside { stands: Stands::Refused("no".into()), was_changed: true, ..BESIDE };
    assert_eq!(wanted(&held(MINUTE), &refused, &FIRES, NOW), Step::End(NOW));
    let ending = Jobless { until: Some(NOW), ..FIRES };
    assert_eq!(wanted(&held(MINUTE), &refused, &ending, NOW + 9), Step::End(NOW));
}

#[test]
fn without_its_engine_or_its_object_it_is_given_back() {
    let orphan = Jobless { is_orphan: true, ran: Some(ran(MINUTE, false)), ..FIRES };
    let waits = Beside { stands: Stands::Waits, ..BESIDE };
    assert_eq!(unwanted(&held(MINUTE), &waits, &orphan, NOW), Step::GiveBackBehind(NOW));
    let next = Jobless { next: Some(MINUTE + 3600), ..orphan.clone() };
    assert_eq!(unwanted(&held(MINUTE), &waits, &next, NOW), Step::GiveBackBehind(NOW));
    let ending = Jobless { until: Some(NOW - 5), ..orphan };
    assert_eq!(unwanted(&held(MINUTE), &waits, &ending, NOW), Step::GiveBackBehind(NOW - 5));
    assert_eq!(decide(&held(MINUTE), true, None, &at(NOW)), Step::GiveBackBehind(NOW));
    assert_eq!(decide(&stopped(), true, None, &at(NOW + 5)), Step::GiveBackBehind(NOW));
}

#[test]
fn what_somebody_writes_over_ours_is_written_again() {
    let annotations = json!({ADOPTED_BY: "default", SUSPEND: "false"});
    let resumed = cron_job(&annotations, &json!({"suspend": false}), &json!({}));
    assert_eq!(wanted(&resumed, &BESIDE, &FIRES, NOW), Step::Suspend);
    assert_eq!(wanted(&free(), &BESIDE, &FIRES, NOW), Step::Suspend);
    let changed = Beside { is_same: false, ..BESIDE };
    assert_eq!(wanted(&held(MINUTE), &changed, &FIRES, NOW), Step::Apply);
}

#[test]
fn the_status_follows_the_runs_with_one_write_for_most() {
    let shown = |object: &Jobless, now: i64| wanted(&held(MINUTE), &BESIDE, object, now);
    let (time, over) = (MINUTE + 60, Some(ran(MINUTE + 60, true)));
    let both = Step::Show { scheduled: Some(time), succeeded: Some(time + 1) };
    assert_eq!(shown(&Jobless { ran: over, ..FIRES }, time + 1), both);
    let runs = Jobless { ran: Some(ran(time, false)), ..FIRES };
    assert_eq!(shown(&runs, time + 1), Step::Later(2));
    assert_eq!(shown(&runs, time + 2), Step::Show { scheduled: Some(time), succeeded: None });
    let failed = Some(Ran { nominal: time, is_over: true, succeeded: None });
    let failed = Jobless { ran: failed, ..FIRES };
    assert_eq!(shown(&failed, time + 1), Step::Show { scheduled: Some(time), succeeded: None });
    assert_eq!(shown(&Jobless { ran: Some(ran(MINUTE, false)), ..FIRES }, time), Step::Rest);
    assert_eq!(shown(&FIRES, time), Step::Rest);
}

/// Between Jobs and a pool lies its own controller, whichever way.
#[test]
fn a_change_of_kind_gives_it_back_first() {
    let pooled = |object: Jobless| Beside { jobless: Some(object), ..BESIDE };
    let step = |cron_job: &CronJobSeen, wish: Wish, beside: Option<&Beside>| {
        next(cron_job, Some("default"), &wish, beside, &at(NOW))
    };
    // From a pool to Jobs.
    assert_eq!(step(&held(MINUTE), Wish::Jobs, Some(&pooled(FIRES))), Step::End(NOW));
    let ending = Jobless { until: Some(NOW - 1), next: None, ..FIRES };
    let given = step(&held(MINUTE), Wish::Jobs, Some(&pooled(ending.clone())));
    assert_eq!(given, Step::GiveBackBehind(NOW - 1));
    assert_eq!(step(&free(), Wish::Jobs, Some(&pooled(ending))), Step::Remove);
    assert_eq!(step(&free(), Wish::Jobs, None), Step::Apply);
    // From Jobs to a pool.
    assert_eq!(step(&held(MINUTE), Wish::Jobless, Some(&BESIDE)), Step::GiveBack);
    assert_eq!(step(&free(), Wish::Jobless, Some(&BESIDE)), Step::Remove);
    assert_eq!(step(&free(), Wish::Jobless, None), Step::Apply);
    // To what no pool can run.
    let refused = || Wish::Refused("no command".to_owned());
    assert_eq!(step(&held(MINUTE), refused(), Some(&pooled(FIRES))), Step::End(NOW));
    assert_eq!(step(&held(MINUTE), refused(), Some(&BESIDE)), Step::GiveBack);
    assert_eq!(step(&free(), refused(), Some(&pooled(TRIAL))), Step::Remove);
    assert_eq!(step(&free(), refused(), None), Step::Tell("no command".to_owned()));
    // What somebody else made is left alone.
    let foreign = Beside { whose: Whose::Foreign, ..pooled(FIRES) };
    assert!(matches!(step(&free(), Wish::Jobless, Some(&foreign)), Step::Tell(_)));
    let leaving = Beside { whose: Whose::Leaving, ..pooled(FIRES) };
    assert_eq!(step(&free(), Wish::Jobless, Some(&leaving)), Step::Rest);
}
