//! What a follower gets: everything, in order, once; and how it gets it again.

use super::group::{
    again, content, eventually, fence, follow, lead, promote, renew, report, standby, wait_in_sync,
};
use crate::process::{Client, Engine, Value, bulk, encode, ok, pod_name};

const NO_LEASE: (u32, u32, u32) = (1, 0, 0);

fn fill(client: &mut Client, round: usize, keys: usize) {
    let filling = "x".repeat(100);
    let mut requests = vec![];
    for key in 0..keys {
        let lines = [
            format!("SET string:{key} {round}{filling}"),
            format!("RPUSH list:{} {round}", key % 7),
            format!("HSET hash:{} f{key} {round}", key % 5),
            format!("SADD set:{} {key} {round}", key % 3),
            format!("SET gone:{key} 1 PX 1"),
            format!("SET session:{key} {round} PX 3600000"),
        ];
        requests.extend(lines.iter().flat_map(|line| encode(line)));
    }
    client.send(&requests).expect("it takes all");
    for _ in 0..keys * 6 {
        let reply = client.read().expect("a reply");
        assert!(!matches!(reply, Value::Error(_)), "{reply:?}");
    }
}

#[test]
fn a_follower_copies_follows_and_serves_reads() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary], 1, NO_LEASE);
    let mut client = primary.client();
    fill(&mut client, 1, 300);
    follow(&follower, 1, &primary).expect("it obeys");
    wait_in_sync(&primary, &follower);
    fill(&mut client, 2, 300);
    client.run("MULTI");
    client.run("SET a 1");
    client.run("SELECT 3");
    client.run("SET b 2");
    client.run("SELECT 0");
    client.run("EXEC");
    client.run("LINSERT list:1 BEFORE 2 between");
    client.run("SWAPDB 3 4");
    client.run("RENAME string:1 string:renamed");
    client.run("SETRANGE string:2 5 overwritten");
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));

    let mut reader = follower.client();
    assert_eq!(reader.run("GET a"), bulk("1"));
    let refused = reader.run("SET a 2").text();
    assert_eq!(refused, "READONLY You can't write against a read only replica.");
    assert_eq!(reader.run("GET gone:1"), Value::Bulk(None));
    let Value::Array(Some(role)) = reader.run("ROLE") else { panic!("no role") };
    assert_eq!((role[0].text(), role[3].text()), ("slave".into(), "connected".into()));
    let info = reader.run("INFO replication").text();
    assert!(info.contains("role:slave") && info.contains("master_link_status:up"), "{info}");
    assert!(client.run("INFO replication").text().contains("connected_slaves:1"));
    let seen = eventually("the primary hears of it", || {
        report(&primary).followers.into_iter().find(|follower| follower.in_sync)
    });
    assert_eq!(seen.name, pod_name(follower.folder.path()));
}

#[test]
fn a_new_follower_begins_with_the_image_and_old_records_are_not_needed() {
    let config = "snapshotAfterBytes: 20000\n";
    let (primary, follower) = (standby(config), standby(config));
    lead(&[&primary], 1, NO_LEASE);
    let mut client = primary.client();
    fill(&mut client, 1, 200);
    eventually("there is an image", || {
        let position = report(&primary).figures["snapshot_position"];
        (position > 0).then_some(())
    });
    follow(&follower, 1, &primary).expect("it obeys");
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));
    assert!(report(&follower).figures["snapshot_position"] > 0, "it began with the image");
    fill(&mut client, 2, 100);
    wait_in_sync(&primary, &follower);
    // What it has survives it, and it goes on from there.
    let follower = again(follower.kill());
    fill(&mut client, 3, 100);
    follow(&follower, 1, &primary).expect("it obeys");
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));
    assert_eq!(report(&follower).figures["discarded_records"], 0);
}

