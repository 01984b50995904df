//! Schedules: validated here, carried out by the processes of their Scheduler.
//!
//! Must not: read rules of time. The processes compile them, and refuse what they cannot with the
//! reason that the object then shows.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::batch::v1::Job;
use orrery_api::scheduler::{
    Action, AdoptMode, DeclaredSchedule, Dialect, RunResult, Schedule, ScheduleSpec, ScheduleState,
    ScheduleStatus, Scheduler, SchedulerSpec, Template, When,
};
use orrery_api::{CommonStatus, Reason};
use orrery_runtime::cronjobs::{AdoptsCronJobs, CronJobSeen, Fires, Ran, Takes};
use orrery_runtime::{
    Acceptance, DEFAULT_ENGINE, Declared, Kept, MakesJobs, News, Occasion, Reference, Referenced,
    Refusal, Standing,
};
use serde_json::{Value, json};

use super::{Jobs, adopt, job};
use crate::parts::checks;

/// The most text of all days of one schedule, in bytes: tens of thousands of days.
const EXCLUSIONS_BYTES_MAX: usize = 256 << 10;
/// Longest line that stands for a rule in a status, in characters.
const WHEN_CHARS_MAX: usize = 256;

/// The kind `Schedule`.
#[derive(Debug)]
pub struct Schedules;

impl Declared for Schedules {
    type Kind = Schedule;
    type Engine = Jobs;
    type Status = ScheduleStatus;

    const STAYS_WHEN_REFUSED: bool = true;

    fn engine_ref(object: &Schedule) -> Option<&str> {
        object.spec.scheduler_ref.as_ref().map(|scheduler| scheduler.name.as_str())
    }

    fn references(object: &Schedule) -> Vec<Reference> {
        let calendars = object.spec.calendars.exclude.iter();
        let template = object.spec.template.iter().map(|template| &template.data_ref);
        calendars.chain(template).map(|map| Reference::ConfigMap(map.name.clone())).collect()
    }

    fn validate(
        object: &Schedule,
        siblings: &[&Schedule],
        inputs: &Referenced,
    ) -> Result<Value, Refusal> {
        let spec = &object.spec;
        check(object)?;
        check_leaders(object, siblings)?;
        let exclusions = exclusions(spec, inputs)?;
        let rows = spec.template.as_ref().map(|template| rows(template, inputs)).transpose()?;
        let mut spec = spec.clone();
        let uid = spec.action.kubernetes_job.as_mut().and_then(|action| {
            // What a Job is made of the operator knows; the engine has no use for it.
            action.job_template = json!({});
            object.metadata.uid.clone()
        });
        let declared = DeclaredSchedule { spec, exclusions, uid, rows };
        serde_json::to_value(&declared).map_err(|error| {
            Refusal::object(Reason::InvalidSpec, format!("the spec is not JSON: {error}"))
        })
    }

    fn on_one_machine(object: &Schedule) -> Result<(), Refusal> {
        let action = &object.spec.action;
        let (field, why) = if action.kubernetes_job.is_some() {
            ("spec.action.kubernetesJob", "one machine without Kubernetes makes no Jobs; use http")
        } else if action.pooled_pod.is_some() {
            let why = "one machine without Kubernetes has no pods that wait; use http";
            ("spec.action.pooledPod", why)
        } else {
            return Ok(());
        };
        Err(Refusal::field(Reason::NotOnThisCarrier, field, why))
    }

    fn standing(object: &Schedule, acceptance: &Acceptance) -> Standing {
        let state = state(acceptance).unwrap_or_default();
        let change = state.note.map(|note| (Reason::RunsChanged, note));
        let mut standing = Standing { change, ..Standing::default() };
        if state.leader_missing {
            let leader = object.spec.when.after.as_ref().map_or("", |after| &after.schedule);
            let message = format!("there is no schedule {leader}: nothing brings its runs about");
            standing.degraded = Some((Reason::TargetMissing, message));
        }
        if state.overdue {
            let message = "a run is not over within spec.finishWithinSeconds";
            standing.degraded = Some((Reason::Overdue, message.to_owned()));
        }
        if state.suspended_by_failure {
            let message = "a run failed; it fires no more until it is edited or resumed";
            standing.degraded = Some((Reason::PausedByFailure, message.to_owned()));
            standing.resting = standing.degraded.clone();
        }
        if object.spec.suspend {
            let message = "it does not fire while spec.suspend is true";
            standing.resting = Some((Reason::Suspended, message.to_owned()));
        }
        standing
    }

    fn default_engine() -> Scheduler {
        Scheduler::new(DEFAULT_ENGINE, SchedulerSpec::default())
    }

    fn status(object: &Schedule) -> Option<&ScheduleStatus> {
        object.status.as_ref()
    }

    fn common(status: &ScheduleStatus) -> &CommonStatus {
        &status.common
    }

