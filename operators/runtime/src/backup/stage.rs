//! From how far a Backup came to its status.
//!
//! Must not: read a clock. A status that says that the Backup is over is never changed.

use orrery_api::backup::BackupStatus;
use orrery_api::condition::ConditionStatus::Unknown;
use orrery_api::spec::ArchiveOf;
use orrery_api::{CommonStatus, ConditionSet, ConditionType, Reason, Time};
use orrery_operand::progress::Finished;

/// Steps the progress is shown in, in percent, so that the status rests in between.
const PERCENT_STEP: u32 = 10;

/// How far a Backup came in this round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Something it needs is not there yet.
    Waiting { reason: Reason, message: String },
    /// It cannot be done before somebody changes something.
    Stuck { reason: Reason, message: String },
    /// The snapshot is being taken.
    UnderWay { percent: u32, step: String },
    /// It could not be taken, and is tried again.
    Failed { message: String },
    /// It is in the archive.
    Done { finished: Finished, archive: Box<ArchiveOf>, engine: String },
    /// Its time is over.
    Late { message: String },
}

/// The status to store.
pub fn summarise(generation: i64, stored: &BackupStatus, stage: &Stage, now: Time) -> BackupStatus {
    let conditions = conditions(generation, stage).merge(&stored.common.conditions, now);
    let common = CommonStatus {
        observed_generation: Some(generation),
        conditions,
        ..CommonStatus::default()
    };
    let kept = BackupStatus { common, ..stored.clone() };
    match stage {
        Stage::Waiting { .. } | Stage::Stuck { .. } | Stage::Failed { .. } | Stage::Late { .. } => {
            BackupStatus { percent: None, step: None, ..kept }
        }
        Stage::UnderWay { percent, step } => BackupStatus {
            started_at: Some(stored.started_at.unwrap_or(now)),
            percent: i32::try_from(percent / PERCENT_STEP * PERCENT_STEP).ok(),
            step: (!step.is_empty()).then(|| bounded(step, STEP_CHARS_MAX)),
            ..kept
        },
        Stage::Done { finished, archive, engine } => BackupStatus {
            started_at: Some(stored.started_at.unwrap_or(now)),
            completed_at: Some(now),
            percent: Some(100),
            step: None,
            position: Some(i64::try_from(finished.position).unwrap_or(i64::MAX)),
            epoch: Some(i64::try_from(finished.epoch).unwrap_or(i64::MAX)),
            location: Some(bounded(&finished.location, LOCATION_CHARS_MAX)),
            archive: Some((**archive).clone()),
            engine: Some(engine.clone()),
            ..kept
        },
    }
}

/// Bounds of the schema.
const STEP_CHARS_MAX: usize = 253;
const LOCATION_CHARS_MAX: usize = 2048;

