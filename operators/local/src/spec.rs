//! From files people write to objects that can be carried out: read, understood, checked.
//!
//! Must not: start or stop anything. Everything wrong is a [`Problem`] with file, line and column.

pub mod defaults;
pub mod document;
pub mod manifest;
pub mod problem;
pub mod schema;
pub mod source;
pub mod suggest;
pub mod yaml;

pub use manifest::{Declaration, Manifest, References, load};
pub use problem::{Place, Problem};
pub use source::{SourceFile, Sources};