    fn summary(
        object: &Schedule,
        common: CommonStatus,
        acceptance: Option<&Acceptance>,
    ) -> ScheduleStatus {
        let spec = &object.spec;
        let accepted = acceptance.filter(|acceptance| acceptance.accepted);
        // What only the engine knows is kept until it speaks.
        let kept = || {
            let stored = object.status.clone().unwrap_or_default();
            let is_refused = acceptance.is_some_and(|acceptance| !acceptance.accepted);
            ScheduleState {
                next_times: if is_refused { Vec::new() } else { stored.next_times },
                last_run: stored.last_run,
                consecutive_failures: stored.consecutive_failures,
                jobs: stored.jobs,
                zone_change: stored.zone_change,
                ..ScheduleState::default()
            }
        };
        let state = accepted.and_then(state).unwrap_or_else(kept);
        ScheduleStatus {
            common,
            bound_to: accepted.map(|_| Self::engine_name(object).to_owned()),
            when: Some(spec.when.summary().chars().take(WHEN_CHARS_MAX).collect()),
            zone: Some(spec.when.time_zone.clone()),
            next_times: state.next_times,
            last_run: state.last_run,
            consecutive_failures: state.consecutive_failures,
            jobs: state.jobs,
            zone_change: state.zone_change,
        }
    }

    fn news(before: Option<&ScheduleStatus>, after: &ScheduleStatus) -> Option<News> {
        let change = after.zone_change.as_ref()?;
        let known = before.and_then(|before| before.zone_change.as_ref());
        let is_known = known.is_some_and(|known| known.since == change.since);
        (!is_known).then(|| News {
            reason: Reason::RunsChanged,
            action: format!("ZoneRules{}", change.since.timestamp().as_second()),
            note: change.message.clone(),
        })
    }
}

impl MakesJobs for Schedules {
    fn job_name(object: &str, occasion: &Occasion) -> String {
        job::name(object, occasion)
    }

    fn job(object: &Schedule, occasion: &Occasion) -> Result<Job, Refusal> {
        job::job(object, occasion)
    }

    fn kept(object: &Schedule) -> Option<Kept> {
        job::kept(object)
    }
}

impl AdoptsCronJobs for Schedules {
    fn takes(engine: &Scheduler) -> Takes {
        match engine.spec.adopt_cron_jobs.mode {
            AdoptMode::Off => Takes::None,
            AdoptMode::Annotated => Takes::Annotated,
            AdoptMode::Namespace => Takes::All,
        }
    }

    fn adopted(
        cron_job: &CronJobSeen,
        engine: &Scheduler,
        suspend: bool,
    ) -> Result<Schedule, String> {
        adopt::schedule(cron_job, engine, suspend)
    }

    fn is_same(stored: &Schedule, wanted: &Schedule) -> bool {
        stored.spec == wanted.spec
    }

    fn next_seconds(object: &Schedule) -> Option<i64> {
        let next = object.status.as_ref()?.next_times.first()?;
        Some(next.timestamp().as_second())
    }

    fn fires(object: &Schedule) -> Fires {
        let spec = &object.spec;
        Fires {
            as_jobs: spec.action.kubernetes_job.is_some(),
            is_suspended: spec.suspend,
            until: spec.end.map(|end| end.microseconds().div_euclid(1_000_000)),
        }
    }

    fn ran(object: &Schedule) -> Option<Ran> {
        let run = object.status.as_ref()?.last_run.as_ref()?;
        let finished = run.finished.map(|at| at.timestamp().as_second());
        Some(Ran {
            nominal: run.nominal.timestamp().as_second(),
            is_over: run.result != RunResult::Running,
            succeeded: finished.filter(|_| run.result == RunResult::Succeeded),
        })
    }

    fn ending(object: &Schedule, until: i64, is_refused: bool) -> Schedule {
        adopt::ending(object, until, is_refused)
    }
}

/// What the engine says of the object.
fn state(acceptance: &Acceptance) -> Option<ScheduleState> {
    serde_json::from_value(acceptance.state.clone()?).ok()
}

/// What the spec alone shows to be impossible.
fn check(object: &Schedule) -> Result<(), Refusal> {
    let spec = &object.spec;
    check_when(&spec.when)?;
    check_action(&spec.action, spec.template.is_some())?;
    let action = &spec.action;
    let asked = [
        ("spec.action.taskQueue", action.task_queue.is_some()),
        ("spec.action.workflow", action.workflow.is_some()),
        ("spec.template", spec.template.is_some() && action.kubernetes_job.is_some()),
    ];
    checks::not_yet("Schedule", &asked)?;
    if let (Some(start), Some(end)) = (spec.start, spec.end)
        && start >= end
    {
        return Err(invalid("spec.end", "end must be after start"));
    }
    if spec.when.after.is_some() && (spec.jitter_seconds != 0 || spec.flex_window_seconds != 0) {
        let message = "jitterSeconds and flexWindowSeconds move times, and after has none";
        return Err(invalid("spec.when.after", message));
    }
    Ok(())
}

