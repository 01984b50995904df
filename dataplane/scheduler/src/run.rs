//! A run: one launch of a job, from the record in the journal to its outcome.
//!
//! Must not: know how a target is reached, nor how a job is kept.

/// A run within its engine. Never used twice: numbers grow along the journal of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    pub partition: u16,
    pub number: u64,
}

impl RunId {
    /// The key of the run that its target sees, the same for all attempts and after a restart:
    /// `<engine>_<partition>_<number>`. Without dots, which ids of Standard Webhooks may not have.
    pub fn key(self, engine: &str) -> String {
        format!("{engine}_{}_{}", self.partition, self.number)
    }

    /// The run that a key names.
    pub fn of_key(key: &str) -> Option<Self> {
        let (rest, number) = key.rsplit_once('_')?;
        let (_, partition) = rest.rsplit_once('_')?;
        Some(Self { partition: partition.parse().ok()?, number: number.parse().ok()? })
    }
}

/// How an attempt of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target said that it is done.
    Succeeded { note: String },
    /// The target said no, or could not be reached: another attempt may do better.
    Failed { note: String },
    /// The target said no in a way that another attempt would not change.
    Refused { note: String },
    /// It did not answer in time: it may or may not have run.
    TimedOut { note: String },
    /// It was cancelled here before it was over.
    Cancelled,
    /// It was not sent within its starting deadline.
    Expired,
}

/// One attempt of a run, as it is handed over once its launch is durable.
#[derive(Debug, Clone)]
pub struct Call {
    pub run: RunId,
    /// 1 for the first.
    pub attempt: u32,
    /// Stable for all attempts of a run, for targets that tell doubles by it.
    pub key: std::sync::Arc<str>,
    /// Name of the job.
    pub job: std::sync::Arc<str>,
    /// Whose job it is; shares of a target are even between tenants.
    pub tenant: std::sync::Arc<str>,
    /// 0 is served last, 9 first.
    pub priority: u8,
    /// The second the rule named, UTC seconds since the Unix epoch.
    pub nominal: i64,
    /// When it was to be sent, milliseconds since the Unix epoch.
    pub planned_ms: i64,
    /// Not to be sent after this moment, milliseconds since the Unix epoch.
    pub expires_ms: Option<i64>,
    /// It was handed over by an earlier process, which may have sent it: ask first where one can ask.
    pub is_resumed: bool,
    pub action: std::sync::Arc<crate::dispatch::Action>,
}
