//! The archive of a group: primaries killed and paused under load, followers promoted, and every
//! moment held against the books of what was acknowledged and has survived.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::RngExt;

use super::demand::ask;
use super::{now_us, recovering};
use crate::process::{Client, Engine, Value, ok, pod_name};
use crate::replication::group::{
    Shape, again, content, eventually, fence, follow, promote, renew, report, standby, wait_in_sync,
};

const KEYS: usize = 20;
/// Two followers, one of which must have every write; and none that must.
const SYNCHRONOUS: Shape = (2, 1, 0);
const LOSSY: Shape = (2, 0, 0);

/// One write: number n sets key n modulo [`KEYS`] to n and the round it was made in.
#[derive(Debug, Clone, Copy)]
struct Write {
    sent_us: i64,
    acknowledged_us: i64,
    round: u64,
}

/// The writes of the line that survives.
#[derive(Debug, Default, Clone)]
struct Book {
    writes: Vec<Write>,
    round: u64,
}

impl Book {
    fn write(&mut self, client: &mut Client) -> std::io::Result<bool> {
        let (number, round, sent_us) = (self.writes.len(), self.round, now_us());
        let reply = client.try_run(&format!("SET k{} {number}.{round}", number % KEYS))?;
        if reply == ok() {
            self.writes.push(Write { sent_us, acknowledged_us: now_us(), round });
        }
        Ok(reply == ok())
    }

    fn write_some(&mut self, engine: &Engine, count: usize) {
        let mut client = engine.client();
        for _ in 0..count {
            assert!(self.write(&mut client).expect("a reply"), "it takes writes");
        }
    }

    /// Writes until told to stop, or until the engine ends; then one write may be unknown.
    fn write_until(mut self, socket: &Path, stop: &AtomicBool) -> (Self, i64) {
        let mut client = Client::connect(socket);
        while !stop.load(Ordering::Relaxed) {
            let sent_us = now_us();
            match self.write(&mut client) {
                Ok(true) => {}
                Ok(false) => thread::sleep(Duration::from_millis(1)),
                Err(_) => return (self, sent_us),
            }
        }
        let now = now_us();
        (self, now)
    }

    /// How many writes an engine has; each is the one that the book has.
    fn count(&self, client: &mut Client) -> usize {
        let read = |text: &str| {
            let (number, round) = text.split_once('.').expect("a number and a round");
            (number.parse::<usize>().expect("a number"), round.parse::<u64>().expect("a round"))
        };
        let value = |key| match client.run(&format!("GET k{key}")) {
            Value::Bulk(None) => None,
            value => Some(read(&value.text())),
        };
        let found: Vec<_> = (0..KEYS).map(value).collect();
        let count = found.iter().flatten().map(|(number, _)| number + 1).max().unwrap_or(0);
        for (key, found) in (0..KEYS).zip(found) {
            let expected = (0..count).rev().find(|number| number % KEYS == key);
            // The last one may have been sent and not acknowledged.
            let round = |number: usize| self.writes.get(number).map_or(self.round, |w| w.round);
            assert_eq!(found, expected.map(|n| (n, round(n))), "key {key} of {count} writes");
        }
        count
    }

    /// Holds an engine against the book after a change of primary. `loses`: less may be there.
    fn settle(&mut self, engine: &Engine, unknown_sent_us: i64, loses: bool) {
        let (count, known) = (self.count(&mut engine.client()), self.writes.len());
        assert!(count <= known + 1, "{count} of {known} writes");
        assert!(loses || count >= known, "acknowledged writes are lost: {count} of {known}");
        self.writes.truncate(count);
        if count > known {
            let (sent_us, acknowledged_us) = (unknown_sent_us, now_us());
            self.writes.push(Write { sent_us, acknowledged_us, round: self.round });
        }
    }

    /// Holds what was recovered at `target_us` against the book.
    fn check(&self, client: &mut Client, target_us: i64) {
        let count = self.count(client);
        let acknowledged =
            self.writes.iter().filter(|write| write.acknowledged_us <= target_us).count();
        let sent = self.writes.iter().filter(|write| write.sent_us <= target_us).count();
        assert!(
            (acknowledged..=sent).contains(&count),
            "{count} writes at {target_us}: {acknowledged} were acknowledged, {sent} sent"
        );
    }
}

