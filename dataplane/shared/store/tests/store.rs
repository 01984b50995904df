//! The promises of the store, over every engine.

#![allow(clippy::unwrap_used)]

#[path = "store/books.rs"]
mod books;
#[path = "store/child.rs"]
mod child;
#[path = "store/conformance.rs"]
mod conformance;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/faults.rs"]
mod faults;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/model.rs"]
mod model;
#[path = "store/tail.rs"]
mod tail;
#[path = "store/watch.rs"]
mod watch;
