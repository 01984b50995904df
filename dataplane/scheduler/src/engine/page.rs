//! Entries of ledgers, one line of JSON each, a chunk at a time: a reader that is slow holds one chunk
//! and one file, however much there is to read.

use std::ops::ControlFlow;

use compact_str::CompactString;
use foldhash::HashMap;
use orrery_api::scheduler::AfterResult;
use serde::Serialize;

use super::details::{shown, shown_ms};
use super::{Engine, EngineError, Resolver};
use crate::ledger::{Entry, Fact, LedgerView};
use crate::run::RunId;

/// Bytes after which lines are handed on.
const CHUNK_BYTES: usize = 64 << 10;

/// One entry as a line.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'a> {
    pub at: String,
    pub entry: &'static str,
    /// Left out for entries of a job that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Run of another job whose end is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_run: Option<String>,
    /// Job whose runs are followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<&'a str>,
    /// Time zone that has other rules behind `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<&'a str>,
    /// Job that follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follower: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nominal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<String>,
    /// Behind this second, up to `until`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'a str>,
}

/// Keys of the runs of a partition.
struct Keys<'a> {
    resolver: &'a Resolver,
    partition: u16,
}

impl Keys<'_> {
    fn of(&self, number: u64) -> String {
        self.at(self.partition, number)
    }

    fn at(&self, partition: u16, number: u64) -> String {
        self.resolver.key(RunId { partition, number })
    }
}

impl<'a> Line<'a> {
    fn of(entry: &Entry<'a>, job: Option<&'a str>, keys: &Keys<'_>) -> Self {
        let line = Self { at: shown_ms(entry.at_ms), job, ..Self::default() };
        let noted = |note: &'a str| Some(note).filter(|note| !note.is_empty());
        match &entry.fact {
            Fact::Launched { run, revision, nominal, planned_ms, cause } => Self {
                entry: "Launched",
                run: Some(keys.of(*run)),
                revision: Some(*revision),
                nominal: Some(shown(*nominal)),
                planned: Some(shown_ms(*planned_ms)),
                cause: Some(cause.as_str()),
                ..line
            },
            Fact::Retried { run, attempt } => {
                Self { entry: "Retried", run: Some(keys.of(*run)), attempt: Some(*attempt), ..line }
            }
            Fact::AttemptFailed { run, attempt, ended, note } => Self {
                entry: "AttemptFailed",
                run: Some(keys.of(*run)),
                attempt: Some(*attempt),
                result: Some(ended.as_str()),
                note: noted(note),
                ..line
            },
            Fact::Ended { run, attempt, nominal, ended, note } => Self {
                entry: "Ended",
                run: Some(keys.of(*run)),
                attempt: Some(*attempt),
                nominal: Some(shown(*nominal)),
                result: Some(ended.as_str()),
                note: noted(note),
                ..line
            },
            Fact::Skipped { nominal, cause, reason } => Self {
                entry: "Skipped",
                nominal: Some(shown(*nominal)),
                cause: Some(cause.as_str()),
                reason: Some(reason.as_str()),
                ..line
            },
            Fact::SkippedRange { after, until, count, reason } => Self {
                entry: "SkippedRange",
                after: Some(shown(*after)),
                until: Some(shown(*until)),
                count: Some(*count),
                reason: Some(reason.as_str()),
                ..line
            },
            Fact::Period { put, until, .. } => Self {
                entry: "Period",
                job: Some(put.name),
                revision: Some(put.revision),
                after: Some(shown(put.after)),
                until: Some(shown(*until)),
                ..line
            },
            Fact::Overdue { run, nominal } => Self {
                entry: "Overdue",
                run: Some(keys.of(*run)),
                nominal: Some(shown(*nominal)),
                ..line
            },
            Fact::Follow { leader, follower, result, .. } => Self {
                entry: if result.is_some() { "Followed" } else { "Unfollowed" },
                leader: Some(leader),
                follower: Some(follower),
                result: result.map(AfterResult::as_str),
                ..line
            },
            Fact::Triggered { run, follower, nominal, .. } => Self {
                entry: "Triggered",
                run: Some(keys.of(*run)),
                follower: Some(follower),
                nominal: Some(shown(*nominal)),
                ..line
            },
            Fact::Rules { name, after, .. } => {
                Self { entry: "Rules", zone: Some(name), after: Some(shown(*after)), ..line }
            }
            Fact::Taken { source, run, nominal, .. } => Self {
                entry: "Taken",
                leader_run: Some(keys.at(*source, *run)),
                nominal: Some(shown(*nominal)),
                ..line
            },
        }
    }
}

