//! Who may be what, and when: epochs, restarts, goodbyes.

use orrery_operand::OperandError;
use orrery_operand::v1::Role;

use super::group::{
    again, eventually, fence, follow, lead, promote, renew, report, standby, wait_in_sync,
};
use crate::process::{Engine, bulk, ok};

const NO_LEASE: (u32, u32, u32) = (1, 0, 0);

fn is_fenced<T>(result: &Result<T, OperandError>) -> bool {
    matches!(result, Err(OperandError::Fenced { .. }))
}

#[test]
fn a_process_of_a_group_serves_nothing_until_it_is_told_what_to_be() {
    let engine = standby("");
    let mut client = engine.client();
    for request in ["GET a", "SET a 1", "PING", "FLUSHALL", "DBSIZE", "KEYS *"] {
        assert!(client.run(request).text().starts_with("LOADING "), "{request}");
    }
    assert!(client.run("INFO server").text().contains("redis_version"));
    assert_eq!(client.run("CLIENT SETNAME x"), ok());
    let found = report(&engine);
    assert!(!found.ready && !found.writable);
    promote(&engine, 1).expect("it obeys");
    assert!(client.run("SET a 1").text().starts_with("READONLY "), "nobody confirmed it yet");
    renew(&engine, 1, NO_LEASE).expect("it listens");
    assert_eq!(client.run("SET a 1"), ok());
    let found = report(&engine);
    assert!(found.writable && found.ready && found.role() == Role::Primary);
    assert_eq!((found.epoch, found.known_epoch), (1, 1));
    // What is told of the disk may be a moment old.
    eventually("it is told", || (report(&engine).durable_epoch == 1).then_some(()));
}

#[test]
fn epochs_are_granted_once_and_never_fall() {
    let (one, other) = (standby(""), standby(""));
    renew(&one, 4, NO_LEASE).expect("it listens");
    assert!(is_fenced(&promote(&one, 3)), "4 is known");
    promote(&one, 5).expect("it obeys");
    assert!(is_fenced(&promote(&one, 5)), "granted before");
    assert!(is_fenced(&follow(&one, 5, &other)), "it holds that epoch itself");
    assert!(is_fenced(&follow(&one, 4, &other)), "older than what is known");
    follow(&other, 5, &one).expect("it obeys");
    assert!(is_fenced(&promote(&other, 5)), "that epoch is another one's");
    wait_in_sync(&one, &other);
    // A fence lets its own epoch through.
    fence(&other, 7);
    assert!(is_fenced(&promote(&other, 6)));
    promote(&other, 7).expect("it obeys");
    // A follower that knows better fences its primary.
    eventually("the old primary hears of it", || follow(&one, 7, &other).ok());
    wait_in_sync(&other, &one);
    assert_eq!(report(&one).known_epoch, 7);
}

#[test]
fn a_follower_that_was_fenced_fences_its_primary_by_saying_so() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    assert_eq!(primary.client().run("SET a 1"), ok());
    fence(&follower, 2);
    let found = eventually("the primary hears of it", || {
        Some(report(&primary)).filter(|report| report.role() == Role::Fenced)
    });
    assert_eq!((found.epoch, found.known_epoch, found.writable), (1, 2, false));
    assert!(primary.client().run("SET a 2").text().starts_with("READONLY "));
}

#[test]
fn the_holder_of_an_epoch_goes_on_after_a_restart_once_it_is_confirmed() {
    let engine = standby("");
    lead(&[&engine], 3, NO_LEASE);
    assert_eq!(engine.client().run("SET a 1"), ok());
    let engine = again(engine.kill());
    assert!(engine.client().run("GET a").text().starts_with("LOADING "));
    assert_eq!(report(&engine).epoch, 3);
    renew(&engine, 2, NO_LEASE).expect("it listens");
    assert_eq!(report(&engine).role(), Role::Standby, "that was another epoch");
    renew(&engine, 3, NO_LEASE).expect("it listens");
    assert_eq!(engine.client().run("GET a"), bulk("1"));
    assert_eq!(engine.client().run("SET a 2"), ok());
    // Fenced meanwhile, it does not.
    fence(&engine, 4);
    let engine = again(engine.kill());
    for epoch in [3, 4] {
        assert_eq!(renew(&engine, epoch, NO_LEASE).expect("it listens"), 4);
        assert_eq!(report(&engine).role(), Role::Standby);
    }
}

#[test]
fn a_primary_that_ends_in_order_says_goodbye_and_gives_its_epoch_up() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    let mut client = primary.client();
    for number in 0..200 {
        assert_eq!(client.run(&format!("SET k{number} {number}")), ok());
    }
    drop(client);
    assert_eq!(report(&follower).completed_epoch, 0);
    let last = report(&primary).durable_position;
    // Drained before, as by an operator that rolls the pod: it still owes its goodbye.
    super::group::block_on(async {
        super::group::operator(&primary).drain(5, |_| {}).await.expect("it drains")
    });
    let folder = primary.stop();
    let found = eventually("the follower has heard goodbye", || {
        Some(report(&follower)).filter(|report| report.completed_epoch == 1)
    });
    assert_eq!(found.durable_position, last);
    let follower = again(follower.kill());
    // What it has heard it does not forget.
    let stopped = again(folder);
    renew(&stopped, 1, NO_LEASE).expect("it listens");
    assert_eq!(report(&stopped).role(), Role::Standby, "it gave that epoch up");
    assert_eq!(report(&stopped).completed_epoch, 1);
    assert_eq!(report(&follower).completed_epoch, 1);
    promote(&follower, 2).expect("it obeys");
    renew(&follower, 2, NO_LEASE).expect("it listens");
    assert_eq!(follower.client().run("GET k199"), bulk("199"));
    follow(&stopped, 2, &follower).expect("it obeys");
    wait_in_sync(&follower, &stopped);
    assert_eq!(report(&stopped).figures["discarded_records"], 0);
}

#[test]
fn a_process_without_a_group_knows_nothing_of_followers() {
    let (alone, other) = (Engine::start(""), Engine::start(""));
    let refused = |error| matches!(error, OperandError::Unsupported(_));
    assert!(refused(follow(&alone, 1, &other).expect_err("it is alone")));
    assert!(refused(renew(&alone, 1, NO_LEASE).expect_err("it is alone")));
    let asked = alone.client().run("PSYNC orrery-journal-1:1:0 0").text();
    assert!(asked.starts_with("NOPERM "), "{asked}");
}
