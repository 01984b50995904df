//! Who launches: where the journals are carried by an engine outside of the pods, one process owns all
//! partitions, and others stand by.
//!
//! | part | module |
//! |---|---|
//! | what this process is, told by the operator and by the engine | `standing` |
//! | the right to send what was launched before | `lease` |
//! | the one journal that says who owns all others | `seat` |
//! | copies that are kept warm, and their take-over | `standby` |
//!
//! `docs/decisions/0020-one-owner-of-a-scheduler.md` says why it is safe.

mod lease;
mod seat;
mod standby;
mod standing;

pub use lease::Lease;
pub(crate) use lease::{LENGTH, RENEW};
pub(crate) use seat::{SHARD as SEAT, Seat};
pub use standby::StandbyError;
pub(crate) use standby::{Owned, Parts as StandbyParts, Standby};
pub use standing::Standing;
pub(crate) use standing::{Promotion, Said, Stand};
