//! A primary and a standby: what is acknowledged is on both.

use std::sync::atomic::Ordering;
use std::thread;

use nix::sys::signal::Signal;
use orrery_pg::suite::Server;
use orrery_store::StoreError;
use orrery_store::suite::books::assert_kept;

use crate::fixture::Process;
use crate::writers::{Promised, last_rounds};

/// Goal: a store goes on at the standby that was promoted, nothing acknowledged is lost or doubled, and the
/// old primary is not taken for the new one when it comes back. Method: writers keep books while the primary
/// is killed and its standby promoted; the store is opened again, and its books are held against theirs.
#[test]
fn a_store_goes_on_at_the_standby_that_was_promoted() {
    let Some((primary, standby)) = Server::pair() else { return };
    let hosts = || vec![primary.host(), standby.host()];
    let at = || Process::at(hosts(), &primary, "failover");
    let promised = Promised::default();
    let process = at();
    let store = process.open(1);
    let begin = last_rounds(&store);
    let told = thread::scope(|scope| {
        let writers = scope.spawn(|| promised.write(&store, begin));
        promised.await_more(200);
        primary.crash(Signal::SIGKILL);
        standby.promote();
        promised.await_more(200);
        promised.over.store(true, Ordering::Release);
        writers.join().unwrap()
    });
    let is_typed = |error: &StoreError| {
        matches!(error, StoreError::Unknown { .. } | StoreError::Unavailable { .. })
    };
    assert!(told.iter().all(is_typed), "{told:?}");
    drop(store);
    let kept = assert_kept(&at().open(2), &promised.rounds.lock().unwrap());
    // Stale, without a standby, and first in the address.
    primary.begin();
    assert_kept(&at().open(3), &kept);
}