fn config(archive: &Path) -> String {
    let to = archive.display();
    // A snapshot every few writes, so that ways back begin with different ones.
    format!(
        "archive: {{to: 'file://{to}', intervalSeconds: 1, owner: uid-1}}\n\
         snapshotAfterBytes: 4096\n"
    )
}

fn wait_archived(engine: &Engine) {
    eventually("everything is archived", || {
        let figures = report(engine).figures;
        let archived = figures.get("archived_position").copied().unwrap_or(0);
        (archived > 0 && figures.get("journal_position") == Some(&archived)).then_some(())
    });
}

/// The group, whose first member is the primary.
struct Group {
    members: Vec<Engine>,
    epoch: u64,
    shape: Shape,
}

impl Group {
    fn start(config: &str, shape: Shape) -> Self {
        let members = (0..3).map(|_| standby(config)).collect();
        let mut group = Self { members, epoch: 0, shape };
        group.lead(0);
        group
    }

    fn primary(&self) -> &Engine {
        &self.members[0]
    }

    /// Promotes a member under a new epoch; the others follow.
    fn lead(&mut self, at: usize) {
        self.epoch += 1;
        self.members.swap(0, at);
        promote(self.primary(), self.epoch).expect("it obeys");
        renew(self.primary(), self.epoch, self.shape).expect("it listens");
        for member in &self.members[1..] {
            follow(member, self.epoch, self.primary()).expect("it obeys");
        }
        eventually("writes are taken", || report(self.primary()).writable.then_some(()));
    }

    /// Takes the primary out, whatever is done to it, and promotes the best of the others.
    fn fail_over(&mut self, lose: impl FnOnce(Engine) -> Engine) -> Engine {
        let lost = lose(self.members.remove(0));
        for member in &self.members {
            fence(member, self.epoch + 1);
        }
        let rank = |at: &usize| {
            let report = report(&self.members[*at]);
            (report.durable_epoch, report.durable_position)
        };
        let best = (0..self.members.len()).max_by_key(rank).expect("somebody");
        self.lead(best);
        lost
    }

    /// Takes a member in again.
    fn welcome(&mut self, engine: Engine) {
        follow(&engine, self.epoch, self.primary()).expect("it obeys");
        wait_in_sync(self.primary(), &engine);
        self.members.push(engine);
    }
}

/// Recovers the end and some moments in between, and holds them against the book.
fn check_all(archive: &Path, book: &Book, moments: usize) {
    let newest = Engine::start(&recovering(archive, None));
    assert_eq!(book.count(&mut newest.client()), book.writes.len());
    let first = book.writes[0].acknowledged_us;
    let last = book.writes[book.writes.len() - 1].acknowledged_us;
    for _ in 0..moments {
        let target = rand::rng().random_range(first..=last);
        let engine = Engine::start(&recovering(archive, Some(target)));
        book.check(&mut engine.client(), target);
    }
}

fn restart(engine: Engine) -> Engine {
    again(engine.kill())
}

#[test]
fn nothing_acknowledged_is_missing_at_any_moment_when_primaries_are_killed_and_paused() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let mut group = Group::start(&config(archive.path()), SYNCHRONOUS);
    let mut book = Book::default();
    for round in 0..6 {
        book.round = round;
        let stop = Arc::new(AtomicBool::new(false));
        let (socket, stopped) = (group.primary().folder.path().join("kv.sock"), Arc::clone(&stop));
        let writer = thread::spawn(move || book.write_until(&socket, &stopped));
        // Not to wait for anything: this is the random moment.
        thread::sleep(Duration::from_millis(rand::rng().random_range(20..1800)));
        let is_paused = round % 2 == 1;
        let lost = group.fail_over(|primary| {
            if is_paused {
                primary.signal("STOP");
                primary
            } else {
                Engine::begin_in(primary.kill())
            }
        });
        if is_paused {
            // It comes back while there is a new one, and for a while nobody tells it.
            lost.signal("CONT");
            thread::sleep(Duration::from_millis(rand::rng().random_range(0..1500)));
            fence(&lost, group.epoch);
        }
        stop.store(true, Ordering::Relaxed);
        let unknown;
        (book, unknown) = writer.join().expect("a writer");
        book.settle(group.primary(), unknown, false);
        book.write_some(group.primary(), 30);
        group.welcome(restart(lost));
    }
    book.write_some(group.primary(), 50);
    wait_archived(group.primary());
    check_all(archive.path(), &book, 25);
}

