//! A CronJob as far as this operator looks at it. Its template is kept as it was written, so that a
//! field that this release does not know is noticed and not dropped.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Annotation of the user: name of the engine that is to take the CronJob over; `true` means the one
/// called `default`, `false` none.
pub const ADOPT: &str = "orrery.dev/adopt";
/// Annotation while it is adopted: by which engine.
pub const ADOPTED_BY: &str = "orrery.dev/adopted-by";
/// Annotation while it is adopted: `true` or `false`, what `spec.suspend` was and will be. The user's
/// switch meanwhile.
pub const SUSPEND: &str = "orrery.dev/suspend";

/// Annotation of the user: name of the pool in whose pods its command is to run, and no Job is made.
pub const POOL: &str = "orrery.dev/pool";
/// Annotation while it is handed over without Jobs: since when its controller rests, in RFC 3339.
pub const STOPPED_AT: &str = "orrery.dev/stopped-at";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobSeen {
    pub metadata: ObjectMeta,
    pub spec: CronJobSpecSeen,
    pub status: CronJobStatusSeen,
}

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobSpecSeen {
    pub schedule: String,
    pub time_zone: Option<String>,
    pub starting_deadline_seconds: Option<i64>,
    pub concurrency_policy: Option<String>,
    pub suspend: Option<bool>,
    pub job_template: Value,
}

/// How it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobStatusSeen {
    pub active: Vec<ObjectReference>,
    pub last_schedule_time: Option<Time>,
    pub last_successful_time: Option<Time>,
}

impl Resource for CronJobSeen {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "CronJob".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "batch".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "cronjobs".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl CronJobSeen {
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// The engine that adopted it.
    pub fn adopted_by(&self) -> Option<&str> {
        self.annotation(ADOPTED_BY)
    }

    /// Since when its controller rests and nobody has begun in its place, in seconds since the epoch.
    pub fn stopped_at(&self) -> Option<i64> {
        let at: jiff::Timestamp = self.annotation(STOPPED_AT)?.parse().ok()?;
        Some(at.as_second())
    }

    /// Its newest time that has a Job, in seconds since the epoch.
    pub fn last_scheduled(&self) -> Option<i64> {
        self.status.last_schedule_time.as_ref().map(|time| time.0.as_second())
    }

    /// The last second of which its own controller knows that nothing is to be done, as it counts: from
    /// its last time, or since it is there.
    pub fn settled(&self) -> Option<i64> {
        let created = self.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
        self.last_scheduled().max(created)
    }

    /// Whether its runs may go on side by side.
    pub fn may_overlap(&self) -> bool {
        self.spec.concurrency_policy.as_deref().is_none_or(|policy| policy == "Allow")
    }

    /// Why it cannot be adopted now: its own controller knows nothing of runs of ours before they are
    /// there, nor we of its.
    pub fn is_busy(&self) -> Option<&'static str> {
        let is_busy = !self.may_overlap() && !self.status.active.is_empty();
        is_busy.then_some(
            "it is adopted when its Jobs are over, which its concurrencyPolicy does not let others \
             run beside",
        )
    }

    /// Whether the user wants it to fire now.
    pub fn is_suspended(&self) -> bool {
        // A user who writes `suspend: false` over ours wants it to go on.
        let is_ours = self.adopted_by().is_some() && self.spec.suspend == Some(true);
        match self.annotation(SUSPEND) {
            Some(kept) if is_ours => kept == "true",
            _ => self.spec.suspend == Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cron_job(annotations: &Value, suspend: &Value) -> CronJobSeen {
        let value = json!({
            "metadata": {"name": "a", "annotations": annotations},
            "spec": {"schedule": "* * * * *", "suspend": suspend},
        });
        serde_json::from_value(value).expect("a CronJob")
    }

    #[test]
    fn what_the_user_wants_is_in_the_annotation_while_the_field_is_ours() {
        let adopted = |kept: &str| json!({ADOPTED_BY: "default", SUSPEND: kept});
        for (annotations, suspend, expected) in [
            (json!({}), json!(null), false),
            (json!({}), json!(true), true),
            (adopted("false"), json!(true), false),
            (adopted("true"), json!(true), true),
            // Set by the user, over ours.
            (adopted("true"), json!(false), false),
            (adopted("false"), json!(false), false),
            // Of somebody else's making.
            (json!({SUSPEND: "false"}), json!(true), true),
        ] {
            let cron_job = cron_job(&annotations, &suspend);
            assert_eq!(cron_job.is_suspended(), expected, "{annotations} {suspend}");
        }
    }
}
