//! CronJobs whose times an engine takes over, and gives back.
//!
//! An adopted CronJob has a declared object of its name beside it, owned by it, and is suspended. While
//! both fire (one is started before the other is stopped, in both directions) a second is never run
//! twice: the Job of a second has the same name whoever makes it, and each side takes a Job of the
//! other for its own. So nothing has to happen at the same moment, and nothing falls in between.
//!
//! | part | what it does |
//! |---|---|
//! | `kind` | a CronJob as far as it is looked at |
//! | `decide` | what is next; pure |
//! | `adopt` | does it, one step a round |
//! | `hold` | the finalizer that keeps an engine until all is given back |
//! | `mirror` | the status of an adopted CronJob |
//!
//! Must not: hold anything in memory that a later operator needs. What a CronJob was before stands in
//! its annotations.

pub(crate) mod adopt;
mod decide;
mod hold;
pub mod kind;
pub(crate) mod mirror;

pub use kind::CronJobSeen;

use crate::errands::MakesJobs;
use crate::system::Declared;

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
    fn takes(engine: &<Self::Engine as crate::system::System>::Kind) -> Takes;

    /// The object that does what the CronJob does: name and spec.
    fn adopted(cron_job: &CronJobSeen, engine: &str, suspend: bool) -> Self::Kind;

    /// Whether a stored object says what it should.
    fn is_same(stored: &Self::Kind, wanted: &Self::Kind) -> bool;

    /// UTC seconds of the next time an object fires: everything before is decided.
    fn next_seconds(object: &Self::Kind) -> Option<i64>;
}

/// The engine of a declared kind.
pub(crate) type EngineOf<D> = <<D as Declared>::Engine as crate::system::System>::Kind;
