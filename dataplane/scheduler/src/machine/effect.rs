//! What changes a partition: the records of its journal.
//!
//! A record holds the effects of one turn, decided already: a replay applies them and decides nothing
//! again, so neither a clock nor a newer time zone database changes the past.

use orrery_api::scheduler::AfterResult;

pub use super::reason::{Cause, Ended, Pause, SkipReason};
use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_u64};

/// One change. Times are UTC seconds (`nominal`, `after`) or milliseconds (`_ms`) since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<'a> {
    /// A definition of a time zone, used from now on under the next index.
    Zone { name: &'a str, tzif: &'a [u8] },
    /// A job is as it says here from `after` on. An `id` that is there already gets a new revision.
    Put(Put<'a>),
    /// A job is no more; everything up to `after` was decided.
    Remove { id: u64, after: i64 },
    /// A job pauses, or goes on, from `after` on.
    Paused { id: u64, pause: Pause, after: i64 },
    /// A run begins: to be handed over once this is durable.
    Launch { id: u64, run: u64, nominal: i64, planned_ms: i64, cause: Cause },
    /// Its next attempt begins.
    Retry { run: u64 },
    /// An attempt failed, and another one is to come.
    AttemptFailed { run: u64, ended: Ended, retry_at_ms: i64, note: &'a str },
    /// A run is over.
    End { run: u64, ended: Ended, note: &'a str },
    /// A second passes without a launch.
    Skip { id: u64, nominal: i64, reason: SkipReason },
    /// All seconds the rule names in `(after, until]` pass without a launch; there are `count`.
    SkipRange { id: u64, after: i64, until: i64, count: u64, reason: SkipReason },
    /// A run waits until those before it are over.
    Wait { id: u64, nominal: i64, cause: Cause },
    /// A run that waited is given up.
    GiveUp { id: u64, nominal: i64, cause: Cause, reason: SkipReason },
    /// A run is not over although it should be.
    Overdue { run: u64 },
    /// A run that no second of the rule named does not begin, and never waited.
    Decline { id: u64, nominal: i64, cause: Cause, reason: SkipReason },
    /// From now on runs of `follower` begin after runs of `leader` that end so; none: no longer.
    Follow { leader: &'a str, follower: &'a str, result: Option<AfterResult> },
    /// A run of job `id` ended, and `follower` is to be told: an entry of the outbox.
    Trigger { id: u64, run: u64, sequence: u64, follower: &'a str, nominal: i64 },
    /// A job was told of the end of a `run` in partition `source`; 0 as `id`: it is no longer there.
    Take { source: u16, sequence: u64, id: u64, run: u64, nominal: i64 },
    /// The follower has it on disk: the entry of the outbox goes.
    Delivered { sequence: u64 },
    /// Jobs under the rules of one index of a time zone are under those of another behind `after`.
    Rules { from: u32, to: u32, after: i64 },
    /// An attempt was begun outside of this process.
    Started { run: u64 },
    /// Sequences of the outbox up to here were used up, by records that are lost.
    UsedUp { sequence: u64 },
    /// Somebody is to be told that a run is overdue.
    Notice { run: u64 },
    /// Somebody was told of it, or nobody will be.
    NoticeOver { run: u64 },
    /// As `Trigger`, of a run that ended at `ended_ms`: it was told before, and lost where it was told.
    Again { id: u64, run: u64, sequence: u64, follower: &'a str, nominal: i64, ended_ms: i64 },
}

/// See [`Effect::Put`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put<'a> {
    pub id: u64,
    pub name: &'a str,
    pub revision: u32,
    /// Seconds up to here belong to what was before.
    pub after: i64,
    /// Generation of the object it was declared by; 0 for jobs of the API.
    pub generation: i64,
    /// The definition as JSON, without the body of its action.
    pub definition: &'a str,
    /// The body of its action.
    pub payload: Option<&'a [u8]>,
    /// Index of the definition of its time zone.
    pub zone: u32,
}

impl Effect<'_> {
    /// Appends the effect to a record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Zone { name, tzif } => {
                out.push(1);
                put_bytes(out, name.as_bytes());
                put_bytes(out, tzif);
            }
            Self::Put(put) => {
                out.push(2);
                put.encode(out);
            }
            Self::Remove { id, after } => {
                out.push(3);
                put_u64(out, *id);
                put_i64(out, *after);
            }
            Self::Paused { id, pause, after } => {
                out.push(4);
                put_u64(out, *id);
                out.push(*pause as u8);
                put_i64(out, *after);
            }
            Self::Launch { id, run, nominal, planned_ms, cause } => {
                out.push(5);
                put_u64(out, *id);
                put_u64(out, *run);
                put_i64(out, *nominal);
                put_i64(out, *planned_ms - *nominal * 1000);
                out.push(*cause as u8);
            }
            Self::Retry { run } => {
                out.push(6);
                put_u64(out, *run);
            }
            Self::AttemptFailed { run, ended, retry_at_ms, note } => {
                out.push(7);
                put_u64(out, *run);
                out.push(*ended as u8);
                put_i64(out, *retry_at_ms);
                put_bytes(out, note.as_bytes());
            }
            Self::End { run, ended, note } => {
                out.push(8);
                put_u64(out, *run);
                out.push(*ended as u8);
                put_bytes(out, note.as_bytes());
            }
            Self::Skip { id, nominal, reason } => {
                out.push(9);
                put_u64(out, *id);
                put_i64(out, *nominal);
                out.push(*reason as u8);
            }
            Self::SkipRange { id, after, until, count, reason } => {
                out.push(10);
                put_u64(out, *id);
                put_i64(out, *after);
                put_i64(out, *until);
                put_u64(out, *count);
                out.push(*reason as u8);
            }
            Self::Wait { id, nominal, cause } => {
                out.push(11);
                put_u64(out, *id);
                put_i64(out, *nominal);
                out.push(*cause as u8);
            }
            Self::GiveUp { id, nominal, cause, reason } => {
                out.push(12);
                put_u64(out, *id);
                put_i64(out, *nominal);
                out.push(*cause as u8);
                out.push(*reason as u8);
            }
            Self::Overdue { run } => {
                out.push(13);
                put_u64(out, *run);
            }
            Self::Decline { id, nominal, cause, reason } => {
                out.push(14);
                put_u64(out, *id);
                put_i64(out, *nominal);
                out.push(*cause as u8);
                out.push(*reason as u8);
            }
            Self::Follow { leader, follower, result } => {
                out.push(15);
                put_bytes(out, leader.as_bytes());
                put_bytes(out, follower.as_bytes());
                put_result(out, *result);
            }
            Self::Trigger { id, run, sequence, follower, nominal } => {
                out.push(16);
                put_u64(out, *id);
                put_u64(out, *run);
                put_u64(out, *sequence);
                put_bytes(out, follower.as_bytes());
                put_i64(out, *nominal);
            }
            Self::Take { source, sequence, id, run, nominal } => {
                out.push(17);
                put_u64(out, u64::from(*source));
                put_u64(out, *sequence);
                put_u64(out, *id);
                put_u64(out, *run);
                put_i64(out, *nominal);
            }
            Self::Delivered { sequence } => {
                out.push(18);
                put_u64(out, *sequence);
            }
            Self::Rules { from, to, after } => {
                out.push(19);
                put_u64(out, u64::from(*from));
                put_u64(out, u64::from(*to));
                put_i64(out, *after);
            }
            Self::Started { run } => {
                out.push(20);
                put_u64(out, *run);
            }
            Self::UsedUp { sequence } => {
                out.push(21);
                put_u64(out, *sequence);
            }
            Self::Notice { run } => {
                out.push(22);
                put_u64(out, *run);
            }
            Self::NoticeOver { run } => {
                out.push(23);
                put_u64(out, *run);
            }
            Self::Again { id, run, sequence, follower, nominal, ended_ms } => {
                out.push(24);
                put_u64(out, *id);
                put_u64(out, *run);
                put_u64(out, *sequence);
                put_bytes(out, follower.as_bytes());
                put_i64(out, *nominal);
                put_i64(out, *ended_ms);
            }
        }
    }

    /// The next effect of a record.
    pub fn read<'a>(from: &mut Reader<'a>) -> Result<Effect<'a>, Malformed> {
        Ok(match from.u8("effect")? {
            1 => Effect::Zone { name: from.text("zone")?, tzif: from.bytes("zone")? },
            2 => Effect::Put(Put::read(from)?),
            3 => Effect::Remove { id: from.u64("remove")?, after: from.i64("remove")? },
            4 => Effect::Paused {
                id: from.u64("pause")?,
                pause: Pause::read(from.u8("pause")?)?,
                after: from.i64("pause")?,
            },
            5 => {
                let (id, run) = (from.u64("launch")?, from.u64("launch")?);
                let (nominal, behind) = (from.i64("launch")?, from.i64("launch")?);
                let planned_ms = nominal.saturating_mul(1000).saturating_add(behind);
                let cause = Cause::read_in(from)?;
                Effect::Launch { id, run, nominal, planned_ms, cause }
            }
            6 => Effect::Retry { run: from.u64("retry")? },
            7 => Effect::AttemptFailed {
                run: from.u64("attempt")?,
                ended: Ended::read(from.u8("attempt")?)?,
                retry_at_ms: from.i64("attempt")?,
                note: from.text("attempt")?,
            },
            8 => Effect::End {
                run: from.u64("end")?,
                ended: Ended::read(from.u8("end")?)?,
                note: from.text("end")?,
            },
            9 => Effect::Skip {
                id: from.u64("skip")?,
                nominal: from.i64("skip")?,
                reason: SkipReason::read_in(from)?,
            },
            10 => Effect::SkipRange {
                id: from.u64("skips")?,
                after: from.i64("skips")?,
                until: from.i64("skips")?,
                count: from.u64("skips")?,
                reason: SkipReason::read_in(from)?,
            },
            11 => Effect::Wait {
                id: from.u64("wait")?,
                nominal: from.i64("wait")?,
                cause: Cause::read_in(from)?,
            },
            12 => Effect::GiveUp {
                id: from.u64("wait")?,
                nominal: from.i64("wait")?,
                cause: Cause::read_in(from)?,
                reason: SkipReason::read_in(from)?,
            },
            13 => Effect::Overdue { run: from.u64("overdue")? },
            14 => Effect::Decline {
                id: from.u64("decline")?,
                nominal: from.i64("decline")?,
                cause: Cause::read_in(from)?,
                reason: SkipReason::read_in(from)?,
            },
            15 => Effect::Follow {
                leader: from.text("follow")?,
                follower: from.text("follow")?,
                result: read_result(from)?,
            },
            16 => Effect::Trigger {
                id: from.u64("trigger")?,
                run: from.u64("trigger")?,
                sequence: from.u64("trigger")?,
                follower: from.text("trigger")?,
                nominal: from.i64("trigger")?,
            },
            17 => Effect::Take {
                source: from.u16("take")?,
                sequence: from.u64("take")?,
                id: from.u64("take")?,
                run: from.u64("take")?,
                nominal: from.i64("take")?,
            },
            18 => Effect::Delivered { sequence: from.u64("delivered")? },
            19 => Effect::Rules {
                from: from.u32("rules")?,
                to: from.u32("rules")?,
                after: from.i64("rules")?,
            },
            20 => Effect::Started { run: from.u64("start")? },
            21 => Effect::UsedUp { sequence: from.u64("sequence")? },
            22 => Effect::Notice { run: from.u64("notice")? },
            23 => Effect::NoticeOver { run: from.u64("notice")? },
            24 => Effect::Again {
                id: from.u64("again")?,
                run: from.u64("again")?,
                sequence: from.u64("again")?,
                follower: from.text("again")?,
                nominal: from.i64("again")?,
                ended_ms: from.i64("again")?,
            },
            _ => return Err(Malformed { what: "kind of an effect" }),
        })
    }
}

