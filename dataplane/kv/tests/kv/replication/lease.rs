//! Until when a primary may write, and what it may say afterwards.

use std::thread;
use std::time::Duration;

use orrery_operand::v1::RenewRequest;

use super::group::{
    block_on, content, eventually, fence, follow, lead, promote, renew, report, standby,
    wait_in_sync,
};
use super::keeper::Keeper;
use crate::process::{Client, Engine, Value, encode, ok};

/// Short, so that tests need not wait long for its end.
const LEASE_MS: u32 = 1500;

/// Whether a write is refused. One whose lease ends while it is under way is answered by the end of
/// its connection.
fn refuses(engine: &Engine) -> bool {
    engine.client().try_run("SET probe 1").is_ok_and(|reply| is_refused(&reply))
}

/// Whether a write is acknowledged.
fn takes(engine: &Engine) -> bool {
    engine.client().try_run("SET probe 1").is_ok_and(|reply| reply == ok())
}

fn is_refused(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with("READONLY "))
}

#[test]
fn a_primary_that_nobody_confirms_stops_writing_and_goes_on_when_it_is_confirmed() {
    let engine = standby("");
    lead(&[&engine], 1, (2, 0, LEASE_MS));
    eventually("writes are refused", || refuses(&engine).then_some(()));
    let found = report(&engine);
    assert_eq!((found.writable, found.reason.as_str()), (false, "LeaseExpired"));
    assert!(found.degraded, "reads are served");
    // Not of the key just written: what is not safe yet is not shown.
    assert_eq!(engine.client().run("GET untouched"), Value::Bulk(None));
    eventually("writes are taken", || {
        renew(&engine, 1, (2, 0, LEASE_MS)).expect("it listens");
        takes(&engine).then_some(())
    });
    // One follower of two is not more than half of them.
    let follower = standby("");
    follow(&follower, 1, &engine).expect("it obeys");
    eventually("writes are refused", || refuses(&engine).then_some(()));
}

#[test]
fn followers_confirm_a_primary_that_the_operator_does_not_reach() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, (1, 0, LEASE_MS));
    // What the renewal gave has long run out.
    thread::sleep(Duration::from_millis(u64::from(2 * LEASE_MS)));
    eventually("writes are taken", || takes(&primary).then_some(()));
    drop(follower.kill());
    eventually("writes are refused", || refuses(&primary).then_some(()));
}

/// Writes and reads while the follower is stopped: neither is answered before it goes on. False if
/// the write was refused.
fn waits_for(client: &mut Client, primary: &Engine, follower: &Engine) -> bool {
    eventually("writes are taken", || takes(primary).then_some(()));
    follower.signal("STOP");
    client.send(&encode("SET a 2")).expect("it takes it");
    thread::sleep(Duration::from_millis(300));
    let is_refused = client.has_reply();
    let mut reader = primary.client();
    reader.send(&encode("GET a")).expect("it takes it");
    thread::sleep(Duration::from_millis(300));
    let is_read = reader.has_reply();
    follower.signal("CONT");
    let reply = client.read().expect("a reply");
    let value = reader.read().expect("a reply");
    if is_refused {
        assert!(reply.text().starts_with("NOREPLICAS "), "no follower has it: {reply:?}");
        return false;
    }
    assert!(!is_read, "nobody may see what no follower has");
    assert_eq!((reply, value.text().as_str()), (ok(), "2"));
    true
}

#[test]
fn reads_are_served_after_a_failover_although_no_follower_is_left() {
    let (old, new) = (standby(""), standby(""));
    lead(&[&old, &new], 1, (1, 1, 0));
    eventually("writes are taken", || takes(&old).then_some(()));
    drop(old.kill());
    fence(&new, 2);
    promote(&new, 2).expect("it obeys");
    renew(&new, 2, (1, 1, 0)).expect("it listens");
    assert_eq!(new.client().run("GET probe").text(), "1");
    assert!(new.client().run("SET probe 2").text().starts_with("NOREPLICAS "));
}

