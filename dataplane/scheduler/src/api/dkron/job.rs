//! A job in the words of Dkron.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::NO_TIME;

/// Texts by name.
pub(super) type Texts = BTreeMap<String, String>;

/// A job as it is sent. Fields that are only read, and those that nobody knows, are passed over as
/// Dkron passes them over; `null` is the same as nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct JobSent {
    pub(super) name: String,
    pub(super) displayname: String,
    pub(super) schedule: String,
    pub(super) timezone: String,
    pub(super) owner: String,
    pub(super) owner_email: String,
    pub(super) disabled: bool,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) tags: Texts,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) metadata: Texts,
    pub(super) retries: u32,
    pub(super) parent_job: String,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) processors: Map<String, Value>,
    pub(super) concurrency: String,
    pub(super) executor: String,
    #[serde(deserialize_with = "or_nothing")]
    pub(super) executor_config: Texts,
    pub(super) ephemeral: bool,
    pub(super) starts_at: Option<String>,
    pub(super) expires_at: Option<String>,
}

fn or_nothing<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A job as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(super) struct JobShown {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) displayname: String,
    pub(super) timezone: String,
    pub(super) schedule: String,
    pub(super) owner: String,
    pub(super) owner_email: String,
    pub(super) success_count: u64,
    pub(super) error_count: u64,
    pub(super) last_success: Option<String>,
    pub(super) last_error: Option<String>,
    pub(super) disabled: bool,
    pub(super) tags: Texts,
    pub(super) metadata: Texts,
    pub(super) retries: u32,
    pub(super) dependent_jobs: Vec<String>,
    pub(super) parent_job: String,
    pub(super) processors: Map<String, Value>,
    pub(super) concurrency: &'static str,
    pub(super) executor: &'static str,
    pub(super) executor_config: Texts,
    pub(super) status: &'static str,
    pub(super) next: String,
    pub(super) ephemeral: bool,
    pub(super) starts_at: Option<String>,
    pub(super) expires_at: Option<String>,
}

/// What Dkron says of a job and this engine has no field for: kept in its note.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Extra {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) displayname: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) owner: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) owner_email: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: Texts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: Texts,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) processors: Map<String, Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) ephemeral: bool,
    /// The schedule, where it is not what the rule says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) schedule: String,
    /// It is disabled, where the rule is suspended anyway.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) disabled: bool,
}

/// What notes begin with that hold an [`Extra`].
const NOTE: &str = "dkron ";

impl Extra {
    /// As a note; none where there is nothing to note.
    pub(super) fn to_note(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok().filter(|_| *self != Self::default())?;
        Some(format!("{NOTE}{text}"))
    }

    /// Of a note, which may be anything.
    pub(super) fn of_note(note: Option<&str>) -> Self {
        let text = note.and_then(|note| note.strip_prefix(NOTE));
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Execution {
    pub(super) id: String,
    pub(super) job_name: String,
    pub(super) started_at: String,
    pub(super) finished_at: String,
    pub(super) success: bool,
    pub(super) output: String,
    pub(super) node_name: String,
    pub(super) group: i64,
    pub(super) attempt: u32,
    pub(super) output_truncated: bool,
}

impl Execution {
    /// Of a run that is known from the ledger.
    pub(super) fn of(run: crate::engine::RunRecord, node: &str) -> Self {
        Self {
            id: run.key,
            job_name: run.job,
            started_at: run.started,
            finished_at: run.finished.unwrap_or_else(|| NO_TIME.to_owned()),
            success: run.result == "Succeeded",
            output: run.note,
            node_name: node.to_owned(),
            group: 0,
            attempt: run.attempts,
            output_truncated: false,
        }
    }
}
