//! Errands: what processes want done where only the operator can reach, carried out as Jobs.
//!
//! A process says on a stream which errands are open; see `orrery_operand::errands`. Each names a
//! declared object and an occasion, and nothing more: *what* is made stands in the object as this
//! operator's own cache has it, is made in that object's namespace, and only while the object belongs to
//! the engine that asks. A process that was taken over can bring nothing else about than that its own
//! objects run.
//!
//! | part | what it does |
//! |---|---|
//! | `desk` | knows every process with errands and what is open |
//! | `decide` | what an errand needs next; pure |
//! | `carry` | does it: makes and ends Jobs, settles |
//! | `watch` | Jobs as the API server shows them |
//! | `history` | which finished Jobs are dropped; pure |
//! | `pace` | how many Jobs are made in a second |
//!
//! Invariants: an errand is settled in the process before anything of its Job is dropped; a Job is made
//! under a name that follows from the occasion, by *create*, so that there is one at most; a Job that
//! does not carry the errand's key is never touched.

pub(crate) mod carry;
mod decide;
pub(crate) mod desk;
mod history;
mod pace;
pub mod seen;

use k8s_openapi::api::batch::v1::Job;
use orrery_operand::v1::{Cause, Errand};

use crate::system::{Declared, Refusal};

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    /// The second the object's rule named, UTC seconds since the Unix epoch.
    pub nominal_seconds: i64,
    pub cause: Cause,
    /// Number of the run among those of its process.
    pub number: u64,
    /// 1 for the first.
    pub attempt: u32,
}

impl From<&Errand> for Occasion {
    fn from(errand: &Errand) -> Self {
        Self {
            nominal_seconds: errand.nominal_seconds,
            cause: errand.cause(),
            number: errand.number,
            attempt: errand.attempt,
        }
    }
}

/// How many finished Jobs of an object are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub succeeded: usize,
    pub failed: usize,
}

/// A declared kind whose runs may be Jobs. Pure, as [`Declared`] is.
pub trait MakesJobs: Declared {
    /// Name of the Job of a run of the object of this name. The same occasion gives the same name.
    fn job_name(object: &str, occasion: &Occasion) -> String;

    /// The Job, complete but for what the runtime keeps books with; or why there is none.
    fn job(object: &Self::Kind, occasion: &Occasion) -> Result<Job, Refusal>;

    /// How many finished Jobs are kept; none where somebody else sees to it.
    fn kept(object: &Self::Kind) -> Option<Kept>;
}