#[test]
fn an_acknowledgement_waits_for_the_followers_that_must_have_the_write() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, (1, 1, 0));
    assert_eq!(report(&primary).durability, "replicated");
    let mut client = primary.client();
    // A follower that has just fallen behind makes the primary refuse: then once more.
    while !waits_for(&mut client, &primary, &follower) {}
    // Without a follower writes are refused, not left hanging.
    let folder = follower.kill();
    eventually("the primary notices", || (!report(&primary).writable).then_some(()));
    assert!(client.run("SET a 3").text().starts_with("NOREPLICAS "));
    let follower = super::group::again(folder);
    follow(&follower, 1, &primary).expect("it obeys");
    eventually("writes are taken", || takes(&primary).then_some(()));
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));
}

#[test]
fn a_write_whose_lease_ran_out_before_it_was_safe_is_never_acknowledged() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, (1, 1, LEASE_MS));
    eventually("writes are taken", || takes(&primary).then_some(()));
    let mut client = primary.client();
    follower.signal("STOP");
    client.send(&encode("SET a 2")).expect("it takes it");
    if let Ok(said) = client.read() {
        assert!(is_refused(&said), "never that it is safe: {said:?}");
    }
    follower.signal("CONT");
    eventually("it goes on", || takes(&primary).then_some(()));
}

#[test]
fn a_renewal_that_was_long_under_way_renews_nothing() {
    let engine = standby("");
    let old = report(&engine).said_at;
    lead(&[&engine], 1, (2, 0, LEASE_MS));
    let renew_with = |said_at| {
        let request = RenewRequest {
            shard: 0,
            epoch: 1,
            followers: 2,
            synchronous: 0,
            lease_milliseconds: LEASE_MS,
            said_at,
        };
        block_on(async { super::group::operator(&engine).renew(request).await })
            .expect("it listens");
    };
    eventually("writes are refused", || refuses(&engine).then_some(()));
    for foreign in [old, 0, 1, u64::MAX, report(&engine).said_at + 1_000_000] {
        renew_with(foreign);
        assert!(refuses(&engine), "{foreign}");
    }
    eventually("writes are taken", || {
        renew_with(report(&engine).said_at);
        takes(&engine).then_some(())
    });
}

/// Sends writes without reading, as long as the socket takes them.
fn send_some(client: &mut Client, count: usize) {
    for number in 0..count {
        client.send(&encode(&format!("SET late{number} 1"))).expect("the socket takes it");
    }
}

#[test]
fn a_primary_that_was_stopped_acknowledges_nothing_after_its_lease() {
    let (old, new) = (standby(""), standby(""));
    lead(&[&old, &new], 1, (1, 0, LEASE_MS));
    // Somebody goes on confirming the old epoch to it all the time, as messages on their way do.
    let keeper = Keeper::keep(&old, 1, (1, 0, LEASE_MS));
    eventually("writes are taken", || takes(&old).then_some(()));
    wait_in_sync(&old, &new);
    let mut clients: Vec<Client> = (0..5).map(|_| old.client()).collect();
    for client in &mut clients {
        assert_eq!(client.run("PING").text(), "PONG");
    }
    old.signal("STOP");
    for client in &mut clients {
        send_some(client, 20);
    }
    thread::sleep(Duration::from_millis(u64::from(LEASE_MS) + 500));
    fence(&new, 2);
    promote(&new, 2).expect("it obeys");
    renew(&new, 2, (1, 0, 0)).expect("it listens");
    assert_eq!(new.client().run("SET a 2"), ok());
    drop(keeper);
    old.signal("CONT");
    for client in &mut clients {
        // Whatever comes, it is no acknowledgement.
        while let Ok(reply) = client.read() {
            assert!(is_refused(&reply), "{reply:?}");
            if client.has_reply() {
                continue;
            }
            break;
        }
    }
    assert!(refuses(&old));
    follow(&old, 2, &new).expect("it obeys");
    wait_in_sync(&new, &old);
    assert_eq!(content(&new), content(&old));
    assert_eq!(old.client().run("GET a").text(), "2");
}
