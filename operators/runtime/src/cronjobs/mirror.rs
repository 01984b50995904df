//! The status of a CronJob whose Jobs are made here: what its own controller would write.
//!
//! That controller keeps books of the Jobs of suspended CronJobs as well: it takes finished ones out of
//! `status.active`, sets `lastSuccessfulTime` and obeys the history limits. What it cannot know is that
//! a Job was begun. A Job that it controls and that is not in `status.active` it warns of, so a Job is
//! made without a controller, written there, and only then given to the CronJob.
//! Source: kubernetes `pkg/controller/cronjob/cronjob_controllerv2.go`.
//!
//! Must not: write over what that controller wrote meanwhile; each write names the version it is for.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::errands::seen::{CRON_JOB, JobSeen};

/// Tries against another writer of the same status.
const TRIES: u32 = 5;

/// Makes a Job of a CronJob one that its controller does not see yet. It goes with the CronJob all the
/// same.
pub(crate) fn unlisted(job: &mut Job) {
    let owners = job.metadata.owner_references.iter_mut().flatten();
    owners.filter(|owner| owner.kind == CRON_JOB).for_each(|owner| owner.controller = None);
}

/// The CronJob that a Job is yet to be given to.
pub(crate) fn owner_to_be(job: &JobSeen) -> Option<&OwnerReference> {
    let mut owners = job.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.kind == CRON_JOB && owner.controller != Some(true))
}

/// Writes a Job that was begun into the status of its CronJob, and gives it to that one.
pub(crate) async fn began(
    client: Client,
    owner: &OwnerReference,
    job: &JobSeen,
    nominal_seconds: i64,
) -> kube::Result<()> {
    list(client.clone(), owner, job, nominal_seconds).await?;
    let owners = job.metadata.owner_references.iter().flatten().cloned().map(|mut owner| {
        owner.controller = owner.controller.or((owner.kind == CRON_JOB).then_some(true));
        owner
    });
    let patch = json!({
        "metadata": { "uid": job.metadata.uid, "ownerReferences": owners.collect::<Vec<_>>() },
    });
    let api: Api<JobSeen> = Api::namespaced(client, &job.namespace().unwrap_or_default());
    let params = PatchParams::default();
    match api.patch_metadata(&job.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        // It is gone, or another one by now.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn list(
    client: Client,
    owner: &OwnerReference,
    job: &JobSeen,
    nominal_seconds: i64,
) -> kube::Result<()> {
    let api: Api<CronJob> = Api::namespaced(client, &job.namespace().unwrap_or_default());
    let mut tries = 0;
    loop {
        let cron_job = api.get_opt(&owner.name).await?;
        let Some(cron_job) = cron_job.filter(|found| found.uid().as_ref() == Some(&owner.uid))
        else {
            return Ok(());
        };
        let Some(status) = change(&cron_job, job, nominal_seconds) else { return Ok(()) };
        let version = cron_job.metadata.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": status });
        let params = PatchParams::default();
        match api.patch_status(&owner.name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The fields that are to be otherwise; none when all is as it should be.
fn change(cron_job: &CronJob, job: &JobSeen, nominal_seconds: i64) -> Option<Value> {
    let status = cron_job.status.clone().unwrap_or_default();
    let nominal = Timestamp::from_second(nominal_seconds).ok()?;
    let last = status.last_schedule_time.as_ref().map(|time| time.0);
    let is_newer = last.is_none_or(|last| last < nominal);
    let mut active = status.active.unwrap_or_default();
    let is_listed = active.iter().any(|known| known.uid == job.metadata.uid);
    if !is_newer && is_listed {
        return None;
    }
    let mut fields = json!({});
    if is_newer {
        fields["lastScheduleTime"] = json!(nominal.to_string());
    }
    if !is_listed {
        active.push(ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            name: job.metadata.name.clone(),
            namespace: job.metadata.namespace.clone(),
            resource_version: job.metadata.resource_version.clone(),
            uid: job.metadata.uid.clone(),
            field_path: None,
        });
        fields["active"] = json!(active);
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> JobSeen {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": name}})).expect("a Job")
    }

    fn cron_job(status: &Value) -> CronJob {
        serde_json::from_value(json!({"metadata": {}, "status": status})).expect("a CronJob")
    }

    #[test]
    fn a_job_is_given_to_its_cron_job_and_to_nobody_else() {
        let owned = |kind: &str| {
            json!({"metadata": {"name": "a", "ownerReferences": [
                {"apiVersion": "x/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}
            ]}})
        };
        for (kind, is_given) in [(CRON_JOB, true), ("Schedule", false)] {
            let mut job: Job = serde_json::from_value(owned(kind)).expect("a Job");
            unlisted(&mut job);
            let owners = job.metadata.owner_references.as_ref().expect("an owner");
            assert_eq!(owners[0].controller, (!is_given).then_some(true));
            let seen = JobSeen { metadata: job.metadata, ..JobSeen::default() };
            assert_eq!(owner_to_be(&seen).is_some(), is_given);
        }
    }

    #[test]
    fn a_job_is_listed_once_and_the_last_time_never_falls() {
        let second = 1_795_773_600;
        let fields = change(&cron_job(&json!({})), &job("a"), second).expect("a change");
        assert_eq!(fields["lastScheduleTime"], "2026-11-27T10:00:00Z");
        assert_eq!(fields["active"][0]["name"], "a");
        let listed = json!({"lastScheduleTime": "2026-11-27T10:00:00Z",
            "active": [{"name": "a", "uid": "a"}]});
        assert_eq!(change(&cron_job(&listed), &job("a"), second), None);
        let older = change(&cron_job(&listed), &job("b"), second - 60).expect("it is not listed");
        assert_eq!(older.get("lastScheduleTime"), None);
        assert_eq!(older["active"].as_array().map(Vec::len), Some(2));
    }
}
