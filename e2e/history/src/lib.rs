//! Judges what clients saw while a service failed: a history of operations goes in, a verdict comes
//! out that a person can read.
//!
//! [`registers`](register::registers) asks whether single values were linearizable,
//! [`lists`](lists::anomalies) which anomalies transactions over lists show, and
//! [`books`](books::differences) whether what was acknowledged is there, once. None of them knows the
//! service: they must not connect to anything, take a time or draw a number.
//!
//! What a checker says is an anomaly is one. The other direction is bounded: [`Verdict::Undecided`] says
//! that the search for an order was given up.

pub mod books;
mod history;
mod linear;
pub mod lists;
pub mod register;

pub use history::{Operation, Outcome};
pub use linear::{BUDGET_STEPS, Model, Verdict, linearizable};
