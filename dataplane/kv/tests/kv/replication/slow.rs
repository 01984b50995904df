//! Followers that cannot keep up: stopped ones, and ones whose disk is full. The primary goes on.

use super::group::{again, content, eventually, follow, lead, report, standby, wait_in_sync};
use crate::disk_full::SmallDisk;
use crate::process::{Client, Engine, Value, encode, ok};

const NO_LEASE: (u32, u32, u32) = (1, 0, 0);
const VALUE_BYTES: usize = 64 * 1024;

/// Overwrites a few keys, so that much is written and little is kept.
fn write_much(client: &mut Client, count: usize) {
    let value = "v".repeat(VALUE_BYTES);
    for number in 0..count {
        client
            .send(&encode(&format!("SET big{} {number}{value}", number % 5)))
            .expect("it takes it");
        assert_eq!(client.read().expect("a reply"), ok());
    }
}

#[test]
fn a_follower_that_takes_nothing_is_cut_off_and_comes_back() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    let mut client = primary.client();
    write_much(&mut client, 10);
    wait_in_sync(&primary, &follower);
    follower.signal("STOP");
    write_much(&mut client, 300);
    eventually("it is cut off", || report(&primary).followers.is_empty().then_some(()));
    assert_eq!(report(&primary).reason, "FollowerLagging");
    write_much(&mut client, 10);
    follower.signal("CONT");
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));
    assert_eq!(report(&follower).figures["discarded_records"], 0);
}

#[test]
fn a_follower_with_a_full_disk_waits_serves_reads_and_goes_on_when_there_is_room() {
    let folder = Engine::prepare("group: true\n");
    let Some(disk) = SmallDisk::mount(folder.path().join("data")) else { return };
    let (primary, follower) = (standby(""), again(folder));
    lead(&[&primary, &follower], 1, NO_LEASE);
    let mut client = primary.client();
    assert_eq!(client.run("SET before 1"), ok());
    wait_in_sync(&primary, &follower);
    disk.fill();
    // More than the segments it has made ahead.
    let (mut written, mut found) = (0, report(&follower));
    while written < 8000 && found.reason != "JournalFull" {
        write_much(&mut client, 100);
        written += 100;
        found = report(&follower);
    }
    assert_eq!((found.ready, found.reason.as_str()), (true, "JournalFull"));
    assert!(found.durable_position < report(&primary).durable_position);
    assert_eq!(follower.client().run("GET before").text(), "1");
    assert!(!matches!(follower.client().run("SET before 2"), Value::Status(_)));
    assert_eq!(client.run("SET after 1"), ok(), "the primary has room");
    // Even a kill in that state costs nothing.
    let follower = again(follower.kill());
    follow(&follower, 1, &primary).expect("it obeys");
    disk.make_room();
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));
    drop(follower.stop());
    drop(disk);
}
