//! The promises of the store, over every engine.

#![allow(clippy::unwrap_used)]

#[path = "store/child.rs"]
mod child;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/engines.rs"]
mod engines;
#[path = "store/faults.rs"]
mod faults;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/tail.rs"]
mod tail;

mod memory {
    orrery_store::conformance!(Some(orrery_store::suite::Fixture::memory));
}

mod fjall {
    orrery_store::conformance!(Some(crate::fixture::fjall));

    #[test]
    fn it_agrees_with_its_twin() {
        orrery_store::suite::model::agrees_with_its_twin(&crate::fixture::fjall);
    }
}

#[cfg(feature = "redb")]
mod redb {
    orrery_store::conformance!(Some(crate::fixture::redb));

    #[test]
    fn it_agrees_with_its_twin() {
        orrery_store::suite::model::agrees_with_its_twin(&crate::fixture::redb);
    }
}
