//! What a CronJob says, as a Schedule.
//!
//! Must not: refuse anything. What a Schedule cannot say in the CronJob's place is refused where every
//! Schedule is, and the CronJob then stays with its own controller.

use orrery_api::scheduler::{
    Action, CatchUp, CatchUpPolicy, Concurrency, Dst, KubernetesJobAction, Schedule, ScheduleSpec,
    When, action, when,
};
use orrery_api::spec::LocalRef;
use orrery_runtime::cronjobs::CronJobSeen;
use serde_json::Value;

use super::job::CARRIED;

/// Longest time that a Schedule looks back, in seconds: a year.
const LOOK_BACK_SECONDS_MAX: i64 = 31_536_000;

/// The Schedule that does what a CronJob does.
pub(super) fn schedule(cron_job: &CronJobSeen, engine: &str, suspend: bool) -> Schedule {
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

    #[test]
    fn a_cron_job_becomes_a_schedule_that_is_taken() {
        let schedule = schedule(&cron_job(&json!({})), "default", false);
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
        let spec = schedule(&cron_job(&more), "a", true).spec;
        assert_eq!((spec.when.time_zone.as_str(), spec.suspend), ("Europe/Paris", true));
        assert_eq!(
            (spec.concurrency, spec.starting_deadline_seconds),
            (Concurrency::Forbid, Some(200))
        );
        assert_eq!(spec.catch_up.unwrap().max_seconds, Some(200));
        let replace =
            cron_job(&json!({"concurrencyPolicy": "Replace", "startingDeadlineSeconds": 0}));
        let spec = schedule(&replace, "a", false).spec;
        assert_eq!(
            (spec.concurrency, spec.starting_deadline_seconds),
            (Concurrency::Replace, Some(1))
        );
    }

    #[test]
    fn a_field_that_this_release_does_not_know_is_refused_and_not_dropped() {
        let mut newer = cron_job(&json!({}));
        newer.spec.job_template["spec"]["newField"] = json!(1);
        let schedule = schedule(&newer, "default", false);
        let refusal = Schedules::validate(&schedule, &[&schedule], &Referenced::default());
        assert!(refusal.unwrap_err().message.contains("newField"));
    }
}
