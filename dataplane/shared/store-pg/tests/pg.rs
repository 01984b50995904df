//! Stores on real servers: the suite of all engines, and what only this one can get wrong.
//!
//! Servers are those of Debian's package, started as an unprivileged user in temporary folders. If
//! there are none, each test says `not run` and why.

#![allow(clippy::unwrap_used)]

#[path = "pg/access.rs"]
mod access;
#[path = "pg/fencing.rs"]
mod fencing;
#[path = "pg/fixture.rs"]
mod fixture;
#[path = "pg/kills.rs"]
mod kills;
#[path = "pg/replication.rs"]
mod replication;
#[path = "pg/writers.rs"]
mod writers;

mod suite {
    orrery_store::conformance!(crate::fixture::make());

    #[test]
    fn it_agrees_with_its_twin() {
        let Some(make) = crate::fixture::make() else { return };
        orrery_store::suite::model::agrees_with_its_twin(&make);
    }
}
