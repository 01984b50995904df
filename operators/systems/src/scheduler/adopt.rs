//! What a CronJob says, as a Schedule.
//!
//! What a Schedule cannot say in the CronJob's place is refused where every Schedule is, and the CronJob
//! then stays with its own controller. Must not: refuse anything beside, but what a pool cannot run.

mod pooled;

use orrery_api::scheduler::{
    Action, CatchUp, CatchUpPolicy, Concurrency, Dst, HttpAction, KubernetesJobAction, Schedule,
    ScheduleSpec, Scheduler, When, action, when,
};
use orrery_api::spec::{LocalRef, Moment};
use orrery_runtime::cronjobs::{CronJobSeen, kind};
use serde_json::Value;

use super::job::CARRIED;

/// Longest time that a Schedule looks back, in seconds: a year.
const LOOK_BACK_SECONDS_MAX: i64 = 31_536_000;

/// What the Schedule calls that is told to end and was refused. It fires no more, and nobody has that name.
const NOWHERE: &str = "http://given-back.invalid/";
/// Its rule: some time far away.
const RARELY: &str = "0 0 1 1 *";

/// The Schedule that does what a CronJob does; a sentence where a pool cannot run it.
pub(super) fn schedule(
    cron_job: &CronJobSeen,
    engine: &Scheduler,
    suspend: bool,
) -> Result<Schedule, String> {
    let name = engine.metadata.name.as_deref().unwrap_or_default();
    let mut schedule = with_jobs(cron_job, name, suspend);
    if let Some(asked) = cron_job.annotation(kind::POOL) {
        let pool = engine.spec.pools.iter().find(|pool| pool.name == asked);
        let pool = pool.ok_or_else(|| format!("Scheduler {name} has no pool {asked}"))?;
        let pooled = pooled::pooled(&cron_job.spec.job_template, pool)?;
        let spec = &mut schedule.spec;
        spec.action = Action { pooled_pod: Some(pooled.action), ..Action::default() };
        (spec.retry, spec.timeout_seconds) = (pooled.retry, pooled.timeout_seconds);
    }
    Ok(schedule)
}

/// A Schedule that fires no more behind a second. Its engine would not take one that it refuses, and goes on
/// with what it has: to that it is told something that it takes.
pub(super) fn ending(schedule: &Schedule, until: i64, is_refused: bool) -> Schedule {
    let mut ending = schedule.clone();
    let spec = &mut ending.spec;
    if is_refused {
        let time_zone = when::TIME_ZONE_DEFAULT.to_owned();
        spec.when = When { cron: Some(RARELY.to_owned()), time_zone, ..When::default() };
        let http = HttpAction { url: Some(NOWHERE.to_owned()), ..HttpAction::default() };
        spec.action = Action { http: Some(http), ..Action::default() };
    }
    spec.end = Moment::from_microseconds(until.saturating_mul(1_000_000));
    ending
}

fn with_jobs(cron_job: &CronJobSeen, engine: &str, suspend: bool) -> Schedule {
    let spec = &cron_job.spec;
    let deadline =
        spec.starting_deadline_seconds.map(|deadline| deadline.clamp(1, LOOK_BACK_SECONDS_MAX));
    let concurrency = match spec.concurrency_policy.as_deref() {
        Some("Forbid") => Concurrency::Forbid,
        Some("Replace") => Concurrency::Replace,
        _ => Concurrency::Allow,
    };
    // Where none is named, its controller reads the rule in a zone of its own, which is UTC.
    let time_zone = spec.time_zone.clone().unwrap_or_else(|| when::TIME_ZONE_DEFAULT.to_owned());
    let action = KubernetesJobAction {
        job_template: template(&spec.job_template),
        // The CronJob keeps them.
        successful_jobs_history_limit: action::SUCCESSFUL_JOBS_DEFAULT,
        failed_jobs_history_limit: action::FAILED_JOBS_DEFAULT,
    };
    let spec = ScheduleSpec {
        scheduler_ref: Some(LocalRef { name: engine.to_owned() }),
        // As its controller: a time that does not exist is left out, one that comes twice runs twice.
        dst: Dst::SkipMissingRunRepeatedTwice,
        concurrency,
        // Of runs that were missed the newest, however long ago, within the deadline.
        catch_up: Some(CatchUp {
            policy: CatchUpPolicy::FireOnce,
            max_runs: None,
            max_seconds: Some(deadline.unwrap_or(LOOK_BACK_SECONDS_MAX)),
        }),
        starting_deadline_seconds: deadline,
        suspend,
        ..ScheduleSpec::new(
            When { cron: Some(spec.schedule.clone()), time_zone, ..When::default() },
            Action { kubernetes_job: Some(action), ..Action::default() },
        )
    };
    Schedule::new(cron_job.metadata.name.as_deref().unwrap_or_default(), spec)
}

