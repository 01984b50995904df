//! What no follower has is shown to nobody, by a primary that was fenced neither: it will be discarded.

use super::group::{
    content, eventually, fence, follow, lead, promote, renew, standby, wait_in_sync,
};
use crate::process::{Value, bulk, encode, ok};

/// Found by `histories`, as a read of an element that was in no list before or after.
#[test]
fn a_fenced_primary_does_not_show_what_no_follower_has() {
    let (old, new) = (standby(""), standby(""));
    lead(&[&old, &new], 1, (1, 1, 0));
    let mut client = old.client();
    eventually("writes are taken", || (client.run("SET a 1") == ok()).then_some(()));
    assert_eq!(client.run("SET b 1"), ok());
    new.signal("STOP");
    client.send(&encode("SET a 2")).expect("the socket takes it");
    let mut reader = old.client();
    reader.send(&encode("GET a")).expect("the socket takes it");
    assert!(!reader.has_reply() && !client.has_reply(), "no follower has it");
    fence(&old, 2);
    client.read().expect_err("nobody knows what becomes of it");
    reader.read().expect_err("of this neither");
    let after = old.client().try_run("GET a");
    assert!(after.is_err(), "not what no follower has: {after:?}");
    assert_eq!(old.client().run("GET b"), bulk("1"), "what is safe is served");
    new.signal("CONT");
    fence(&new, 2);
    promote(&new, 2).expect("it obeys");
    renew(&new, 2, (1, 0, 0)).expect("it listens");
    let value = new.client().run("GET a");
    assert!(value == bulk("1") || value == bulk("2"), "{value:?}");
    follow(&old, 2, &new).expect("it obeys");
    wait_in_sync(&new, &old);
    assert_eq!(content(&old), content(&new));
    assert!(matches!(old.client().run("SET a 3"), Value::Error(_)));
}
