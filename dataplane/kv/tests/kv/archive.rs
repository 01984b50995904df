//! Archive, loss of everything, and the way back to any moment, compared with a book of what was
//! acknowledged.

#[path = "archive/bucket.rs"]
mod bucket;
#[path = "archive/demand.rs"]
mod demand;
#[path = "archive/group.rs"]
mod group;
#[path = "archive/refusals.rs"]
mod refusals;
#[path = "archive/retention.rs"]
mod retention;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use orrery_operand::client::OperandClient;
use orrery_operand::v1::ReportResponse;
use rand::RngExt;

use crate::process::{Client, Engine, Value, ok};

/// Keys that writes take turns on.
const KEYS: u64 = 20;
const DEADLINE: Duration = Duration::from_mins(1);

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set").as_micros() as i64
}

/// Write n sets key n modulo [`KEYS`] to n; when it was sent, and when it was acknowledged.
#[derive(Default)]
struct Book {
    writes: Vec<(i64, i64)>,
}

impl Book {
    fn write(&mut self, client: &mut Client, count: u64) {
        for _ in 0..count {
            let number = self.writes.len() as u64;
            let sent_us = now_us();
            assert_eq!(client.run(&format!("SET k{} {number}", number % KEYS)), ok());
            self.writes.push((sent_us, now_us()));
        }
    }

    /// How many writes an engine has, from the first one on and without a gap.
    fn count(client: &mut Client) -> u64 {
        let value = |key| match client.run(&format!("GET k{key}")) {
            Value::Bulk(None) => None,
            value => Some(value.text().parse::<u64>().expect("a number")),
        };
        let found: Vec<Option<u64>> = (0..KEYS).map(value).collect();
        let count = found.iter().flatten().max().map_or(0, |newest| newest + 1);
        for (key, found) in (0..KEYS).zip(found) {
            let expected = (0..count).rev().find(|number| number % KEYS == key);
            assert_eq!(found, expected, "key {key} of {count} writes");
        }
        count
    }

    /// Holds what was found at `target_us` against the book; gives the number of writes in it.
    fn check(&self, client: &mut Client, target_us: i64) -> u64 {
        let count = Self::count(client);
        let acknowledged = self.writes.iter().filter(|(_, acked)| *acked <= target_us).count();
        let sent = self.writes.iter().filter(|(sent, _)| *sent <= target_us).count();
        assert!(
            (acknowledged as u64..=sent as u64).contains(&count),
            "{count} writes at {target_us}: {acknowledged} were acknowledged, {sent} sent"
        );
        count
    }
}

fn archiving(archive: &Path) -> String {
    let to = archive.display();
    // A snapshot every few writes, so that ways back begin with different ones.
    format!("archive: {{to: 'file://{to}', intervalSeconds: 1}}\nsnapshotAfterBytes: 4096\n")
}

fn recovering(archive: &Path, target_us: Option<i64>) -> String {
    let target = target_us.map_or(String::new(), |target| format!(", targetTimeUs: {target}"));
    format!("recovery: {{from: 'file://{}'{target}}}\n", archive.display())
}

/// What an engine says of itself, as soon as somebody answers there.
fn report(engine: &Engine) -> ReportResponse {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let address = format!("127.0.0.1:{}", engine.management);
    let ask = async {
        let operator = OperandClient::new(&address, None).expect("an address");
        let end = Instant::now() + DEADLINE;
        loop {
            match operator.report().await {
                Ok(report) => return report,
                Err(error) => assert!(Instant::now() < end, "nobody reports: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    runtime.expect("a runtime").block_on(ask)
}

fn figure(engine: &Engine, name: &str) -> i64 {
    report(engine).figures.get(name).copied().expect("it is reported")
}

fn wait_for(engine: &Engine, what: &str, is_so: impl Fn(&ReportResponse) -> bool) {
    let end = Instant::now() + DEADLINE;
    loop {
        let report = report(engine);
        if is_so(&report) {
            return;
        }
        assert!(Instant::now() < end, "{what}: {report:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An orderly end of one that archives. How long it may take to put the rest is bounded, so the
/// archive must be one that is written to by then, however slow the disk.
fn stop(engine: Engine) -> tempfile::TempDir {
    wait_for(&engine, "archiving", |report| {
        report.figures.get("archived_position").is_some_and(|position| *position > 0)
    });
    engine.stop()
}

/// Writes through kills and an orderly end, and gives the archive of it.
fn lived(archive: &Path) -> Book {
    let mut book = Book::default();
    let mut engine = Engine::start(&archiving(archive));
    for _ in 0..3 {
        book.write(&mut engine.client(), 400);
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..1500)));
        engine = Engine::start_in(engine.kill());
    }
    book.write(&mut engine.client(), 400);
    drop(stop(engine));
    book
}

#[test]
fn every_moment_comes_back_after_the_loss_of_everything() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let book = lived(archive.path());
    let (first, last) = (book.writes[0].0, book.writes[book.writes.len() - 1].1);
    let newest = Engine::start(&recovering(archive.path(), None));
    assert_eq!(book.check(&mut newest.client(), i64::MAX), book.writes.len() as u64);
    for _ in 0..50 {
        let target = rand::rng().random_range(first + 1_000_000.min(last - first)..=last);
        let engine = Engine::start(&recovering(archive.path(), Some(target)));
        book.check(&mut engine.client(), target);
    }
}

#[test]
fn a_recovery_survives_kills_and_happens_once() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let book = lived(archive.path());
    let mut folder = Engine::prepare(&recovering(archive.path(), None));
    for wait_ms in (0..200).step_by(10) {
        let engine = Engine::begin_in(folder);
        std::thread::sleep(Duration::from_millis(wait_ms));
        folder = engine.kill();
    }
    let engine = Engine::start_in(folder);
    let mut client = engine.client();
    assert_eq!(book.check(&mut client, i64::MAX), book.writes.len() as u64);
    assert_eq!(client.run("SET later x"), ok());
    let engine = Engine::start_in(engine.kill());
    assert_eq!(engine.client().run("GET later").text(), "x");
}

#[test]
fn a_dead_archive_stops_no_write_and_is_caught_up_with() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let archive = place.path().join("archive");
    std::fs::write(&archive, "no folder").expect("writable");
    let engine = Engine::start(&archiving(&archive));
    let mut book = Book::default();
    wait_for(&engine, "degraded", |report| {
        report.ready && report.degraded && report.reason == "ArchiveFailing"
    });
    book.write(&mut engine.client(), 300);
    assert!(report(&engine).writable);
    std::fs::remove_file(&archive).expect("it is there");
    wait_for(&engine, "healthy", |report| {
        !report.degraded && report.figures.get("archive_lag_records") == Some(&0)
    });
    drop(engine.kill());
    let engine = Engine::start(&recovering(&archive, None));
    assert_eq!(book.check(&mut engine.client(), i64::MAX), 300);
}

#[test]
fn a_value_that_is_longer_than_usual_groups_comes_back() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&archiving(archive.path()));
    let value = "x".repeat(70 << 20);
    let mut client = engine.client();
    assert_eq!(client.run("SET before x"), ok());
    assert_eq!(client.run(&format!("SET long {value}")), ok());
    wait_for(&engine, "archived", |report| {
        report.figures.get("archive_lag_records") == Some(&0)
            && report.figures.get("archived_position") == report.figures.get("journal_position")
    });
    drop(engine.kill());
    let engine = Engine::start(&recovering(archive.path(), None));
    assert_eq!(engine.client().run("STRLEN long"), Value::Integer(70 << 20));
    assert_eq!(engine.client().run("GET before").text(), "x");
}