/// After which runs, as a byte; 0 for none.
pub(crate) fn put_result(out: &mut Vec<u8>, result: Option<AfterResult>) {
    out.push(match result {
        None => 0,
        Some(AfterResult::Succeeded) => 1,
        Some(AfterResult::Failed) => 2,
        Some(AfterResult::Finished) => 3,
    });
}

pub(crate) fn read_result(from: &mut Reader<'_>) -> Result<Option<AfterResult>, Malformed> {
    Ok(match from.u8("result that is followed")? {
        0 => None,
        1 => Some(AfterResult::Succeeded),
        2 => Some(AfterResult::Failed),
        3 => Some(AfterResult::Finished),
        _ => return Err(Malformed { what: "result that is followed" }),
    })
}

impl Put<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.id);
        put_bytes(out, self.name.as_bytes());
        put_u64(out, u64::from(self.revision));
        put_i64(out, self.after);
        put_i64(out, self.generation);
        put_bytes(out, self.definition.as_bytes());
        match self.payload {
            None => out.push(0),
            Some(payload) => {
                out.push(1);
                put_bytes(out, payload);
            }
        }
        put_u64(out, u64::from(self.zone));
    }

    pub(crate) fn read<'a>(from: &mut Reader<'a>) -> Result<Put<'a>, Malformed> {
        Ok(Put {
            id: from.u64("job")?,
            name: from.text("job")?,
            revision: from.u32("job")?,
            after: from.i64("job")?,
            generation: from.i64("job")?,
            definition: from.text("job")?,
            payload: match from.u8("job")? {
                0 => None,
                _ => Some(from.bytes("job")?),
            },
            zone: from.u32("job")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_is_read_back_as_it_was_written() {
        let put = Put {
            id: 7,
            name: "report",
            revision: 3,
            after: -5,
            generation: 2,
            definition: "{}",
            payload: Some(b"x"),
            zone: 1,
        };
        let all = [
            Effect::Zone { name: "Europe/Paris", tzif: b"TZif" },
            Effect::Put(put.clone()),
            Effect::Put(Put { payload: None, ..put }),
            Effect::Remove { id: 7, after: 1_800_000_000 },
            Effect::Paused { id: 7, pause: Pause::Failure, after: 9 },
            Effect::Launch { id: 7, run: 8, nominal: 9, planned_ms: 9500, cause: Cause::CatchUp },
            Effect::Retry { run: 8 },
            Effect::AttemptFailed { run: 8, ended: Ended::TimedOut, retry_at_ms: 1, note: "slow" },
            Effect::End { run: 8, ended: Ended::Succeeded, note: "" },
            Effect::Skip { id: 7, nominal: 10, reason: SkipReason::Overlap },
            Effect::SkipRange {
                id: 7,
                after: 10,
                until: 90,
                count: 8,
                reason: SkipReason::CatchUp,
            },
            Effect::Wait { id: 7, nominal: 11, cause: Cause::Backfill },
            Effect::GiveUp {
                id: 7,
                nominal: 11,
                cause: Cause::Backfill,
                reason: SkipReason::Superseded,
            },
            Effect::Overdue { run: 8 },
            Effect::Decline {
                id: 7,
                nominal: 11,
                cause: Cause::Dependency,
                reason: SkipReason::Paused,
            },
            Effect::Follow { leader: "a", follower: "b", result: Some(AfterResult::Finished) },
            Effect::Follow { leader: "a", follower: "b", result: None },
            Effect::Trigger { id: 7, run: 8, sequence: 9, follower: "b", nominal: -1 },
            Effect::Take { source: 255, sequence: 9, id: 0, run: 8, nominal: -1 },
            Effect::Delivered { sequence: 9 },
            Effect::Rules { from: 1, to: 2, after: -7 },
            Effect::Started { run: 8 },
            Effect::UsedUp { sequence: 9 },
            Effect::Notice { run: 8 },
            Effect::NoticeOver { run: 8 },
            Effect::Again { id: 7, run: 8, sequence: 9, follower: "b", nominal: -1, ended_ms: 5 },
        ];
        let mut record = Vec::new();
        for effect in &all {
            effect.encode(&mut record);
        }
        let mut reader = Reader::new(&record);
        for effect in &all {
            assert_eq!(Effect::read(&mut reader).as_ref(), Ok(effect));
        }
        assert!(reader.is_empty());
        for cut in 0..record.len() {
            let mut reader = Reader::new(&record[..cut]);
            while !reader.is_empty() && Effect::read(&mut reader).is_ok() {}
        }
    }
}
