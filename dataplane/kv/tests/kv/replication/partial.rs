//! A follower that has a part of its primary's data: it says so, and nobody can make it primary.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use orrery_operand::OperandError;
use orrery_operand::v1::Role;

use super::group::{
    again, block_on, content, eventually, fence, follow, lead, operator, promote, renew, report,
    standby, wait_in_sync,
};
use crate::process::{Client, Engine, Value, bulk, encode, ok};

const NO_LEASE: (u32, u32, u32) = (1, 0, 0);
const VALUE_BYTES: usize = 1000;
const KEYS: usize = 3000;
/// Less than all records, more than some of them.
const LET_THROUGH: u64 = 1 << 20;

/// Keys written at a time: what arrives together becomes one record, which must pass as a whole.
const AT_ONCE: usize = 50;

/// Records enough that a part of them can be held back, and no image.
fn fill(client: &mut Client) {
    let value = "v".repeat(VALUE_BYTES);
    for first in (0..KEYS).step_by(AT_ONCE) {
        for key in first..first + AT_ONCE {
            client.send(&encode(&format!("SET key:{key} {key}{value}"))).expect("it takes it");
        }
        for _ in 0..AT_ONCE {
            assert_eq!(client.read().expect("a reply"), ok());
        }
    }
}

/// Where a follower reaches `primary`, whose first bytes come through and no more, in the middle of a
/// record; later connections are closed.
fn narrow_way(primary: &Engine) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    let to = primary.address();
    thread::spawn(move || {
        let (mut follower, _) = listener.accept().expect("the follower comes");
        let mut primary = TcpStream::connect(to).expect("the primary listens");
        let mut asks = follower.try_clone().expect("a copy");
        let mut asked = primary.try_clone().expect("a copy");
        thread::spawn(move || std::io::copy(&mut asks, &mut asked));
        let mut first = (&mut primary).take(LET_THROUGH);
        // The rest stays here until the follower gives the link up.
        if std::io::copy(&mut first, &mut follower).is_ok() {
            _ = follower.flush();
            _ = follower.read(&mut [0; 1]);
        }
        while let Ok((next, _)) = listener.accept() {
            drop(next);
        }
    });
    address
}

fn follow_at(engine: &Engine, epoch: u64, address: String) {
    let followed = block_on(async { operator(engine).follow(0, epoch, address, false).await });
    followed.expect("it obeys");
}

fn is_refused(result: &Result<u64, OperandError>) -> bool {
    matches!(result, Err(OperandError::Unavailable(_)))
}

#[test]
fn a_part_of_the_data_is_nobodys_place() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary], 1, NO_LEASE);
    fill(&mut primary.client());
    let last = report(&primary).durable_position;
    follow_at(&follower, 1, narrow_way(&primary));
    let part = eventually("a part is on its disk", || {
        Some(report(&follower)).filter(|report| report.durable_position > 0)
    });
    assert!(part.durable_position < last, "the way was not narrow");
    assert_eq!((part.whole, part.durable_epoch), (Some(false), 1));
    assert!(is_refused(&promote(&follower, 2)));
    // Neither an end of its process nor a fence makes it more than it is.
    let follower = again(follower.kill());
    assert_eq!(report(&follower).whole, Some(false));
    assert!(is_refused(&promote(&follower, 2)));
    fence(&follower, 2);
    assert!(is_refused(&promote(&follower, 2)));
    renew(&follower, 2, NO_LEASE).expect("it listens");
    let found = report(&follower);
    assert_eq!((found.role(), found.writable), (Role::Standby, false));
    assert!(matches!(follower.client().run("GET key:1"), Value::Error(_)));

    // The rest makes it whole.
    promote(&primary, 3).expect("it obeys");
    renew(&primary, 3, NO_LEASE).expect("it listens");
    follow(&follower, 3, &primary).expect("it obeys");
    wait_in_sync(&primary, &follower);
    eventually("it knows", || (report(&follower).whole == Some(true)).then_some(()));
    assert_eq!(content(&primary), content(&follower));
    promote(&follower, 4).expect("it obeys");
    renew(&follower, 4, NO_LEASE).expect("it listens");
    assert_eq!(follower.client().run("STRLEN key:2999"), Value::Integer(VALUE_BYTES as i64 + 4));
}

#[test]
fn who_has_an_image_and_the_records_behind_it_is_whole() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary], 1, NO_LEASE);
    let mut client = primary.client();
    fill(&mut client);
    assert_eq!(client.run("SAVE"), ok());
    assert_eq!(client.run("SET behind 1"), ok());
    follow(&follower, 1, &primary).expect("it obeys");
    wait_in_sync(&primary, &follower);
    eventually("it knows", || (report(&follower).whole == Some(true)).then_some(()));
    let follower = again(follower.kill());
    assert_eq!(report(&follower).whole, Some(true), "it does not forget");
    promote(&follower, 2).expect("it obeys");
    renew(&follower, 2, NO_LEASE).expect("it listens");
    assert_eq!(follower.client().run("GET behind"), bulk("1"));
}

#[test]
fn where_nothing_was_written_who_followed_once_has_all() {
    let (primary, follower) = (standby(""), standby(""));
    assert_eq!(report(&primary).whole, Some(false), "nobody knows what was on its volume");
    lead(&[&primary, &follower], 1, NO_LEASE);
    assert_eq!(report(&primary).whole, Some(true));
    eventually("it knows", || (report(&follower).whole == Some(true)).then_some(()));
    drop(primary);
    let follower = again(follower.kill());
    let found = report(&follower);
    assert_eq!((found.whole, found.durable_position), (Some(true), 0));
    promote(&follower, 2).expect("it obeys");
    renew(&follower, 2, NO_LEASE).expect("it listens");
    assert_eq!(follower.client().run("SET a 1"), ok());
}
