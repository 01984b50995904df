//! Every reason a condition or an event may carry, each with its meaning for users.
//!
//! Must not: be spelled as text anywhere else. `docs/kinds/reasons.md` is generated from here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why a condition has its status, or why an event happened: one CamelCase word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word as it stands in a condition.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it means, for users.
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)+),)+
                }
            }
        }
    };
}

reasons! {
    /// The spec is carried out and clients are served.
    Serving,
    /// The engine took the declared object over as it stands.
    AcceptedByEngine,
    /// `spec.operation` is `Pause`: nothing is changed, status is still reported.
    Paused,
    /// `spec.operation` is `Hibernate`: no pods run, volumes and configuration are kept.
    Hibernated,
    /// `spec.operation` is `Fence`: pods run and refuse writes, and none is replaced.
    FencedBySpec,
    /// The object was seen for the first time; its children are being made.
    Starting,
    /// Children are on their way to what the spec asks for.
    Progressing,
    /// A change needs a restart that waits for its turn or for a maintenance window.
    WaitingForWindow,
    /// A change needs a restart that waits until `spec.rollout.released` names its revision.
    WaitingForRelease,
    /// A new release replaces the pods of a few objects at a time; this one has yet to come.
    WaitingForTurn,
    /// A restart is under way because the spec, the configuration or the image changed.
    RollingOut,
    /// Pods are not all ready yet.
    PodsNotReady,
    /// A pod cannot start: its image, its volume or its process fails; the message says which.
    PodFailing,
    /// Nothing is being changed and nothing is left to do.
    Settled,
    /// The object is being deleted.
    Terminating,
    /// Something the spec points to does not exist; the object goes on when it appears.
    RefNotFound,
    /// The engine this object belongs to does not exist.
    EngineMissing,
    /// The engine this object belongs to does not answer yet.
    EngineNotReady,
    /// No process of the object answers the management protocol.
    Unreachable,
    /// The spec asks for something that cannot be; the message names the field.
    InvalidSpec,
    /// The field is part of the API, but its work is not done yet; see `docs/not-yet.md`.
    NotYetSupported,
    /// The carrier (one machine without Kubernetes) cannot do what the spec asks for.
    NotOnThisCarrier,
    /// An older object already claims the same thing; the message names it.
    Conflict,
    /// The name is too long for the names of the child objects.
    NameTooLong,
    /// The version asked for is unknown, or older than the one that wrote the data.
    UnsupportedVersion,
    /// The engine refuses the declared object; the message says why.
    RefusedByEngine,
    /// The API server refuses a child object; the message is its own.
    RefusedByServer,
    /// Writing the child objects failed; it is tried again.
    ApplyFailed,
    /// Little room is left on the volume of the journal: grow it before writes are refused.
    VolumeFilling,
    /// The volume of the journal is full: reads are served, writes are refused.
    JournalFull,
    /// What carries the journal does not answer: reads are served, writes are refused.
    JournalAway,
    /// The journal failed to write; the process restarts and recovers what was acknowledged.
    JournalFailed,
    /// A follower is further behind than allowed.
    FollowerLagging,
    /// No pod of the group takes writes; the message says what is awaited.
    NoPrimary,
    /// The primary moves to another pod as planned; writes wait a moment.
    SwitchingOver,
    /// Another pod became primary.
    NewPrimary,
    /// The primary is lost and no follower may take over under `spec.failover.policy`; the message
    /// says what would be lost.
    FailoverBlocked,
    /// The volumes grow to the size of the spec.
    GrowingVolume,
    /// The volumes are replaced by ones of the StorageClass of the spec.
    MovingVolume,
    /// The volume of the only copy is of another StorageClass than the spec asks for, and stays; the
    /// message says what to do.
    VolumeKeepsClass,
    /// A volume cannot grow; the message is the storage driver's or the API server's own.
    VolumeNotGrown,
    /// The archive cannot be written; clients are served, and the message says why. What was changed
    /// since stays on the volume alone until it can be written again.
    ArchiveFailing,
    /// The keys of the Redis to take over are being copied; clients are served when they are here.
    Adopting,
    /// The Redis to take over cannot be followed; the message says why. It is tried again.
    AdoptionFailing,
    /// The data is being recovered from an archive; clients are served when it is there.
    Recovering,
    /// The data cannot be recovered from the archive; the message says why. It is tried again.
    RecoveryFailed,
    /// The object has no `spec.archive` for a snapshot to go into.
    NoArchive,
    /// A snapshot is being taken into the archive.
    TakingSnapshot,
    /// A snapshot could not be taken; it is tried again. The message says why.
    SnapshotFailed,
    /// The snapshot is in the archive.
    SnapshotTaken,
    /// It was not done within its deadline, and is not tried any more.
    DeadlineExceeded,
    /// The Backup to recover from has not succeeded yet; it is waited for.
    BackupUnfinished,
    /// The Backup has failed: nothing can be recovered from it.
    BackupFailed,
    /// Backups are made at the times of the schedule.
    Scheduled,
    /// `spec.suspend` is true: no Backups are made, or no runs started.
    Suspended,
    /// The rule of a Schedule cannot be read; the message says where.
    InvalidExpression,
    /// The zone of a Schedule is unknown; the message names the nearest one.
    UnknownTimeZone,
    /// The rule of a Schedule names no moment, such as 31 February.
    NeverFires,
    /// A Schedule names a target, or a schedule to run after, that its Scheduler does not have.
    TargetMissing,
    /// A run is not over within `spec.finishWithinSeconds`.
    Overdue,
    /// A change of a schedule adds runs, leaves some out, or moves the next ones; the message says which.
    RunsChanged,
    /// A run failed for good and `spec.pauseOnFailure` is true: it fires no more until it is edited or
    /// resumed.
    PausedByFailure,
    /// Runs start later than `spec.objective` promises.
    LateFiring,
    /// A partition has no owner: its schedules do not fire.
    PartitionUnowned,
    /// A target is at its limits, and runs wait for it; the message names it.
    TargetThrottled,
    /// A Backup was made because its time had come.
    BackupCreated,
    /// A Backup object was deleted because newer ones are kept; the archive keeps its data.
    BackupRemoved,
    /// A namespace is at its quota; its writes get a typed error.
    QuotaExceeded,
    /// Fewer pods are ready than asked for.
    ReplicasMissing,
    /// All that was asked for is there.
    FullStrength,
    /// A child object was changed or deleted by someone else and was put back.
    Drift,
    /// A child object was created.
    Created,
    /// A child object was changed to what the spec asks for.
    Updated,
    /// A child object that the spec no longer asks for was removed.
    OrphanRemoved,
    /// The engine `default` was created because a declared object needs it.
    EngineCreated,
    /// The CronJob is suspended, and a Scheduler runs it at its times.
    CronJobAdopted,
    /// The CronJob is as it was before a Scheduler adopted it.
    CronJobGivenBack,
    /// The CronJob is not adopted, and its own controller runs it; the message says why.
    CronJobNotAdopted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no reason of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason {0:?}")]
pub struct UnknownReason(pub String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|reason| reason.as_str() == text);
        found.copied().ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_camel_case_word_that_kubernetes_takes() {
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(word.len() <= 1024 && word.starts_with(|c: char| c.is_ascii_uppercase()));
            assert!(word.chars().all(|c| c.is_ascii_alphanumeric()), "{word}");
            assert!(reason.doc().trim().ends_with('.'), "{word}");
        }
    }

    #[test]
    fn a_reason_reads_back_from_its_word_and_from_json() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
            let json = serde_json::to_string(reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
        }
        assert!("Nonsense".parse::<Reason>().is_err());
    }
}
