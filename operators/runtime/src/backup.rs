//! Snapshots of engines into their archives: Backups, schedules of Backups, and the last snapshot
//! before a deletion. The same for every engine that has an archive.
//!
//! | module | job |
//! |---|---|
//! | [`snapshots`] | the snapshots that are being taken, beside the rounds |
//! | `kind` | the engine kinds that have archives |
//! | [`once`] | rounds of a Backup |
//! | [`stage`] | from how far a Backup came to its status; pure |
//! | [`schedule`] | rounds of a BackupSchedule |
//! | [`plan`] | which Backups a schedule makes and drops at a moment; pure |
//!
//! Must not: touch an archive. The engine writes and thins out its own.

pub(crate) mod kind;
pub mod once;
pub mod plan;
pub mod schedule;
pub mod snapshots;
pub mod stage;

use orrery_api::ConditionType;
use orrery_api::backup::BackupStatus;
use orrery_api::condition::{ConditionStatus, find};

/// Whether a Backup has succeeded (true) or failed (false); none while it is under way.
pub fn outcome(status: &BackupStatus) -> Option<bool> {
    match find(&status.common.conditions, ConditionType::Succeeded)?.status {
        ConditionStatus::True => Some(true),
        ConditionStatus::False => Some(false),
        ConditionStatus::Unknown => None,
    }
}

/// Whether a Backup stays as it is.
pub fn is_over(status: &BackupStatus) -> bool {
    outcome(status).is_some()
}
