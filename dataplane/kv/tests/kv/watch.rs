//! The change stream as its clients meet it: over HTTP, from a real process.

#[path = "watch/client.rs"]
mod client;
#[path = "watch/doors.rs"]
mod doors;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::RngExt;

use self::client::{Event, Watcher};
use crate::process::{Client, Engine, Value, bulk, ok};
use crate::replication::group::{
    content, eventually, fence, follow, lead, promote, renew, report, standby, wait_in_sync,
};

const WRITERS: usize = 3;

/// Commands whose effects can be said in commands that this engine knows.
fn write_something(client: &mut Client, writer: usize, number: u64) {
    let mut random = rand::rng();
    let key = format!("w{writer}:{}", random.random_range(0..5));
    let line = match random.random_range(0..9) {
        0 => format!("SET {key} {number}"),
        1 => format!("SET {key} {number} PXAT 99999999999999"),
        2 => format!("DEL {key}"),
        3 => format!("RENAME {key} other{writer}"),
        4 => format!("RPUSH list{writer} {number} more"),
        5 => format!("LPOP list{writer}"),
        6 => format!("HSET hash{writer} f{} {number}", number % 7),
        7 => format!("SADD set{writer} {number}"),
        _ => format!("APPEND text{writer} {number}"),
    };
    if !matches!(client.run(&line), Value::Error(text) if !text.contains("no such key") && !text.contains("WRONGTYPE"))
    {
        return;
    }
    panic!("{line} was refused");
}

/// Does to another engine what events say was done.
fn replay(client: &mut Client, database: &mut u64, event: &Event) {
    let change = event.change();
    if change.database != *database {
        assert_eq!(client.run(&format!("SELECT {}", change.database)), ok());
        *database = change.database;
    }
    for command in &change.commands {
        let answer = client.run(&command.join(" "));
        assert!(!matches!(answer, Value::Error(_)), "{command:?}: {answer:?}");
    }
}