fn bounded(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

fn conditions(generation: i64, stage: &Stage) -> ConditionSet {
    use ConditionType::{Available, Degraded, Ready, Reconciling, Stalled, Succeeded};
    let set = ConditionSet::new(generation).with(Degraded, false, Reason::FullStrength, "");
    let open = |set: ConditionSet, reason: Reason, message: &str| {
        set.with(Ready, false, reason, message)
            .with(Available, false, reason, message)
            .with(Succeeded, Unknown, reason, message)
    };
    match stage {
        Stage::Waiting { reason, message } => open(set, *reason, message)
            .with(Reconciling, true, *reason, message.as_str())
            .with(Stalled, false, *reason, ""),
        Stage::UnderWay { .. } => open(set, Reason::TakingSnapshot, "the snapshot is being taken")
            .with(Reconciling, true, Reason::TakingSnapshot, "the snapshot is being taken")
            .with(Stalled, false, Reason::TakingSnapshot, ""),
        Stage::Failed { message } => open(set, Reason::SnapshotFailed, message)
            .with(Reconciling, true, Reason::SnapshotFailed, message.as_str())
            .with(Stalled, false, Reason::SnapshotFailed, ""),
        Stage::Stuck { reason, message } => open(set, *reason, message)
            .with(Reconciling, false, *reason, message.as_str())
            .with(Stalled, true, *reason, message.as_str()),
        Stage::Late { message } => {
            let (reason, message) = (Reason::DeadlineExceeded, message.as_str());
            set.with(Ready, false, reason, message)
                .with(Available, false, reason, message)
                .with(Succeeded, false, reason, message)
                .with(Reconciling, false, reason, message)
                .with(Stalled, true, reason, message)
        }
        Stage::Done { finished, .. } => {
            let message = format!("the archive has a snapshot at position {}", finished.position);
            let reason = Reason::SnapshotTaken;
            set.with(Ready, true, reason, message.as_str())
                .with(Available, true, reason, message.as_str())
                .with(Succeeded, true, reason, message)
                .with(Reconciling, false, Reason::Settled, "")
                .with(Stalled, false, Reason::Settled, "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::outcome;
    use orrery_api::condition::is_true;

    fn at(second: i64) -> Time {
        Time::new(jiff::Timestamp::from_second(second).unwrap())
    }

    fn archive() -> Box<ArchiveOf> {
        let archive = serde_json::json!({
            "folder": {"claimName": "c"}, "object": {"namespace": "shop", "name": "orders"}
        });
        Box::new(serde_json::from_value(archive).unwrap())
    }

    #[test]
    fn ready_follows_succeeded_in_every_stage() {
        let waiting = |reason| (reason, "m".to_owned());
        let (reason, message) = waiting(Reason::RefNotFound);
        let finished = Finished { position: 7, location: "x".into(), units: 1, epoch: 3 };
        let cases = [
            (Stage::Waiting { reason, message: message.clone() }, None, true, false),
            (
                Stage::Stuck { reason: Reason::NoArchive, message: message.clone() },
                None,
                false,
                true,
            ),
            (Stage::UnderWay { percent: 3, step: "s".into() }, None, true, false),
            (Stage::Failed { message: message.clone() }, None, true, false),
            (
                Stage::Done { finished, archive: archive(), engine: "KVCluster".into() },
                Some(true),
                false,
                false,
            ),
            (Stage::Late { message }, Some(false), false, true),
        ];
        for (stage, expected, reconciling, stalled) in cases {
            let status = summarise(1, &BackupStatus::default(), &stage, at(5));
            let is = |type_| is_true(&status.common.conditions, type_);
            assert_eq!(outcome(&status), expected, "{stage:?}");
            assert_eq!(is(ConditionType::Ready), expected == Some(true), "{stage:?}");
            assert_eq!(is(ConditionType::Reconciling), reconciling, "{stage:?}");
            assert_eq!(is(ConditionType::Stalled), stalled, "{stage:?}");
            assert_eq!(status.common.conditions.len(), ConditionType::ALL.len());
        }
    }

    #[test]
    fn progress_is_shown_in_steps_and_the_start_is_kept() {
        let under_way = |percent| Stage::UnderWay { percent, step: "copying".into() };
        let first = summarise(1, &BackupStatus::default(), &under_way(11), at(5));
        assert_eq!((first.percent, first.started_at), (Some(10), Some(at(5))));
        assert_eq!(summarise(1, &first, &under_way(19), at(9)), first, "nothing to write");
        let failed = summarise(1, &first, &Stage::Failed { message: "m".into() }, at(10));
        assert_eq!((failed.percent, failed.started_at), (None, Some(at(5))));
        let finished = Finished { position: 7, location: "x".into(), units: 1, epoch: 3 };
        let done = summarise(
            1,
            &failed,
            &Stage::Done { finished, archive: archive(), engine: "KVCluster".into() },
            at(20),
        );
        assert_eq!((done.percent, done.position), (Some(100), Some(7)));
        assert_eq!((done.started_at, done.completed_at), (Some(at(5)), Some(at(20))));
    }
}
