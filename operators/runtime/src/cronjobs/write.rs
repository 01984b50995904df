//! What is written into CronJobs: our fields of them, and their status.

use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::AdoptsCronJobs;
use super::adopt::{AdoptError, Adoption, MANAGER, failed};
use super::kind::{ADOPTED_BY, CronJobSeen, STOPPED_AT, SUSPEND};
use crate::errands::seen::CRON_JOB;
use crate::watch::key_of;

/// Fields of the status of a CronJob: the newest time it ran for, and when a run succeeded last.
const SCHEDULED: &str = "lastScheduleTime";
const SUCCEEDED: &str = "lastSuccessfulTime";

impl<D: AdoptsCronJobs> Adoption<D> {
    /// Takes our annotations away where somebody else has written over them.
    pub(super) async fn clean(&self, cron_job: &CronJobSeen) -> Result<(), AdoptError> {
        let key = key_of(cron_job);
        let api: Api<CronJobSeen> = Api::namespaced(self.ctx.client.clone(), &key.0);
        let ours = json!({ ADOPTED_BY: null, SUSPEND: null, STOPPED_AT: null });
        let patch = json!({
            "metadata": { "uid": cron_job.metadata.uid, "annotations": ours },
        });
        match api.patch_metadata(&key.1, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(failed("write", &key)(source)),
        }
    }

    /// Writes into the status of a CronJob as it was seen, and no other.
    pub(super) async fn show(
        &self,
        cron_job: &CronJobSeen,
        scheduled: Option<i64>,
        succeeded: Option<i64>,
    ) -> Result<(), AdoptError> {
        let key = key_of(cron_job);
        let mut status = json!({});
        for (field, second) in [(SCHEDULED, scheduled), (SUCCEEDED, succeeded)] {
            if let Some(at) = second.and_then(|second| Timestamp::from_second(second).ok()) {
                status[field] = json!(at.to_string());
            }
        }
        let api: Api<CronJobSeen> = Api::namespaced(self.ctx.client.clone(), &key.0);
        let patch = json!({
            "metadata": { "resourceVersion": cron_job.metadata.resource_version },
            "status": status,
        });
        let params = PatchParams::default();
        match api.patch_status(&key.1, &params, &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(source) => Err(failed("write the status of", &key)(source)),
        }
    }

    /// Suspends a CronJob as it was seen, and no other, and says since when.
    pub(super) async fn stop(
        &self,
        cron_job: &CronJobSeen,
        engine: &str,
        now: i64,
    ) -> Result<(), AdoptError> {
        let key = key_of(cron_job);
        let kept = cron_job.is_suspended().to_string();
        let since = Timestamp::from_second(now).unwrap_or_default().to_string();
        let annotations = json!({ ADOPTED_BY: engine, SUSPEND: kept, STOPPED_AT: since });
        let mut body = body(cron_job, &annotations, Some(true));
        body["metadata"]["resourceVersion"] = json!(cron_job.metadata.resource_version);
        let api: Api<CronJobSeen> = Api::namespaced(self.ctx.client.clone(), &key.0);
        let params = PatchParams::apply(MANAGER).force();
        match api.patch(&key.1, &params, &Patch::Apply(&body)).await {
            Ok(_) => Ok(()),
            // The watch brings what it is now.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                Ok(())
            }
            Err(source) => Err(failed("stop", &key)(source)),
        }
    }

    /// Writes our fields of a CronJob, and takes away those that are not among them.
    pub(super) async fn write(
        &self,
        cron_job: &CronJobSeen,
        annotations: &Value,
        suspend: Option<bool>,
    ) -> Result<(), AdoptError> {
        let key = key_of(cron_job);
        let body = body(cron_job, annotations, suspend);
        let api: Api<CronJobSeen> = Api::namespaced(self.ctx.client.clone(), &key.0);
        let params = PatchParams::apply(MANAGER).force();
        match api.patch(&key.1, &params, &Patch::Apply(&body)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(failed("write", &key)(source)),
        }
    }
}

/// Our fields of a CronJob.
fn body(cron_job: &CronJobSeen, annotations: &Value, suspend: Option<bool>) -> Value {
    let key = key_of(cron_job);
    let mut body = json!({
        "apiVersion": "batch/v1",
        "kind": CRON_JOB,
        "metadata": {
            "name": key.1,
            "namespace": key.0,
            "uid": cron_job.metadata.uid,
            "annotations": annotations,
        },
    });
    if let Some(suspend) = suspend {
        body["spec"] = json!({ "suspend": suspend });
    }
    body
}
