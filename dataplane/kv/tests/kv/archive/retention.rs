//! What no wanted moment needs goes away, and every wanted one can be recovered.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Book, DEADLINE, now_us, recovering, report, wait_for};
use crate::process::Engine;

const SECONDS: i64 = 4;

/// Position of the first record of the first group there.
fn begins(archive: &Path) -> u64 {
    let names = std::fs::read_dir(archive.join("journal")).expect("records were archived");
    let firsts = names.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.split_once('-')?.0.parse().ok()
    });
    firsts.min().expect("some are left")
}

#[test]
fn an_archive_with_a_retention_forgets_the_past_and_keeps_the_window() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let to = archive.path().display();
    // Journal snapshots for want of bytes never come: the archive has to ask for them.
    let config = format!(
        "archive: {{to: 'file://{to}', intervalSeconds: 1, retentionSeconds: {SECONDS}}}\n"
    );
    let engine = Engine::start(&config);
    let mut book = Book::default();
    let end = Instant::now() + DEADLINE;
    while begins_later(archive.path()).is_none() {
        assert!(Instant::now() < end, "nothing is removed: {:?}", report(&engine));
        book.write(&mut engine.client(), 20);
        std::thread::sleep(Duration::from_millis(100));
    }
    book.write(&mut engine.client(), 20);
    wait_for(&engine, "archived", |report| {
        report.figures.get("archived_position") == report.figures.get("journal_position")
    });
    drop(engine.kill());
    // From here on nothing is removed, so these moments are all wanted.
    let kept = now_us() - SECONDS * 1_000_000;
    for later in 0..=SECONDS {
        let target = kept + later * 1_000_000;
        let engine = Engine::start(&recovering(archive.path(), Some(target)));
        book.check(&mut engine.client(), target);
    }
    let engine = Engine::start(&recovering(archive.path(), None));
    assert_eq!(book.check(&mut engine.client(), i64::MAX), book.writes.len() as u64);
    let early = recovering(archive.path(), Some(book.writes[0].1));
    let engine = Engine::begin_in(Engine::prepare(&early));
    wait_for(&engine, "refused", |report| report.reason == "RecoveryFailed");
}

/// Where the archive begins, once that is not the beginning any more.
fn begins_later(archive: &Path) -> Option<u64> {
    let is_there = archive.join("journal").is_dir();
    is_there.then(|| begins(archive)).filter(|first| *first > 1)
}
