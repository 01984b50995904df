//! One entry of the ledger: what was decided about a second, or what became of a run.
//!
//! In the file: length of the body (4 bytes, little endian), CRC32C of the body, body. The body begins
//! with the kind, the time, the job, and how many bytes before this entry the one before of the same
//! job begins (0: none), so that the runs of one job are found without an index.

use orrery_api::scheduler::AfterResult;

use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::machine::effect::{Cause, Ended, Pause, Put, SkipReason, put_result, read_result};

/// Bytes before the body.
pub const HEADER_BYTES: usize = 8;
/// The longest body: a definition with its exclusions and its body fit.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// What an entry says, beside when and of which job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact<'a> {
    Launched {
        run: u64,
        revision: u32,
        nominal: i64,
        planned_ms: i64,
        cause: Cause,
    },
    Retried {
        run: u64,
        attempt: u32,
    },
    AttemptFailed {
        run: u64,
        attempt: u32,
        ended: Ended,
        note: &'a str,
    },
    Ended {
        run: u64,
        attempt: u32,
        nominal: i64,
        ended: Ended,
        note: &'a str,
    },
    Skipped {
        nominal: i64,
        cause: Cause,
        reason: SkipReason,
    },
    SkippedRange {
        after: i64,
        until: i64,
        count: u64,
        reason: SkipReason,
    },
    /// What the job was from `put.after` to `until`, written when it ended to be so.
    Period {
        put: Put<'a>,
        until: i64,
        pause: Pause,
    },
    Overdue {
        run: u64,
        nominal: i64,
    },
    /// Since then `follower` is told of runs of `leader` that end so, and was of others before; none:
    /// of no runs.
    Follow {
        leader: &'a str,
        follower: &'a str,
        before: Option<AfterResult>,
        result: Option<AfterResult>,
    },
    /// A run of the job ended, and `follower` is to be told.
    Triggered {
        run: u64,
        sequence: u64,
        follower: &'a str,
        nominal: i64,
    },
    /// Jobs of a time zone, of no job alone, are under other rules behind `after`.
    Rules {
        name: &'a str,
        from: u32,
        to: u32,
        after: i64,
    },
    /// The job was told that a `run` of partition `source` ended; of no job: it was no longer there.
    Taken {
        source: u16,
        sequence: u64,
        run: u64,
        nominal: i64,
    },
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    pub at_ms: i64,
    pub job: u64,
    /// Where the entry before of the same job begins; none for its first.
    pub before: Option<u64>,
    pub fact: Fact<'a>,
}

impl Entry<'_> {
    /// Appends the entry, which begins at `offset` of the ledger.
    pub fn encode(&self, offset: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        out.push(self.fact.kind());
        put_i64(out, self.at_ms);
        put_u64(out, self.job);
        put_u64(out, self.before.map_or(0, |before| offset - before));
        self.fact.encode(out);
        let body = &out[start + HEADER_BYTES..];
        let (length, crc) = (body.len() as u32, crc32c::crc32c(body));
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the body of the entry that begins at `offset`.
    pub fn decode(offset: u64, body: &[u8]) -> Result<Entry<'_>, Malformed> {
        let mut from = Reader::new(body);
        let kind = from.u8("entry")?;
        let (at_ms, job) = (from.i64("entry")?, from.u64("entry")?);
        let before = match from.u64("entry")? {
            0 => None,
            back => Some(offset.checked_sub(back).ok_or(Malformed { what: "chain" })?),
        };
        Ok(Entry { at_ms, job, before, fact: Fact::decode(kind, &mut from)? })
    }
}