/// Lines that are gathered until there are enough to hand on.
struct Chunk<F> {
    bytes: Vec<u8>,
    give: F,
}

impl<F: FnMut(Vec<u8>) -> ControlFlow<()>> Chunk<F> {
    /// Whether more is wanted.
    fn add(&mut self, line: &Line<'_>) -> bool {
        // Writing to memory does not fail, and the keys are strings.
        if serde_json::to_writer(&mut self.bytes, line).is_ok() {
            self.bytes.push(b'\n');
        }
        self.bytes.len() < CHUNK_BYTES || self.flush()
    }

    fn flush(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.bytes);
        bytes.is_empty() || (self.give)(bytes).is_continue()
    }
}

impl Engine {
    /// Writes the entries made from `from_ms` to `to_ms`, partition after partition, each in its order.
    /// `give` takes a chunk of whole lines and says whether more is wanted.
    pub async fn ledger<F>(&self, from_ms: i64, to_ms: i64, give: F) -> Result<(), EngineError>
    where
        F: FnMut(Vec<u8>) -> ControlFlow<()> + Send + 'static,
    {
        let mut chunk = Chunk { bytes: vec![], give };
        for handle in self.handles() {
            let seen = handle.look(|state, ledger| {
                let names = state.jobs().map(|job| (job.id, job.name.clone()));
                (names.collect::<HashMap<u64, CompactString>>(), ledger.clone())
            });
            let (names, ledger): (_, LedgerView) = seen.await?;
            let (resolver, partition) = (std::sync::Arc::clone(&self.resolver), handle.partition);
            let read = tokio::task::spawn_blocking(move || {
                let keys = Keys { resolver: &resolver, partition };
                let mut is_wanted = true;
                ledger.scan(from_ms, |_, entry| {
                    if entry.at_ms > to_ms || entry.at_ms < from_ms {
                        // Clocks step: what follows may lie within again.
                        return true;
                    }
                    let job = names.get(&entry.job).map(|name| &**name);
                    is_wanted = chunk.add(&Line::of(&entry, job, &keys));
                    is_wanted
                })?;
                Ok::<_, EngineError>((chunk, is_wanted))
            });
            let (read, is_wanted) = read.await??;
            chunk = read;
            if !is_wanted {
                return Ok(());
            }
        }
        tokio::task::spawn_blocking(move || chunk.flush()).await?;
        Ok(())
    }

    /// The entries of a job, the newest first, as lines.
    pub async fn ledger_of(&self, name: &str, limit: usize) -> Result<Vec<u8>, EngineError> {
        let (chain, ledger) = self.chain(name).await?;
        let (resolver, name, partition) =
            (std::sync::Arc::clone(&self.resolver), name.to_owned(), self.partition_of(name));
        let read = tokio::task::spawn_blocking(move || {
            let keys = Keys { resolver: &resolver, partition };
            let mut bytes = vec![];
            let mut lines = 0;
            ledger.follow(chain, |_, entry| {
                let line = Line::of(&entry, Some(&name), &keys);
                if serde_json::to_writer(&mut bytes, &line).is_ok() {
                    bytes.push(b'\n');
                }
                lines += 1;
                lines < limit
            })?;
            Ok(bytes)
        });
        read.await?
    }
}
