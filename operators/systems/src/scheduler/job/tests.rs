//! Names of Jobs, templates that are taken or refused, and what a Job is made of.

use serde_json::json;

use super::*;

/// 2026-11-27T10:00:00Z.
const NOON: i64 = 1_795_773_600;

fn occasion() -> Occasion {
    Occasion { nominal_seconds: NOON, cause: Cause::Schedule, number: 17, attempt: 1 }
}

#[test]
fn names_are_those_of_a_cron_job_and_tell_the_runs_of_one_minute_apart() {
    let named = |change: &dyn Fn(&mut Occasion)| {
        let mut occasion = occasion();
        change(&mut occasion);
        name("invoices", &occasion)
    };
    assert_eq!(named(&|_| {}), "invoices-29929560");
    assert_eq!(named(&|o| o.nominal_seconds += 7), "invoices-29929560-7");
    assert_eq!(named(&|o| o.attempt = 2), "invoices-29929560-r2");
    assert_eq!(named(&|o| o.cause = Cause::Manual), "invoices-29929560-m17");
    assert_eq!(named(&|o| o.cause = Cause::Backfill), "invoices-29929560-b17");
    let all = named(&|o| {
        (o.nominal_seconds, o.cause, o.attempt) = (NOON + 59, Cause::Manual, 3);
    });
    assert_eq!(all, "invoices-29929560-59-m17-r3");
}

#[test]
fn long_names_are_cut_stay_distinct_and_keep_what_tells_the_run() {
    let (a, b) = (format!("{}a", "x.".repeat(60)), format!("{}b", "x.".repeat(60)));
    let (a, b) = (name(&a, &occasion()), name(&b, &occasion()));
    assert_ne!(a, b);
    for name in [&a, &b] {
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with("-29929560"), "{name}");
        assert!(!name.contains(".-"), "{name}");
    }
    // The longest name a CronJob may have.
    let longest = "c".repeat(52);
    assert_eq!(name(&longest, &occasion()), format!("{longest}-29929560"));
}

fn schedule(template: &Value, more: &Value) -> Schedule {
    let mut spec = json!({
        "when": {"cron": "0 11 * * *", "timeZone": "Europe/Paris"},
        "action": {"kubernetesJob": {"jobTemplate": template}},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut schedule = Schedule::new("invoices", serde_json::from_value(spec).unwrap());
    schedule.metadata.namespace = Some("shop".to_owned());
    schedule.metadata.uid = Some("u".to_owned());
    schedule
}

fn pods() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}})
}

#[test]
fn a_job_has_what_its_template_says_and_belongs_to_the_schedule() {
    let template = json!({
        "metadata": {"creationTimestamp": null, "labels": {"team": "billing"}, "annotations": {"x": "y"}},
        "spec": {"backoffLimit": 2, "template": pods()},
    });
    let job = job(&schedule(&template, &json!({"timeoutSeconds": 90})), &occasion()).unwrap();
    assert_eq!(job.metadata.name.as_deref(), Some("invoices-29929560"));
    assert_eq!(job.metadata.namespace.as_deref(), Some("shop"));
    assert_eq!(job.metadata.labels.unwrap()["team"], "billing");
    let annotations = job.metadata.annotations.unwrap();
    assert_eq!(annotations["x"], "y");
    assert_eq!(annotations[SCHEDULED_AT], "2026-11-27T11:00:00+01:00");
    let owner = &job.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Schedule", "u"));
    let spec = job.spec.unwrap();
    assert_eq!((spec.backoff_limit, spec.active_deadline_seconds), (Some(2), Some(90)));
}

#[test]
fn a_shorter_deadline_of_the_template_stays() {
    let template = json!({"spec": {"activeDeadlineSeconds": 30, "template": pods()}});
    let job = job(&schedule(&template, &json!({"timeoutSeconds": 90})), &occasion()).unwrap();
    assert_eq!(job.spec.unwrap().active_deadline_seconds, Some(30));
}

#[test]
fn what_no_job_can_be_made_of_is_refused_with_its_place() {
    let pod = |change: Value| {
        let mut template = json!({"spec": {"template": pods()}});
        let spec = template["spec"]["template"]["spec"].as_object_mut().unwrap();
        spec.extend(change.as_object().unwrap().clone());
        template
    };
    for (template, says) in [
        (json!({}), "names no container"),
        (json!({"spec": {"template": {"spec": {"containers": []}}}}), "names no container"),
        (json!({"spec": {"template": pods(), "paralelism": 2}}), "spec.paralelism"),
        (pod(json!({"restartPolicy": "Always"})), "OnFailure or Never"),
        (pod(json!({"containers": [{"name": "a", "imige": "b"}]})), "containers[0].imige"),
        (pod(json!({"tolerations": "all"})), "not a Job template"),
        (json!({"metadata": {"name": "a"}, "spec": {"template": pods()}}), "metadata.name"),
        (json!("a Job"), "not a Job template"),
    ] {
        let schedule = schedule(&template, &json!({}));
        let refusal = job(&schedule, &occasion()).unwrap_err();
        assert!(refusal.message.contains(says), "{template}: {refusal}");
        assert_eq!(refusal.field.as_deref(), Some(FIELD));
    }
}

#[test]
fn a_schedule_of_a_cron_job_makes_jobs_of_the_cron_job_and_leaves_it_the_history() {
    let template = json!({"spec": {"template": pods()}});
    let mut schedule = schedule(&template, &json!({}));
    assert_eq!(kept(&schedule), Some(Kept { succeeded: 3, failed: 1 }));
    let owner = OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: CRON_JOB.to_owned(),
        name: "invoices".to_owned(),
        uid: "c".to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    schedule.metadata.owner_references = Some(vec![owner]);
    let job = job(&schedule, &occasion()).unwrap();
    assert_eq!(job.metadata.owner_references.unwrap()[0].uid, "c");
    assert_eq!(kept(&schedule), None);
}