impl Fact<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Launched { .. } => 1,
            Self::Retried { .. } => 2,
            Self::AttemptFailed { .. } => 3,
            Self::Ended { .. } => 4,
            Self::Skipped { .. } => 5,
            Self::SkippedRange { .. } => 6,
            Self::Period { .. } => 7,
            Self::Overdue { .. } => 8,
            Self::Follow { .. } => 9,
            Self::Triggered { .. } => 10,
            Self::Taken { .. } => 11,
            Self::Rules { .. } => 12,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Launched { run, revision, nominal, planned_ms, cause } => {
                put_u64(out, *run);
                put_u64(out, u64::from(*revision));
                put_i64(out, *nominal);
                put_i64(out, *planned_ms - *nominal * 1000);
                out.push(*cause as u8);
            }
            Self::Retried { run, attempt } => {
                put_u64(out, *run);
                put_u64(out, u64::from(*attempt));
            }
            Self::AttemptFailed { run, attempt, ended, note } => {
                put_u64(out, *run);
                put_u64(out, u64::from(*attempt));
                out.push(*ended as u8);
                put_bytes(out, note.as_bytes());
            }
            Self::Ended { run, attempt, nominal, ended, note } => {
                put_u64(out, *run);
                put_u64(out, u64::from(*attempt));
                put_i64(out, *nominal);
                out.push(*ended as u8);
                put_bytes(out, note.as_bytes());
            }
            Self::Skipped { nominal, cause, reason } => {
                put_i64(out, *nominal);
                out.push(*cause as u8);
                out.push(*reason as u8);
            }
            Self::SkippedRange { after, until, count, reason } => {
                put_i64(out, *after);
                put_i64(out, *until);
                put_u64(out, *count);
                out.push(*reason as u8);
            }
            Self::Period { put, until, pause } => {
                put.encode(out);
                put_i64(out, *until);
                out.push(*pause as u8);
            }
            Self::Overdue { run, nominal } => {
                put_u64(out, *run);
                put_i64(out, *nominal);
            }
            Self::Follow { leader, follower, before, result } => {
                put_bytes(out, leader.as_bytes());
                put_bytes(out, follower.as_bytes());
                put_result(out, *before);
                put_result(out, *result);
            }
            Self::Triggered { run, sequence, follower, nominal } => {
                put_u64(out, *run);
                put_u64(out, *sequence);
                put_bytes(out, follower.as_bytes());
                put_i64(out, *nominal);
            }
            Self::Rules { name, from, to, after } => {
                put_bytes(out, name.as_bytes());
                put_u64(out, u64::from(*from));
                put_u64(out, u64::from(*to));
                put_i64(out, *after);
            }
            Self::Taken { source, sequence, run, nominal } => {
                put_u64(out, u64::from(*source));
                put_u64(out, *sequence);
                put_u64(out, *run);
                put_i64(out, *nominal);
            }
        }
    }

    fn decode<'a>(kind: u8, from: &mut Reader<'a>) -> Result<Fact<'a>, Malformed> {
        Ok(match kind {
            1 => {
                let (run, revision) = (from.u64("launch")?, from.u32("launch")?);
                let (nominal, behind) = (from.i64("launch")?, from.i64("launch")?);
                let planned_ms = nominal.saturating_mul(1000).saturating_add(behind);
                Fact::Launched { run, revision, nominal, planned_ms, cause: Cause::read_in(from)? }
            }
            2 => Fact::Retried { run: from.u64("retry")?, attempt: from.u32("retry")? },
            3 => Fact::AttemptFailed {
                run: from.u64("attempt")?,
                attempt: from.u32("attempt")?,
                ended: Ended::read(from.u8("attempt")?)?,
                note: from.text("attempt")?,
            },
            4 => Fact::Ended {
                run: from.u64("end")?,
                attempt: from.u32("end")?,
                nominal: from.i64("end")?,
                ended: Ended::read(from.u8("end")?)?,
                note: from.text("end")?,
            },
            5 => Fact::Skipped {
                nominal: from.i64("skip")?,
                cause: Cause::read_in(from)?,
                reason: SkipReason::read_in(from)?,
            },
            6 => Fact::SkippedRange {
                after: from.i64("skips")?,
                until: from.i64("skips")?,
                count: from.u64("skips")?,
                reason: SkipReason::read_in(from)?,
            },
            7 => Fact::Period {
                put: Put::read(from)?,
                until: from.i64("period")?,
                pause: Pause::read(from.u8("period")?)?,
            },
            8 => Fact::Overdue { run: from.u64("overdue")?, nominal: from.i64("overdue")? },
            9 => Fact::Follow {
                leader: from.text("follow")?,
                follower: from.text("follow")?,
                before: read_result(from)?,
                result: read_result(from)?,
            },
            10 => Fact::Triggered {
                run: from.u64("trigger")?,
                sequence: from.u64("trigger")?,
                follower: from.text("trigger")?,
                nominal: from.i64("trigger")?,
            },
            11 => Fact::Taken {
                source: from.u16("taken")?,
                sequence: from.u64("taken")?,
                run: from.u64("taken")?,
                nominal: from.i64("taken")?,
            },
            12 => Fact::Rules {
                name: from.text("rules")?,
                from: from.u32("rules")?,
                to: from.u32("rules")?,
                after: from.i64("rules")?,
            },
            _ => return Err(Malformed { what: "kind of an entry" }),
        })
    }
}
