//! The Job of a run: its name, and what it is made from.
//!
//! Must not: be asked by anybody but the operator for an object of its own cache; what it makes runs
//! with the rights of the object's namespace.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{Job, JobTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use orrery_api::Reason;
use orrery_api::scheduler::{KubernetesJobAction, Schedule};
use orrery_operand::v1::Cause;
use orrery_runtime::errands::seen::{CRON_JOB, SCHEDULED_AT};
use orrery_runtime::{Kept, Occasion, Refusal};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::pod_template::lost;

/// Where the template stands in a Schedule.
const FIELD: &str = "spec.action.kubernetesJob.jobTemplate";
/// Longest name of a Job, in bytes: it becomes the value of a label.
const NAME_BYTES_MAX: usize = 63;
/// Digits of the hash that a name has which was cut.
const HASH_DIGITS: usize = 8;

/// The name of the Job of a run: `<schedule>-<minutes since the epoch>`, as the Jobs of a CronJob have
/// it. What is not the only one of its minute has more behind it: its second, the number of a run that
/// somebody asked for, the attempt.
pub(super) fn name(schedule: &str, occasion: &Occasion) -> String {
    use std::fmt::Write as _;
    let nominal = occasion.nominal_seconds;
    let mut suffix = format!("-{}", nominal.div_euclid(60));
    let second = nominal.rem_euclid(60);
    // Writing into a text cannot fail.
    if second != 0 {
        _ = write!(suffix, "-{second}");
    }
    let letter = match occasion.cause {
        Cause::Unspecified | Cause::Schedule => None,
        Cause::Manual => Some('m'),
        Cause::Backfill => Some('b'),
        Cause::Dependency => Some('d'),
    };
    if let Some(letter) = letter {
        _ = write!(suffix, "-{letter}{}", occasion.number);
    }
    if occasion.attempt > 1 {
        _ = write!(suffix, "-r{}", occasion.attempt);
    }
    if schedule.len() + suffix.len() <= NAME_BYTES_MAX {
        return format!("{schedule}{suffix}");
    }
    let hash = Sha256::digest(schedule.as_bytes());
    let hash: String = hash.iter().take(HASH_DIGITS / 2).fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    });
    let room = NAME_BYTES_MAX.saturating_sub(suffix.len() + HASH_DIGITS + 1);
    let head = &schedule[..schedule.floor_char_boundary(room)];
    format!("{}-{hash}{suffix}", head.trim_end_matches(['-', '.']))
}

/// The template of an action, checked: what is unknown to Kubernetes is refused, never dropped.
pub(super) fn template(action: &KubernetesJobAction) -> Result<JobTemplateSpec, Refusal> {
    let refuse = |why: String| {
        Refusal::field(Reason::InvalidSpec, FIELD, format!("{FIELD} is not a Job template: {why}"))
    };
    let written = &action.job_template;
    let template: JobTemplateSpec =
        serde_json::from_value(written.clone()).map_err(|error| refuse(error.to_string()))?;
    let understood = serde_json::to_value(&template).map_err(|error| refuse(error.to_string()))?;
    if let Some(path) = lost(written, &understood, FIELD) {
        return Err(refuse(format!("{path} is not a known field")));
    }
    if let Some(field) = beyond_labels(written) {
        let why = format!(
            "{FIELD}.metadata.{field} has no meaning there: a Job gets labels and annotations of its \
             template, and its name from the Schedule"
        );
        return Err(refuse(why));
    }
    let pod = template.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let Some(pod) = pod.filter(|pod| !pod.containers.is_empty()) else {
        return Err(refuse("spec.template.spec.containers names no container".to_owned()));
    };
    match pod.restart_policy.as_deref() {
        Some("OnFailure" | "Never") => Ok(template),
        _ => Err(refuse("spec.template.spec.restartPolicy must be OnFailure or Never".to_owned())),
    }
}

/// The first field of the template's metadata that no Job gets.
fn beyond_labels(template: &Value) -> Option<&str> {
    let metadata = template.get("metadata")?.as_object()?;
    let is_other =
        |(key, value): &(&String, &Value)| !CARRIED.contains(&key.as_str()) && !value.is_null();
    metadata.iter().find(is_other).map(|(key, _)| key.as_str())
}

/// Fields of the template's metadata that the Jobs get.
pub(super) const CARRIED: [&str; 2] = ["labels", "annotations"];

/// The Job of a run.
pub(super) fn job(schedule: &Schedule, occasion: &Occasion) -> Result<Job, Refusal> {
    let Some(action) = &schedule.spec.action.kubernetes_job else {
        let why = "the Schedule makes no Jobs any more";
        return Err(Refusal::field(Reason::InvalidSpec, "spec.action", why));
    };
    let template = template(action)?;
    let given = template.metadata.unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_AT.to_owned(), scheduled_at(schedule, occasion.nominal_seconds));
    let mut spec = template.spec.unwrap_or_default();
    if let Some(timeout) = schedule.spec.timeout_seconds {
        let most = spec.active_deadline_seconds.map_or(timeout, |own| own.min(timeout));
        spec.active_deadline_seconds = Some(most);
    }
    let metadata = ObjectMeta {
        name: Some(name(schedule.metadata.name.as_deref().unwrap_or_default(), occasion)),
        namespace: schedule.metadata.namespace.clone(),
        labels: given.labels,
        annotations: Some(annotations),
        owner_references: Some(vec![owner(schedule)]),
        ..ObjectMeta::default()
    };
    Ok(Job { metadata, spec: Some(spec), status: None })
}

/// Whose the Jobs are: the CronJob's that the Schedule was made from, else the Schedule's.
fn owner(schedule: &Schedule) -> OwnerReference {
    if let Some(cron_job) = cron_job(schedule) {
        return cron_job.clone();
    }
    OwnerReference {
        api_version: Schedule::api_version(&()).into_owned(),
        kind: Schedule::kind(&()).into_owned(),
        name: schedule.metadata.name.clone().unwrap_or_default(),
        uid: schedule.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The CronJob that a Schedule was made from.
pub(super) fn cron_job(schedule: &Schedule) -> Option<&OwnerReference> {
    let owners = schedule.metadata.owner_references.iter().flatten();
    owners.into_iter().find(|owner| {
        owner.controller == Some(true)
            && owner.kind == CRON_JOB
            && owner.api_version.starts_with("batch/")
    })
}

/// The second of a run in the zone of the rule, as Kubernetes writes it.
fn scheduled_at(schedule: &Schedule, nominal_seconds: i64) -> String {
    let zone = TimeZone::get(&schedule.spec.when.time_zone).unwrap_or(TimeZone::UTC);
    let at = Timestamp::from_second(nominal_seconds).unwrap_or_default();
    let offset = zone.to_offset(at);
    if offset.is_zero() { at.to_string() } else { at.display_with_offset(offset).to_string() }
}

/// How many finished Jobs are kept; none where the CronJob says it.
pub(super) fn kept(schedule: &Schedule) -> Option<Kept> {
    let action = schedule.spec.action.kubernetes_job.as_ref()?;
    let count = |limit: i32| usize::try_from(limit).unwrap_or(0);
    cron_job(schedule).is_none().then(|| Kept {
        succeeded: count(action.successful_jobs_history_limit),
        failed: count(action.failed_jobs_history_limit),
    })
}

#[cfg(test)]
mod tests;