#[test]
fn the_line_that_survives_is_all_there_is_when_a_failover_loses_what_was_archived() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let mut group = Group::start(&config(archive.path()), LOSSY);
    let mut book = Book::default();
    let mut left_behind = vec![];
    for round in 0..4 {
        book.round = round;
        book.write_some(group.primary(), 100);
        for follower in &group.members[1..] {
            wait_in_sync(group.primary(), follower);
        }
        let away: Vec<_> = group.members.drain(1..).map(Engine::kill).collect();
        // Only the primary has these, and the archive.
        let mut lost_book = book.clone();
        lost_book.write_some(group.primary(), 40);
        wait_archived(group.primary());
        let taken = ask(group.primary()).expect("it is archived");
        assert_eq!(taken.epoch, group.epoch);
        left_behind.push((taken, lost_book.clone()));
        let is_paused = round % 2 == 0;
        group.members[0].signal("STOP");
        group.members.extend(away.into_iter().map(again));
        let lost =
            group.fail_over(
                |primary| {
                    if is_paused { primary } else { Engine::begin_in(primary.kill()) }
                },
            );
        book.round = 50 + round;
        book.settle(group.primary(), 0, true);
        book.write_some(group.primary(), 60);
        if is_paused {
            // It goes on as if nothing had happened, and archives that.
            lost.signal("CONT");
            lost_book.write_some(&lost, 60);
            wait_archived(&lost);
            let late = ask(&lost);
            assert!(late.is_err(), "another one archives: {late:?}");
        }
        book.write_some(group.primary(), 60);
        wait_archived(group.primary());
        group.welcome(restart(lost));
        let wanted = content(group.primary());
        assert_eq!(content(&group.members[2]), wanted);
    }
    check_all(archive.path(), &book, 25);
    // What a snapshot was promised for is there, although the line went on without it.
    let from = archive.path().display();
    for (taken, book) in left_behind {
        let (position, epoch) = (taken.position, taken.epoch);
        let engine = Engine::start(&format!(
            "recovery: {{from: 'file://{from}', targetPosition: {position}, \
             targetEpoch: {epoch}}}\n"
        ));
        assert_eq!(book.count(&mut engine.client()), book.writes.len());
    }
}

#[test]
fn only_the_primary_archives_and_takes_snapshots_there() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let mut group = Group::start(&config(archive.path()), SYNCHRONOUS);
    let mut book = Book::default();
    book.write_some(group.primary(), 100);
    let first = ask(group.primary()).expect("it is archived");
    let refused = ask(&group.members[1]).expect_err("it only follows");
    assert!(refused.to_string().contains("another process archives"), "{refused}");
    assert_eq!(report(&group.members[1]).figures.get("archived_position"), Some(&0));
    // A hand-over: the archive goes on under the next epoch.
    wait_in_sync(group.primary(), &group.members[1]);
    fence(group.primary(), 2);
    wait_in_sync(group.primary(), &group.members[1]);
    group.lead(1);
    book.write_some(group.primary(), 100);
    let second = ask(group.primary()).expect("it is archived");
    assert_eq!((first.epoch, second.epoch), (1, 2));
    assert!(ask(&group.members[1]).is_err(), "it was fenced");
    check_all(archive.path(), &book, 5);
}

#[test]
fn nothing_is_archived_that_a_failover_may_take_back() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let group = Group::start(&config(archive.path()), SYNCHRONOUS);
    let mut book = Book::default();
    book.write_some(group.primary(), 50);
    wait_archived(group.primary());
    let archived = report(group.primary()).figures["archived_position"];
    for follower in &group.members[1..] {
        follower.signal("STOP");
    }
    let mut client = group.primary().client();
    client.send(&crate::process::encode("SET unconfirmed x")).expect("it takes it");
    eventually("it is on the disk of the primary", || {
        (report(group.primary()).durable_position as i64 > archived).then_some(())
    });
    // Intervals of the archive pass.
    let until = now_us() + 2_500_000;
    while now_us() < until {
        assert_eq!(report(group.primary()).figures["archived_position"], archived);
        thread::sleep(Duration::from_millis(50));
    }
    for follower in &group.members[1..] {
        follower.signal("CONT");
    }
    assert_eq!(client.read().expect("a reply"), ok());
    wait_archived(group.primary());
}

