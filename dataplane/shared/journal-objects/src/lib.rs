//! Carries the journal of one shard in an object store that speaks S3, or in a folder.
//!
//! All it asks of the store is that an object can be put on condition that there is none of its name,
//! that what was put is read by whoever asks afterwards, and that listings show things before long.
//! No compare-and-set of content, no clock, no lock. The layout and the proof of what it promises are
//! in `docs/carriers.md`.
//!
//! | file | what |
//! |---|---|
//! | `carrier` | the [`Carrier`](orrery_journal::Carrier) |
//! | `control`, `chain` | who owns the shard, which snapshots count, where the log begins |
//! | `slot`, `log`, `read` | the objects of the log, where it ends, reading it |
//! | `writer` | taking over, appending |
//! | `piece`, `save`, `load` | snapshots |
//! | `trim` | removing the beginning of the log |
//! | `probe` | whether a store can be used at all |
//! | `lane`, `known`, `name`, `bytes`, `search`, `error` | requests, what is remembered, names, headers |

mod bytes;
mod carrier;
mod chain;
mod control;
mod error;
mod known;
mod lane;
mod load;
mod log;
mod name;
mod piece;
mod probe;
mod read;
mod save;
mod search;
mod slot;
mod trim;
mod writer;

pub use carrier::{ObjectCarrier, REQUEST_LIMIT};
pub use lane::Requests;
