//! What cannot be recovered from, and what must not be recovered over.

use super::{Book, archiving, recovering, report, stop, wait_for};
use crate::process::{Engine, ok};

/// Starts with `config` in an empty folder, and waits until the refusal is reported.
fn refused(config: &str, words: &str) {
    let engine = Engine::begin_in(Engine::prepare(config));
    wait_for(&engine, "refused", |report| !report.ready && report.reason == "RecoveryFailed");
    let message = report(&engine).message;
    assert!(message.contains(words), "{message}");
    let folder = engine.kill();
    assert!(!folder.path().join("data/shard-0").exists(), "a refusal leaves nothing to serve");
}

#[test]
fn a_hole_and_damage_are_refused() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let mut engine = Engine::start(&format!(
        "archive: {{to: 'file://{}', intervalSeconds: 1}}\n",
        archive.path().display()
    ));
    let mut book = Book::default();
    for _ in 0..3 {
        book.write(&mut engine.client(), 50);
        engine = Engine::start_in(stop(engine));
    }
    drop(stop(engine));
    let mut groups: Vec<_> = std::fs::read_dir(archive.path().join("journal"))
        .expect("records were archived")
        .map(|entry| entry.expect("readable").path())
        .collect();
    groups.sort();
    assert!(groups.len() >= 3, "{groups:?}");
    let newest = recovering(archive.path(), None);
    let whole = std::fs::read(&groups[1]).expect("readable");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&groups[1], damaged).expect("writable");
    refused(&newest, "checksum");
    std::fs::remove_file(&groups[1]).expect("it is there");
    refused(&newest, "are missing");
    std::fs::write(&groups[1], whole).expect("writable");
    let engine = Engine::start(&newest);
    assert_eq!(book.check(&mut engine.client(), i64::MAX), 150);
    refused(&recovering(archive.path(), Some(1)), "nothing at or before");
    let from = archive.path().display();
    let behind = format!("recovery: {{from: 'file://{from}', targetPosition: 1000000}}\n");
    refused(&behind, "1000000 is not there");
}

#[test]
fn an_archive_that_cannot_be_reached_is_waited_for() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let archive = place.path().join("archive");
    let engine = Engine::start(&archiving(&archive));
    let mut book = Book::default();
    book.write(&mut engine.client(), 50);
    drop(stop(engine));
    let away = place.path().join("away");
    std::fs::rename(&archive, &away).expect("writable");
    let engine = Engine::begin_in(Engine::prepare(&recovering(&archive, None)));
    wait_for(&engine, "said", |report| {
        report.reason == "RecoveryFailed" && report.message.contains("tried again")
    });
    std::fs::rename(&away, &archive).expect("writable");
    wait_for(&engine, "recovered", |report| report.ready);
    assert_eq!(book.check(&mut engine.client(), i64::MAX), 50);
}

#[test]
fn data_that_is_there_is_not_recovered_over_and_the_refusal_ends_the_process() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&archiving(archive.path()));
    assert_eq!(engine.client().run("SET theirs x"), ok());
    drop(stop(engine));
    let engine = Engine::start("");
    assert_eq!(engine.client().run("SET mine x"), ok());
    let folder = engine.stop();
    let config = folder.path().join("kv.yaml");
    let without = std::fs::read_to_string(&config).expect("readable");
    let with = format!("{without}{}", recovering(archive.path(), None));
    std::fs::write(&config, with).expect("writable");
    let engine = Engine::begin_in(folder);
    wait_for(&engine, "refused", |report| report.message.contains("holds data already"));
    let (code, folder) = engine.wait_for_end();
    assert_ne!(code, Some(0));
    std::fs::write(&config, without).expect("writable");
    assert_eq!(Engine::start_in(folder).client().run("GET mine").text(), "x");
}

#[test]
fn an_archive_of_another_journal_is_not_written_to() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let first = Engine::start(&archiving(archive.path()));
    let mut book = Book::default();
    book.write(&mut first.client(), 50);
    // The archive belongs to whoever writes it first.
    wait_for(&first, "archived", |report| {
        report.figures.get("archived_position").is_some_and(|position| *position >= 50)
    });
    let second = Engine::start(&archiving(archive.path()));
    assert_eq!(second.client().run("SET k0 1000000"), ok());
    wait_for(&second, "degraded", |report| {
        report.ready && report.degraded && report.reason == "ArchiveFailing"
    });
    assert!(report(&second).message.contains("belongs to"), "{:?}", report(&second));
    drop((first.stop(), second.stop()));
    let engine = Engine::start(&recovering(archive.path(), None));
    assert_eq!(book.check(&mut engine.client(), i64::MAX), 50);
}
