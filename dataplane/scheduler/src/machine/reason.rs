//! Words for what happens to runs and jobs: why one began, why one did not, how one ended, why a job
//! rests. Their numbers are part of journal, snapshot and ledger.

use crate::codec::{Malformed, Reader};

/// Why a second that a rule named passed without a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SkipReason {
    /// An earlier run was still going, under `Forbid`.
    Overlap = 1,
    /// It came up later than `startingDeadlineSeconds`.
    Deadline = 2,
    /// It was missed, and `catchUp` leaves it out.
    CatchUp = 3,
    /// As many runs wait already as may wait.
    BufferFull = 4,
    /// The job was changed or deleted while it waited.
    Superseded = 5,
    /// A run of another job ended while this one rested.
    Paused = 6,
    /// A run of another job ended outside the time, or on a day, on which this one fires.
    Excluded = 7,
}

impl SkipReason {
    pub const ALL: [Self; 7] = [
        Self::Overlap,
        Self::Deadline,
        Self::CatchUp,
        Self::BufferFull,
        Self::Superseded,
        Self::Paused,
        Self::Excluded,
    ];

    pub(crate) fn read_in(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let byte = from.u8("reason of a skip")?;
        let found = Self::ALL.into_iter().find(|reason| *reason as u8 == byte);
        found.ok_or(Malformed { what: "reason of a skip" })
    }

    /// One CamelCase word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlap => "Overlap",
            Self::Deadline => "Deadline",
            Self::CatchUp => "CatchUp",
            Self::BufferFull => "BufferFull",
            Self::Superseded => "Superseded",
            Self::Paused => "Paused",
            Self::Excluded => "Excluded",
        }
    }
}

/// What brought a run about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cause {
    /// The rule named the second.
    Schedule = 1,
    /// The rule named it, and it was made up for later.
    CatchUp = 2,
    /// Somebody asked for it now.
    Manual = 3,
    /// Somebody asked for a range of the past.
    Backfill = 4,
    /// A run of another job ended.
    Dependency = 5,
}

impl Cause {
    pub const ALL: [Self; 5] =
        [Self::Schedule, Self::CatchUp, Self::Manual, Self::Backfill, Self::Dependency];

    pub(crate) fn read_in(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let byte = from.u8("cause of a run")?;
        let found = Self::ALL.into_iter().find(|cause| *cause as u8 == byte);
        found.ok_or(Malformed { what: "cause of a run" })
    }

    /// Whether the second is one that the rule named, so that it is decided once and for all.
    pub fn is_scheduled(self) -> bool {
        matches!(self, Self::Schedule | Self::CatchUp)
    }

    /// Whether the job itself brought it about, and nobody by asking: it counts for `limitRuns`, and
    /// has to begin within `startingDeadlineSeconds`.
    pub fn is_of_job(self) -> bool {
        self.is_scheduled() || self == Self::Dependency
    }

    /// One CamelCase word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "Schedule",
            Self::CatchUp => "CatchUp",
            Self::Manual => "Manual",
            Self::Backfill => "Backfill",
            Self::Dependency => "Dependency",
        }
    }
}

/// How a run, or an attempt of it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ended {
    Succeeded = 1,
    Failed = 2,
    Refused = 3,
    TimedOut = 4,
    Cancelled = 5,
    Expired = 6,
}

impl Ended {
    pub const ALL: [Self; 6] = [
        Self::Succeeded,
        Self::Failed,
        Self::Refused,
        Self::TimedOut,
        Self::Cancelled,
        Self::Expired,
    ];

    pub(crate) fn read(byte: u8) -> Result<Self, Malformed> {
        let found = Self::ALL.into_iter().find(|ended| *ended as u8 == byte);
        found.ok_or(Malformed { what: "end of a run" })
    }

    /// Whether it ended as nobody wanted it to: neither well, nor because somebody cancelled it.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Succeeded | Self::Cancelled)
    }

    /// One CamelCase word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Refused => "Refused",
            Self::TimedOut => "TimedOut",
            Self::Cancelled => "Cancelled",
            Self::Expired => "Expired",
        }
    }
}

/// Why a job does not fire although its rule says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Pause {
    /// It fires.
    None = 0,
    /// Somebody paused it by the API.
    Asked = 1,
    /// A run failed, and the job says that it is to pause then.
    Failure = 2,
    /// It ran as often as it was to run.
    Limit = 3,
}

impl Pause {
    pub(crate) fn read(byte: u8) -> Result<Self, Malformed> {
        let all = [Self::None, Self::Asked, Self::Failure, Self::Limit];
        let found = all.into_iter().find(|pause| *pause as u8 == byte);
        found.ok_or(Malformed { what: "pause of a job" })
    }
}