#[test]
fn an_object_that_gets_followers_goes_on_with_its_archive_and_without_them_again() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    // At first the volume made up who it is.
    let nameless = config(archive.path()).replace(", owner: uid-1", "");
    let mut book = Book::default();
    let engine = Engine::start(&nameless);
    book.write_some(&engine, 60);
    let set = |folder: &tempfile::TempDir, text: &str| {
        let socket = folder.path().join("kv.sock");
        let text = format!("unixSocket: {}\n{text}", socket.display());
        std::fs::write(folder.path().join("kv.yaml"), text).expect("writable");
    };
    let folder = engine.stop();
    set(&folder, &config(archive.path()));
    let engine = Engine::start_in(folder);
    book.write_some(&engine, 60);
    let folder = engine.stop();
    set(&folder, &format!("group: true\n{}", config(archive.path())));
    let first = again(folder);
    let members = vec![first, standby(&config(archive.path()))];
    let mut group = Group { members, epoch: 0, shape: (1, 0, 0) };
    group.lead(0);
    book.write_some(group.primary(), 60);
    wait_in_sync(group.primary(), &group.members[1]);
    drop(group.fail_over(|primary| primary));
    let alone = Group { shape: (0, 0, 0), ..group };
    renew(alone.primary(), alone.epoch, alone.shape).expect("it listens");
    book.write_some(alone.primary(), 60);
    wait_archived(alone.primary());
    // Alone again, on the volume that was the follower's.
    let folder = alone.members.into_iter().next().expect("one is left").stop();
    set(&folder, &config(archive.path()));
    let engine = Engine::start_in(folder);
    book.write_some(&engine, 60);
    wait_archived(&engine);
    drop(engine);
    check_all(archive.path(), &book, 10);
    // A volume that never was part of it is told so.
    let stranger = Engine::start(&config(archive.path()));
    assert_eq!(stranger.client().run("SET a x"), ok());
    eventually("refused", || report(&stranger).message.contains("another volume").then_some(()));
}

#[test]
fn a_group_that_lost_everything_does_not_bury_its_archive() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let group = Group::start(&config(archive.path()), SYNCHRONOUS);
    let mut book = Book::default();
    book.write_some(group.primary(), 100);
    wait_archived(group.primary());
    let epoch = group.epoch;
    drop(group);
    let members = (0..3).map(|_| standby(&config(archive.path()))).collect();
    let mut empty = Group { members, epoch, shape: SYNCHRONOUS };
    empty.lead(0);
    assert_eq!(empty.primary().client().run("SET k0 0.9"), ok());
    eventually("refused", || {
        let report = report(empty.primary());
        report.message.contains("give it another place").then_some(())
    });
    check_all(archive.path(), &book, 3);
}

#[test]
fn one_member_is_recovered_and_the_others_copy_from_it() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let group = Group::start(&config(archive.path()), SYNCHRONOUS);
    let mut book = Book::default();
    book.write_some(group.primary(), 200);
    wait_archived(group.primary());
    drop(group);
    let folders: Vec<_> = (0..3).map(|_| Engine::prepare("")).collect();
    let (from, member) = (archive.path().display(), pod_name(folders[0].path()));
    for folder in &folders {
        let socket = folder.path().join("kv.sock");
        let text = format!(
            "unixSocket: {}\ngroup: true\nrecovery: {{from: 'file://{from}', member: {member}}}\n",
            socket.display()
        );
        std::fs::write(folder.path().join("kv.yaml"), text).expect("writable");
    }
    let members: Vec<_> = folders.into_iter().map(again).collect();
    let said = report(&members[0]);
    assert!(said.durable_position > 0 && said.durable_epoch == 0, "{said:?}");
    assert_eq!(report(&members[1]).durable_position, 0);
    let mut group = Group { members, epoch: said.known_epoch, shape: SYNCHRONOUS };
    group.lead(0);
    book.write_some(group.primary(), 50);
    for follower in &group.members[1..] {
        wait_in_sync(group.primary(), follower);
        assert_eq!(book.count(&mut follower.client()), 250);
    }
    // Its volume is lost, and it is recovered once more: that is worth nothing to the group.
    let lost = group.fail_over(|primary| {
        let folder = primary.kill();
        std::fs::remove_dir_all(folder.path().join("data")).expect("it is there");
        again(folder)
    });
    let said = report(&lost);
    assert!(said.durable_position > 0 && said.durable_epoch == 0, "{said:?}");
    book.write_some(group.primary(), 50);
    group.welcome(lost);
    assert_eq!(book.count(&mut group.members[2].client()), 300);
}
