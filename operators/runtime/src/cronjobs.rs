//! CronJobs whose times an engine takes over, and gives back.
//!
//! An adopted CronJob has a declared object of its name beside it, owned by it, and is suspended. How no
//! second is run twice, and none is lost, depends on what its runs are:
//!
//! - *Jobs.* Both fire for a while (one is started before the other is stopped, in both directions): the
//!   Job of a second has the same name whoever makes it, and each side takes a Job of the other for its
//!   own. So nothing has to happen at the same moment, and nothing falls in between.
//! - *Anything else*, as commands in a pool, has no such name. There one side is stopped first, it is known
//!   what it decided, and the other goes on behind that: see `handover`.
//!
//! | part | what it does |
//! |---|---|
//! | `kind` | a CronJob as far as it is looked at |
//! | `decide` | what is next; pure |
//! | `handover` | the same where runs leave no Jobs |
//! | `times` | the times of its rule |
//! | `adopt` | does it, one step a round |
//! | `write` | what is written into CronJobs |
//! | `hold` | the finalizer that keeps an engine until all is given back |
//! | `mirror` | the status of an adopted CronJob with Jobs |
//!
//! Must not: hold anything in memory that a later operator needs. What a CronJob was before stands in
//! its annotations.

pub(crate) mod adopt;
mod decide;
mod handover;
mod hold;
pub mod kind;
pub(crate) mod mirror;
mod times;
mod write;

pub(crate) use hold::is_held;
pub use kind::CronJobSeen;

use crate::errands::MakesJobs;
use crate::system::{Declared, System};

/// Which CronJobs an engine takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Takes {
    /// None.
    #[default]
    None,
    /// Those whose annotation names it.
    Annotated,
    /// All of its namespace but those whose annotation names another, or says `false`.
    All,
}

/// A declared kind that CronJobs become. Pure, as [`Declared`] is.
pub trait AdoptsCronJobs: MakesJobs {
    /// Which CronJobs an engine takes over.
    fn takes(engine: &<Self::Engine as System>::Kind) -> Takes;

    /// The object that does what the CronJob does, name and spec; a sentence where none can.
    fn adopted(
        cron_job: &CronJobSeen,
        engine: &<Self::Engine as System>::Kind,
        suspend: bool,
    ) -> Result<Self::Kind, String>;

    /// Whether a stored object says what it should.
    fn is_same(stored: &Self::Kind, wanted: &Self::Kind) -> bool;

    /// UTC seconds of the next time an object fires: everything before is decided.
    fn next_seconds(object: &Self::Kind) -> Option<i64>;

    /// When an object fires, and what its runs are.
    fn fires(object: &Self::Kind) -> Fires;

    /// The newest run of an object.
    fn ran(object: &Self::Kind) -> Option<Ran>;

    /// The object as it is to be to fire no more behind a second. `is_refused`: its engine does not take
    /// what it says now, and has something older.
    fn ending(object: &Self::Kind, until: i64, is_refused: bool) -> Self::Kind;
}

/// When an object fires, and what its runs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fires {
    /// Each run is a Job.
    pub as_jobs: bool,
    /// It does not.
    pub is_suspended: bool,
    /// It does up to here, in seconds since the epoch.
    pub until: Option<i64>,
}

/// A run of an object; times in seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub nominal: i64,
    pub is_over: bool,
    /// When it succeeded, if it did.
    pub succeeded: Option<i64>,
}

/// The engine of a declared kind.
pub(crate) type EngineOf<D> = <<D as Declared>::Engine as crate::system::System>::Kind;