#[test]
fn what_is_watched_through_cuts_is_everything_once_and_in_order() {
    let (engine, copy) = (Engine::start("databases: 16\n"), Engine::start(""));
    let is_over = AtomicBool::new(false);
    let events = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (engine, is_over) = (&engine, &is_over);
            scope.spawn(move || {
                let mut client = engine.client();
                client.run(&format!("SELECT {writer}"));
                for number in 0.. {
                    write_something(&mut client, writer, number);
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let mut events: Vec<Event> = vec![];
        let mut from = "0".to_owned();
        for _ in 0..20 {
            let mut watcher = Watcher::open(&engine, &format!("/v1/watch?from={from}"));
            for _ in 0..rand::rng().random_range(1..200) {
                let event = watcher.change();
                from.clone_from(&event.id);
                events.push(event);
            }
            // Here it is cut, in the middle of whatever it is being sent.
        }
        is_over.store(true, Ordering::Relaxed);
        events
    });
    let last = engine.client().run("SET last 1");
    assert_eq!(last, ok());
    let mut events = events;
    let from = events[events.len() - 1].id.clone();
    let mut watcher = Watcher::open(&engine, &format!("/v1/watch?from={from}"));
    while events[events.len() - 1].change().key != "last" {
        events.push(watcher.change());
    }
    let (mut client, mut database) = (copy.client(), 0);
    let mut position = 0;
    for event in &events {
        assert!(event.change().position >= position, "in order");
        position = event.change().position;
        replay(&mut client, &mut database, event);
    }
    assert_eq!(content(&copy), content(&engine));
}

#[test]
fn a_watcher_of_now_hears_nothing_of_before_and_all_of_after() {
    let engine = Engine::start("");
    let mut client = engine.client();
    assert_eq!(client.run("SET before 1"), ok());
    let mut watcher = Watcher::open(&engine, "/v1/watch");
    let place = watcher.place();
    assert_eq!(client.run("SET after 1"), ok());
    assert_eq!(client.run("SET x:1 1"), ok());
    assert_eq!(watcher.change().change().key, "after");
    // The place it was given at the beginning is one to come back to.
    let path = format!("/v1/watch?from={place}&prefix=x:");
    assert_eq!(Watcher::open(&engine, &path).change().change().key, "x:1");
    let mut again = Watcher::with(&engine, "/v1/watch", &[("Last-Event-ID", &place)]);
    assert_eq!(again.change().change().key, "after");
}

#[test]
fn a_transaction_is_not_torn_by_a_cut() {
    let engine = Engine::start("");
    let mut client = engine.client();
    for command in ["MULTI", "SET a 1", "SET b 2", "SET c 3", "EXEC"] {
        client.run(command);
    }
    let mut watcher = Watcher::open(&engine, "/v1/watch?from=0");
    let first = watcher.change();
    assert_eq!(first.change().key, "a");
    let mut again = Watcher::open(&engine, &format!("/v1/watch?from={}", first.id));
    assert_eq!(again.change().change().key, "b");
    let last = again.change();
    assert_eq!((last.change().key.as_str(), last.id.matches('-').count()), ("c", 1));
}

#[test]
fn what_the_journal_no_longer_has_is_gone() {
    let engine = Engine::start("");
    let mut client = engine.client();
    let value = "v".repeat(1 << 20);
    // More than a segment, so that a snapshot lets one go.
    for number in 0..80 {
        assert_eq!(client.run(&format!("SET k{number} {value}")), ok());
    }
    assert_eq!(client.run("SAVE"), ok());
    eventually("the journal is trimmed", || {
        let answer = client::status(&engine, "/v1/watch?from=0", &[]);
        answer.starts_with("HTTP/1.1 410").then_some(())
    });
    let epoch = client::status(&engine, "/v1/watch?from=77-3", &[]);
    assert!(epoch.starts_with("HTTP/1.1 410") && epoch.contains("the history"), "{epoch}");
    let future = client::status(&engine, "/v1/watch?from=0-99999999", &[]);
    assert!(future.starts_with("HTTP/1.1 410"), "{future}");
}

#[test]
fn a_watcher_goes_on_at_the_next_primary() {
    let members = [standby(""), standby("")];
    let [old, new] = &members;
    let refused = client::status(old, "/v1/watch", &[]);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    lead(&[old, new], 1, (1, 1, 0));
    let mut watcher = Watcher::open(old, "/v1/watch");
    assert_eq!(old.client().run("SET a 1"), ok());
    let seen = watcher.change();
    assert_eq!(seen.change().key, "a");
    let refused = client::status(new, "/v1/watch", &[]);
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after"), "{refused}");
    wait_in_sync(old, new);
    fence(old, 2);
    assert_eq!(watcher.next().kind, "moved");
    promote(new, 2).expect("it obeys");
    renew(new, 2, (1, 0, 0)).expect("it listens");
    eventually("writes are taken", || report(new).writable.then_some(()));
    assert_eq!(new.client().run("SET b 2"), ok());
    let mut watcher = Watcher::open(new, &format!("/v1/watch?from={}", seen.id));
    assert_eq!(watcher.change().change().key, "b");
}

#[test]
fn what_a_failover_may_take_back_is_not_shown() {
    let members = [standby(""), standby("")];
    let [primary, follower] = &members;
    lead(&[primary, follower], 1, (1, 1, 0));
    let mut watcher = Watcher::open(primary, "/v1/watch");
    watcher.place();
    follower.signal("STOP");
    let mut writer = primary.client();
    writer.send(&crate::process::encode("SET unsafe 1")).expect("it is taken");
    eventually("it is on the primary's disk", || {
        let report = report(primary);
        (report.durable_position > 0
            && report.figures.get("journal_position") == Some(&(report.durable_position as i64)))
        .then_some(())
    });
    assert!(watcher.is_silent_for(Duration::from_millis(700)), "no follower has it");
    follower.signal("CONT");
    follow(follower, 1, primary).expect("it obeys");
    assert_eq!(watcher.change().change().key, "unsafe");
    assert_eq!(writer.read().expect("a reply"), ok());
    assert_eq!(primary.client().run("GET unsafe"), bulk("1"));
}