/// A schedule that runs after itself, in however many steps, would never rest.
fn check_leaders(object: &Schedule, siblings: &[&Schedule]) -> Result<(), Refusal> {
    let Some(mut leader) = leader_of(object) else { return Ok(()) };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let makes_many = siblings.iter().any(|sibling| {
        sibling.metadata.name.as_deref() == Some(leader) && sibling.spec.template.is_some()
    });
    if makes_many {
        let message = format!(
            "{leader} has a template, and each of its rows is a job: nothing runs after all of them"
        );
        return Err(invalid("spec.when.after", &message));
    }
    let leaders: HashMap<&str, &str> = siblings
        .iter()
        .filter_map(|sibling| Some((sibling.metadata.name.as_deref()?, leader_of(sibling)?)))
        .collect();
    let mut chain = vec![name];
    // Others may run in a circle that this one is not part of.
    while chain.len() <= siblings.len() + 1 {
        chain.push(leader);
        if leader == name {
            let message = format!("it would run after itself: {}", chain.join(" after "));
            return Err(invalid("spec.when.after", &message));
        }
        let Some(next) = leaders.get(leader) else { break };
        leader = next;
    }
    Ok(())
}

fn leader_of(object: &Schedule) -> Option<&str> {
    object.spec.when.after.as_ref().map(|after| after.schedule.as_str())
}

/// Rules the API server holds as well; an object that was stored before a rule existed, or that
/// came without a server, gets the same answer.
fn check_when(when: &When) -> Result<(), Refusal> {
    let given = [
        when.cron.is_some(),
        when.every.is_some(),
        when.rrule.is_some(),
        when.at.is_some(),
        !when.calendar.is_empty(),
        when.after.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        let message = "when needs exactly one of cron, every, rrule, at, calendar and after";
        return Err(invalid("spec.when", message));
    }
    if when.dialect != Dialect::Vixie && when.cron.is_none() {
        return Err(invalid("spec.when.dialect", "dialect is only for cron"));
    }
    if when.anchor.is_some() && when.every.is_none() {
        return Err(invalid("spec.when.anchor", "anchor is only for every"));
    }
    Ok(())
}

/// Of a text that has columns in it, the engine reads what becomes of it for each row.
fn check_action(action: &Action, has_columns: bool) -> Result<(), Refusal> {
    let given = [
        action.http.is_some(),
        action.grpc.is_some(),
        action.kubernetes_job.is_some(),
        action.pooled_pod.is_some(),
        action.task_queue.is_some(),
        action.workflow.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        let message = "action needs exactly one of http, grpc, kubernetesJob, pooledPod, taskQueue \
                       and workflow";
        return Err(invalid("spec.action", message));
    }
    if let Some(action) = &action.kubernetes_job {
        job::template(action)?;
    }
    if let Some(grpc) = &action.grpc {
        grpc.parts().map_err(|why| invalid("spec.action.grpc.method", &why))?;
        if !has_columns {
            grpc.check_body().map_err(|why| invalid("spec.action.grpc.body", &why))?;
        }
    }
    let Some(http) = &action.http else { return Ok(()) };
    if http.target.is_some() == http.url.is_some() {
        return Err(invalid("spec.action.http", "http needs exactly one of target and url"));
    }
    if http.path.is_some() && http.target.is_none() {
        return Err(invalid("spec.action.http.path", "path is only for a target"));
    }
    Ok(())
}

/// The values of the ConfigMaps, in the order of the spec.
fn exclusions(spec: &ScheduleSpec, inputs: &Referenced) -> Result<Vec<String>, Refusal> {
    let field = "spec.calendars.exclude";
    let mut texts = Vec::new();
    for map in &spec.calendars.exclude {
        let Some(found) = inputs.config_maps.get(&map.name) else {
            let message = format!("there is no ConfigMap {}", map.name);
            return Err(Refusal::field(Reason::RefNotFound, field, message));
        };
        texts.extend(found.values().cloned());
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    if bytes > EXCLUSIONS_BYTES_MAX {
        let message =
            format!("the calendars have {bytes} bytes, and {EXCLUSIONS_BYTES_MAX} are the most");
        return Err(invalid(field, &message));
    }
    Ok(texts)
}

/// What the ConfigMap of a template says. The engine reads it: what is wrong with it then leaves the jobs
/// as they were.
fn rows(template: &Template, inputs: &Referenced) -> Result<BTreeMap<String, String>, Refusal> {
    let name = &template.data_ref.name;
    let found = inputs.config_maps.get(name).cloned();
    found.ok_or_else(|| {
        let message = format!("there is no ConfigMap {name}");
        Refusal::field(Reason::RefNotFound, "spec.template.dataRef", message)
    })
}

fn invalid(field: &str, message: &str) -> Refusal {
    Refusal::field(Reason::InvalidSpec, field, message)
}

#[cfg(test)]
mod tests;
