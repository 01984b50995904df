//! Words for what happens to runs and jobs: why one began, why one did not, how one ended, why a job
//! rests. Their numbers are part of journal, snapshot and ledger.

use crate::codec::{Malformed, Reader};

/// Makes an enum whose variants have a number on disk and a word for people, which is their name; `$what`
/// is what a number is called that none of them has.
macro_rules! words {
    (
        $(#[$about:meta])*
        $name:ident ($what:literal) { $($(#[$doc:meta])* $variant:ident = $number:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$doc])* $variant = $number,)+
        }

        impl $name {
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$variant),+];

            pub(crate) fn read(byte: u8) -> Result<Self, Malformed> {
                let found = Self::ALL.into_iter().find(|known| *known as u8 == byte);
                found.ok_or(Malformed { what: $what })
            }

            /// One CamelCase word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }
        }
    };
}

words! {
    /// Why a second that a rule named passed without a launch.
    SkipReason ("reason of a skip") {
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
}

impl SkipReason {
    pub(crate) fn read_in(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::read(from.u8("reason of a skip")?)
    }
}

words! {
    /// What brought a run about.
    Cause ("cause of a run") {
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
}

impl Cause {
    pub(crate) fn read_in(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::read(from.u8("cause of a run")?)
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
}

words! {
    /// How a run, or an attempt of it, ended.
    Ended ("end of a run") {
        Succeeded = 1,
        Failed = 2,
        Refused = 3,
        TimedOut = 4,
        Cancelled = 5,
        Expired = 6,
    }
}

impl Ended {
    /// Whether it ended as nobody wanted it to: neither well, nor because somebody cancelled it.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Succeeded | Self::Cancelled)
    }
}

words! {
    /// Why a job does not fire although its rule says so.
    Pause ("pause of a job") {
        /// It fires.
        None = 0,
        /// Somebody paused it by the API.
        Asked = 1,
        /// A run failed, and the job says that it is to pause then.
        Failure = 2,
        /// It ran as often as it was to run.
        Limit = 3,
    }
}
