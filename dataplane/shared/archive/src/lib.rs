//! Snapshots and journal records in a store, and the way back to any second of them.
//!
//! An archive belongs to one journal, and holds below its address:
//!
//! | object | content |
//! |---|---|
//! | `owner`, `owners/<number>` | which journal it is of; put once |
//! | `engine.json` | what the engine says of itself, if it has to; put once |
//! | `lines/<epoch>.json` | what one writer goes on from, see [`line`] |
//! | `journal/<first>-<last>-<earliest>-<latest>[-e<epoch>].rec` | records of these positions and times, see [`group`] |
//! | `images/<position>-<time>[-e<epoch>]/<number>.part` | a piece of an image, as the engine wrote it |
//! | `snapshots/<position>-<time>[-e<epoch>].json` | its manifest, put last: without it there is no snapshot |
//!
//! Positions have 20 digits, so names sort as positions do and a listing is the index. Objects are
//! put once and never changed, so a writer that died in the middle is continued by listing; what no
//! wanted moment needs is removed, oldest first.
//!
//! It must not interpret records or images, read a clock, or decide when something is written.

mod archive;
mod error;
pub mod group;
pub mod line;
mod name;
mod owner;
mod plan;
mod snapshot;

pub use archive::Archive;
pub use error::ArchiveError;
pub use line::{Line, Piece, Stretch, View};
pub use name::{FIRST_LINE, GroupName, SnapshotName};
pub use owner::Owner;
pub use plan::{Plan, Target, base, plan};
pub use snapshot::{Manifest, Part, PartWriter};
