//! A Job as far as this operator looks at it: who it is of, and how it is. Its pods' template is not
//! kept.
//!
//! Must not: be written. Jobs are made from the typed object.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use orrery_operand::v1::Errand;
use serde::{Deserialize, Serialize};

use crate::children::store::controller_of;
use crate::labels;

/// Kind of the objects that CronJobs are.
pub const CRON_JOB: &str = "CronJob";
/// Annotation of Kubernetes on Jobs of CronJobs: the second they are for, in RFC 3339.
pub const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSeen {
    pub metadata: ObjectMeta,
    pub status: JobStatusSeen,
}

/// The part of a Job's status that is looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatusSeen {
    pub conditions: Vec<ConditionSeen>,
    pub start_time: Option<Time>,
}

/// One condition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConditionSeen {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
}

/// How a Job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    Runs,
    Succeeded,
    /// With the reason and the message of its condition.
    Failed(String),
}

impl Resource for JobSeen {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Job".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "batch".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "jobs".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl JobSeen {
    /// How it is.
    pub fn stands(&self) -> Stands {
        let is = |type_: &str| {
            let conditions = self.status.conditions.iter();
            conditions.into_iter().find(|c| c.type_ == type_ && c.status == "True")
        };
        if is("Complete").is_some() {
            return Stands::Succeeded;
        }
        match is("Failed") {
            None => Stands::Runs,
            Some(failed) => {
                let reason = failed.reason.as_deref().unwrap_or("Failed");
                let message = failed.message.as_deref().unwrap_or_default();
                Stands::Failed(format!("{reason}: {message}"))
            }
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.stands() != Stands::Runs
    }

    /// Whether it is being deleted.
    pub fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Key and attempt of the errand it was made for; none of Jobs that others made.
    pub fn errand(&self) -> Option<(&str, u32)> {
        let key = self.annotation(labels::RUN_KEY)?;
        Some((key, self.annotation(labels::ATTEMPT)?.parse().ok()?))
    }

    /// Whether it was made for this errand.
    pub fn is_of(&self, errand: &Errand) -> bool {
        self.errand() == Some((errand.key.as_str(), errand.attempt))
    }

    /// UID of the CronJob that made it, or that it was made for.
    pub fn cron_job_uid(&self) -> Option<&str> {
        let owner = controller_of(&self.metadata)?;
        (owner.kind == CRON_JOB).then_some(owner.uid.as_str())
    }

    /// The second it is for, of Jobs of CronJobs.
    pub fn scheduled_at(&self) -> Option<i64> {
        let at: jiff::Timestamp = self.annotation(SCHEDULED_AT)?.parse().ok()?;
        Some(at.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(conditions: &serde_json::Value) -> JobSeen {
        let value = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"},
            "spec": {"template": {}}, "status": {"conditions": conditions, "active": 1},
        });
        serde_json::from_value(value).expect("a Job")
    }

    #[test]
    fn a_job_is_over_when_a_condition_says_so_and_not_before() {
        assert_eq!(job(&json!([])).stands(), Stands::Runs);
        // Criteria are met, pods are still ending.
        let met = json!([{"type": "SuccessCriteriaMet", "status": "True"}]);
        assert_eq!(job(&met).stands(), Stands::Runs);
        let done =
            json!([{"type": "Failed", "status": "False"}, {"type": "Complete", "status": "True"}]);
        assert_eq!(job(&done).stands(), Stands::Succeeded);
        let failed = json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded",
            "message": "Job was active longer than specified deadline"}]);
        let Stands::Failed(why) = job(&failed).stands() else { panic!("it failed") };
        assert!(why.starts_with("DeadlineExceeded: Job was active"), "{why}");
    }

    #[test]
    fn the_second_of_a_job_is_read_in_any_zone() {
        let mut job = job(&json!([]));
        let at = |text: &str| [(SCHEDULED_AT.to_owned(), text.to_owned())].into();
        job.metadata.annotations = Some(at("2026-11-27T11:00:00+01:00"));
        assert_eq!(job.scheduled_at(), Some(1_795_773_600));
        job.metadata.annotations = Some(at("soon"));
        assert_eq!(job.scheduled_at(), None);
    }
}
