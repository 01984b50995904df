//! What a spec may say beyond its types. Of objects the Kubernetes API server checks the same by the
//! rules of the kind; jobs of the API have nobody else.

use orrery_api::scheduler::bounds::{
    ATTEMPTS_MAX, BACKOFF_SECONDS_MAX, CATCH_UP_RUNS_MAX, KEEP_RUNS_MAX, LATE_SECONDS_MAX,
    LIMIT_RUNS_MAX, LONGEST_BACKOFF_SECONDS_MAX, MOVED_SECONDS_MAX, PRIORITY_MAX,
    TIMEOUT_SECONDS_MAX,
};
use orrery_api::scheduler::{Dialect, ScheduleSpec};

use super::{Refusal, RefusalReason};

fn refuse(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalReason::InvalidSpec, message)
}

/// Refuses what contradicts itself or lies outside its bounds.
pub(super) fn check(spec: &ScheduleSpec) -> Result<(), Refusal> {
    check_when(spec)?;
    check_action(spec)?;
    if !spec.calendars.is_empty() {
        let message = "calendars names ConfigMaps, which only objects can: give exclusions instead";
        return Err(refuse(message));
    }
    if spec.when.after.is_some() && (spec.jitter_seconds != 0 || spec.flex_window_seconds != 0) {
        let message = "jitterSeconds and flexWindowSeconds move times, and after has none";
        return Err(refuse(message));
    }
    if spec.start.zip(spec.end).is_some_and(|(start, end)| start >= end) {
        return Err(refuse("end must be after start"));
    }
    check_numbers(spec)
}

fn check_when(spec: &ScheduleSpec) -> Result<(), Refusal> {
    let when = &spec.when;
    let rules = [
        when.cron.is_some(),
        when.every.is_some(),
        when.rrule.is_some(),
        when.at.is_some(),
        !when.calendar.is_empty(),
        when.after.is_some(),
    ];
    if rules.iter().filter(|is_set| **is_set).count() != 1 {
        let message = "when needs exactly one of cron, every, rrule, at, calendar and after";
        return Err(refuse(message));
    }
    if when.dialect != Dialect::Vixie && when.cron.is_none() {
        return Err(refuse("dialect is only for cron"));
    }
    if when.anchor.is_some() && when.every.is_none() {
        return Err(refuse("anchor is only for every"));
    }
    Ok(())
}

fn check_action(spec: &ScheduleSpec) -> Result<(), Refusal> {
    let action = &spec.action;
    let actions = [
        action.http.is_some(),
        action.grpc.is_some(),
        action.kubernetes_job.is_some(),
        action.pooled_pod.is_some(),
        action.task_queue.is_some(),
        action.workflow.is_some(),
    ];
    if actions.iter().filter(|is_set| **is_set).count() != 1 {
        let message = "action needs exactly one of http, grpc, kubernetesJob, pooledPod, taskQueue and workflow";
        return Err(refuse(message));
    }
    let most = orrery_api::scheduler::action::BODY_CHARS_MAX;
    if let Some(grpc) = &action.grpc {
        if grpc.body.as_ref().is_some_and(|body| body.len() > 4 * most) {
            return Err(refuse(format!("body has more than {} bytes", 4 * most)));
        }
        return Ok(());
    }
    let Some(http) = &action.http else { return Ok(()) };
    if http.target.is_some() == http.url.is_some() {
        return Err(refuse("http needs exactly one of target and url"));
    }
    if http.path.is_some() && http.target.is_none() {
        return Err(refuse("path is only for a target: a url has its own"));
    }
    if http.body.as_ref().is_some_and(|body| body.len() > 4 * most) {
        return Err(refuse(format!("body has more than {} bytes", 4 * most)));
    }
    Ok(())
}

/// The bounds that the kind states.
fn check_numbers(spec: &ScheduleSpec) -> Result<(), Refusal> {
    let retry = &spec.retry;
    let catch_up = spec.catch_up.as_ref();
    let kept = spec.history.as_ref();
    let numbers = [
        ("jitterSeconds", Some(spec.jitter_seconds), 0, MOVED_SECONDS_MAX),
        ("flexWindowSeconds", Some(spec.flex_window_seconds), 0, MOVED_SECONDS_MAX),
        ("startingDeadlineSeconds", spec.starting_deadline_seconds, 1, LATE_SECONDS_MAX),
        ("timeoutSeconds", spec.timeout_seconds, 1, TIMEOUT_SECONDS_MAX),
        ("finishWithinSeconds", spec.finish_within_seconds, 1, LATE_SECONDS_MAX),
        ("priority", Some(i64::from(spec.priority)), 0, PRIORITY_MAX.into()),
        ("limitRuns", spec.limit_runs, 1, LIMIT_RUNS_MAX),
        ("retry.maxAttempts", Some(i64::from(retry.max_attempts)), 1, ATTEMPTS_MAX.into()),
        ("retry.backoffSeconds", Some(retry.backoff_seconds), 0, BACKOFF_SECONDS_MAX),
        (
            "retry.maxBackoffSeconds",
            Some(retry.max_backoff_seconds),
            0,
            LONGEST_BACKOFF_SECONDS_MAX,
        ),
        (
            "catchUp.maxRuns",
            catch_up.and_then(|c| c.max_runs.map(i64::from)),
            1,
            CATCH_UP_RUNS_MAX.into(),
        ),
        (
            "history.keepRuns",
            kept.and_then(|kept| kept.keep_runs.map(i64::from)),
            0,
            KEEP_RUNS_MAX.into(),
        ),
        (
            "history.keepFailedRuns",
            kept.and_then(|k| k.keep_failed_runs.map(i64::from)),
            0,
            KEEP_RUNS_MAX.into(),
        ),
        ("catchUp.maxSeconds", catch_up.and_then(|c| c.max_seconds), 0, LATE_SECONDS_MAX),
    ];
    for (name, value, least, most) in numbers {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            return Err(refuse(format!("{name} is {value}: it is {least} to {most}")));
        }
    }
    Ok(())
}
