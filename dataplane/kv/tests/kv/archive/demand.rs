//! Snapshots that somebody asks for, and recovery to the very record they are of.

use std::cell::Cell;

use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;
use orrery_operand::progress::Finished;

use super::{Book, archiving, figure, recovering, stop, wait_for};
use crate::process::{Engine, ok};

/// Asks for a snapshot in the archive; progress must not fall.
pub(super) fn ask(engine: &Engine) -> Result<Finished, OperandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let address = format!("127.0.0.1:{}", engine.management);
    let percent = Cell::new(0);
    let work = async {
        let operator = OperandClient::new(&address, None).expect("an address");
        let on = |progress: &orrery_operand::v1::Progress| {
            assert!(progress.percent >= percent.get(), "it fell to {}", progress.percent);
            percent.set(progress.percent);
        };
        operator.snapshot("archive:", on).await
    };
    runtime.expect("a runtime").block_on(work)
}

#[test]
fn a_snapshot_that_was_asked_for_is_recovered_exactly() {
    let archive = tempfile::tempdir().expect("a temporary folder");
    let to = format!("file://{}", archive.path().display());
    // Records would wait for an hour.
    let config = format!("archive: {{to: '{to}', intervalSeconds: 3600}}\n");
    let engine = Engine::start(&config);
    let nothing = ask(&engine).expect_err("there is nothing");
    assert!(matches!(nothing, OperandError::Precondition(_)), "{nothing}");
    let mut book = Book::default();
    let mut taken = vec![];
    for _ in 0..3 {
        book.write(&mut engine.client(), 100);
        let finished = ask(&engine).expect("it is archived");
        assert_eq!(finished.location, to);
        assert!(figure(&engine, "archive_snapshot_position") >= finished.position as i64);
        assert!(figure(&engine, "archived_position") >= finished.position as i64);
        taken.push(finished.position);
    }
    let again = ask(&engine).expect("nothing was written meanwhile");
    assert_eq!(again.position, taken[2]);
    book.write(&mut engine.client(), 100);
    drop(engine.kill());
    for (number, position) in taken.into_iter().enumerate() {
        let recovery = format!("recovery: {{from: '{to}', targetPosition: {position}}}\n");
        let engine = Engine::start(&recovery);
        assert_eq!(Book::count(&mut engine.client()), 100 * (number as u64 + 1));
        assert_eq!(figure(&engine, "recovered_position"), position as i64);
        let engine = Engine::start_in(engine.kill());
        assert_eq!(figure(&engine, "recovered_position"), position as i64);
    }
}

#[test]
fn without_an_archive_that_works_there_is_no_snapshot_in_it() {
    let engine = Engine::start("");
    assert_eq!(engine.client().run("SET a x"), ok());
    let refused = ask(&engine).expect_err("there is no archive");
    assert!(matches!(refused, OperandError::Precondition(_)), "{refused}");

    let place = tempfile::tempdir().expect("a temporary folder");
    let archive = place.path().join("archive");
    std::fs::write(&archive, "no folder").expect("writable");
    let engine = Engine::start(&archiving(&archive));
    assert_eq!(engine.client().run("SET a x"), ok());
    wait_for(&engine, "degraded", |report| report.reason == "ArchiveFailing");
    let failed = ask(&engine).expect_err("it cannot be written");
    assert!(matches!(failed, OperandError::Unavailable(_)), "{failed}");
}

#[test]
fn what_was_recovered_is_archived_anew_and_recovered_again() {
    let places = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (places.path().join("first"), places.path().join("second"));
    let engine = Engine::start(&archiving(&first));
    let mut book = Book::default();
    book.write(&mut engine.client(), 300);
    ask(&engine).expect("it is archived");
    book.write(&mut engine.client(), 300);
    drop(stop(engine));
    let both = format!("{}{}", archiving(&second), recovering(&first, None));
    let engine = Engine::start(&both);
    book.write(&mut engine.client(), 300);
    drop(stop(engine));
    let engine = Engine::start(&recovering(&second, None));
    assert_eq!(book.check(&mut engine.client(), i64::MAX), 900);
    let engine = Engine::start(&recovering(&first, None));
    assert_eq!(Book::count(&mut engine.client()), 600);
}