#[test]
fn a_primary_with_another_history_puts_its_tail_aside_and_follows() {
    let (old, new) = (standby(""), standby(""));
    lead(&[&old, &new], 1, NO_LEASE);
    let mut client = old.client();
    // Nothing here expires: a removal is a record too, and these are counted below.
    for key in 0..50 {
        assert_eq!(client.run(&format!("SET string:{key} 1")), ok());
    }
    wait_in_sync(&old, &new);
    // The follower is gone; what is written now, it never sees.
    let folder = new.kill();
    for key in 0..20 {
        assert_eq!(client.run(&format!("SET string:{key} 2")), ok());
    }
    assert_eq!(client.run("SET lost 1"), ok());
    let ahead = report(&old).durable_position;
    let folder_of_old = old.kill();
    let new = again(folder);
    lead(&[&new], 2, NO_LEASE);
    let behind = report(&new).durable_position;
    assert!(behind < ahead);
    assert_eq!(new.client().run("SET kept 1"), ok());

    let old = again(folder_of_old);
    assert_eq!(renew(&old, 2, NO_LEASE).expect("it listens"), 2);
    assert!(!report(&old).writable, "a later epoch is known");
    follow(&old, 2, &new).expect("it obeys");
    wait_in_sync(&new, &old);
    assert_eq!(content(&new), content(&old));
    assert_eq!(old.client().run("GET lost"), Value::Bulk(None));
    let discarded = report(&old).figures["discarded_records"];
    assert_eq!(discarded, (ahead - behind) as i64);
    let last = ["last_discarded_records", "last_discarded_epoch"];
    assert_eq!(last.map(|name| report(&old).figures[name]), [discarded, 2]);
    let aside = old.folder.path().join("data/discarded-2");
    let segments = std::fs::read_dir(&aside).expect("the tail is kept").count();
    assert!(segments > 0);

    // And back again, by a switchover that loses nothing.
    let position = fence(&new, 3);
    eventually("the follower has it all", || {
        (report(&old).durable_position == position).then_some(())
    });
    let refused = new.client().run("SET kept 2").text();
    assert!(refused.starts_with("READONLY "), "{refused}");
    promote(&old, 3).expect("it obeys");
    renew(&old, 3, NO_LEASE).expect("it listens");
    assert_eq!(old.client().run("SET kept 3"), ok());
    follow(&new, 3, &old).expect("it obeys");
    wait_in_sync(&old, &new);
    assert_eq!(new.client().run("GET kept"), bulk("3"));
    assert_eq!(report(&new).figures["discarded_records"], 0);
}

#[test]
fn a_copy_that_is_cut_off_begins_again() {
    let (primary, follower) = (standby("snapshotAfterBytes: 20000\n"), standby(""));
    lead(&[&primary], 1, NO_LEASE);
    fill(&mut primary.client(), 1, 2000);
    primary.client().run("SAVE");
    follow(&follower, 1, &primary).expect("it obeys");
    let mut follower = follower;
    for _ in 0..5 {
        std::thread::sleep(std::time::Duration::from_millis(u64::from(follower.port % 13) * 3));
        follower = again(follower.kill());
        follow(&follower, 1, &primary).expect("it obeys");
    }
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));
    let left: Vec<_> = std::fs::read_dir(follower.folder.path().join("data"))
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("copy") || name.contains("old"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn declared_namespaces_and_cache_keys_on_followers() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    let declare = |engine: &Engine| {
        let set = vec![orrery_operand::v1::DeclaredObject {
            namespace: "default".into(),
            name: "cache".into(),
            uid: "cache".into(),
            generation: 1,
            spec: r#"{"match": {"prefix": "c:"}, "class": "Cache"}"#.into(),
        }];
        let request = orrery_operand::set_hash::sync_request("KVNamespace", set);
        super::group::block_on(async { super::group::operator(engine).sync(request).await })
    };
    let judged = declare(&follower).expect("it judges");
    assert!(judged.results[0].accepted);
    assert!(report(&follower).declared.is_empty(), "and waits for the record");
    declare(&primary).expect("it is accepted");
    let mut client = primary.client();
    assert_eq!(client.run("SET c:1 x"), ok());
    assert_eq!(client.run("SET s:1 x"), ok());
    wait_in_sync(&primary, &follower);
    eventually("the follower holds the set", || {
        (report(&follower).declared == report(&primary).declared).then_some(())
    });
    let mut reader = follower.client();
    assert_eq!(reader.run("GET c:1"), Value::Bulk(None), "caches are not replicated");
    assert_eq!(reader.run("GET s:1"), bulk("x"));
    assert!(reader.run("SET c:2 x").text().starts_with("READONLY "));
    // A primary that becomes a follower has none either: nobody would keep them up to date.
    fence(&primary, 2);
    promote(&follower, 2).expect("it obeys");
    follow(&primary, 2, &follower).expect("it obeys");
    wait_in_sync(&follower, &primary);
    assert_eq!(primary.client().run("GET c:1"), Value::Bulk(None));
}