/// The template as the Schedule has it: of its metadata what Jobs get, and nothing that is null.
fn template(written: &Value) -> Value {
    let mut template = without_nulls(written);
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| CARRIED.contains(&key.as_str()));
    }
    template
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use orrery_runtime::{Declared as _, Referenced};
    use serde_json::json;

    use super::super::Schedules;
    use super::*;

    fn cron_job(more: &Value) -> CronJobSeen {
        let pods = json!({
            "metadata": {"creationTimestamp": null},
            "spec": {"restartPolicy": "OnFailure", "containers": [
                {"name": "a", "image": "b", "args": ["x"], "resources": {}}
            ]},
        });
        let mut spec = json!({
            "schedule": "*/5 * * * *",
            "jobTemplate": {
                "metadata": {"creationTimestamp": null, "name": "ignored", "labels": {"a": "b"}},
                "spec": {"template": pods},
            },
            "successfulJobsHistoryLimit": 9,
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let value = json!({"metadata": {"name": "report", "uid": "c"}, "spec": spec});
        serde_json::from_value(value).unwrap()
    }

    fn engine(name: &str) -> Scheduler {
        let spec = json!({"pools": [{"name": "tools", "image": "b", "size": 1}]});
        Scheduler::new(name, serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn with_a_pool_its_command_runs_in_a_pod_of_it() {
        let mut cron_job =
            cron_job(&json!({"concurrencyPolicy": "Forbid", "timeZone": "Asia/Tokyo"}));
        cron_job.metadata.annotations = Some([(kind::POOL.to_owned(), "tools".to_owned())].into());
        let no_command = schedule(&cron_job, &engine("default"), false).unwrap_err();
        assert!(no_command.contains("no command"), "{no_command}");
        let template = &mut cron_job.spec.job_template["spec"]["template"]["spec"];
        template["containers"][0]["command"] = json!(["run"]);
        let schedule = schedule(&cron_job, &engine("default"), true).unwrap();
        let spec = &schedule.spec;
        let action = spec.action.pooled_pod.as_ref().unwrap();
        assert_eq!((action.pool.as_str(), &action.command[..]), ("tools", &["run".to_owned()][..]));
        assert_eq!((spec.concurrency, spec.suspend), (Concurrency::Forbid, true));
        assert_eq!((spec.when.time_zone.as_str(), spec.retry.max_attempts), ("Asia/Tokyo", 7));
        Schedules::validate(&schedule, &[&schedule], &Referenced::default()).unwrap();
        let stored: Schedule =
            serde_json::from_value(serde_json::to_value(&schedule).unwrap()).unwrap();
        assert_eq!(stored.spec, schedule.spec, "what is stored reads back as what is wanted");

        cron_job.metadata.annotations = Some([(kind::POOL.to_owned(), "tolls".to_owned())].into());
        let missing = super::schedule(&cron_job, &engine("default"), false).unwrap_err();
        assert_eq!(missing, "Scheduler default has no pool tolls");
    }

    #[test]
    fn what_is_told_to_end_is_taken_whatever_it_said() {
        let mut broken = schedule(&cron_job(&json!({})), &engine("default"), false).unwrap();
        broken.spec.when.cron = Some("never".to_owned());
        for (is_refused, cron) in [(false, "never"), (true, RARELY)] {
            let ending = ending(&broken, 1_795_773_600, is_refused);
            assert_eq!(ending.spec.when.cron.as_deref(), Some(cron));
            let end = ending.spec.end.map(|end| end.to_string());
            assert_eq!(end.as_deref(), Some("2026-11-27T10:00:00Z"));
            assert_eq!(ending.spec.scheduler_ref, broken.spec.scheduler_ref);
            Schedules::validate(&ending, &[&ending], &Referenced::default()).unwrap();
        }
    }

    #[test]
    fn a_cron_job_becomes_a_schedule_that_is_taken() {
        let schedule = schedule(&cron_job(&json!({})), &engine("default"), false).unwrap();
        let spec = &schedule.spec;
        assert_eq!(schedule.metadata.name.as_deref(), Some("report"));
        assert_eq!(spec.scheduler_ref.as_ref().map(|s| s.name.as_str()), Some("default"));
        assert_eq!(spec.when.cron.as_deref(), Some("*/5 * * * *"));
        assert_eq!((spec.when.time_zone.as_str(), spec.suspend), ("Etc/UTC", false));
        assert_eq!((spec.concurrency, spec.starting_deadline_seconds), (Concurrency::Allow, None));
        assert_eq!(spec.retry.max_attempts, 1);
        let template = &spec.action.kubernetes_job.as_ref().unwrap().job_template;
        assert_eq!(template["metadata"], json!({"labels": {"a": "b"}}));
        let pod = &template["spec"]["template"];
        assert_eq!(
            (&pod["metadata"], &pod["spec"]["restartPolicy"]),
            (&json!({}), &"OnFailure".into())
        );
        Schedules::validate(&schedule, &[&schedule], &Referenced::default()).unwrap();
        let stored: Schedule =
            serde_json::from_value(serde_json::to_value(&schedule).unwrap()).unwrap();
        assert_eq!(stored.spec, schedule.spec, "what is stored reads back as what is wanted");
    }

    #[test]
    fn every_policy_of_a_cron_job_is_carried_over() {
        let more = json!({"timeZone": "Europe/Paris", "startingDeadlineSeconds": 200,
            "concurrencyPolicy": "Forbid"});
        let spec = schedule(&cron_job(&more), &engine("a"), true).unwrap().spec;
        assert_eq!((spec.when.time_zone.as_str(), spec.suspend), ("Europe/Paris", true));
        assert_eq!(
            (spec.concurrency, spec.starting_deadline_seconds),
            (Concurrency::Forbid, Some(200))
        );
        assert_eq!(spec.catch_up.unwrap().max_seconds, Some(200));
        let replace =
            cron_job(&json!({"concurrencyPolicy": "Replace", "startingDeadlineSeconds": 0}));
        let spec = schedule(&replace, &engine("a"), false).unwrap().spec;
        assert_eq!(
            (spec.concurrency, spec.starting_deadline_seconds),
            (Concurrency::Replace, Some(1))
        );
    }

    #[test]
    fn a_field_that_this_release_does_not_know_is_refused_and_not_dropped() {
        let mut newer = cron_job(&json!({}));
        newer.spec.job_template["spec"]["newField"] = json!(1);
        let schedule = schedule(&newer, &engine("default"), false).unwrap();
        let refusal = Schedules::validate(&schedule, &[&schedule], &Referenced::default());
        assert!(refusal.unwrap_err().message.contains("newField"));
    }
}
