//! A disk that fails: nobody is told that a write is safe when nobody knows, the process ends itself,
//! and the next one finds everything that was acknowledged.

use std::process::Command;

use orrery_kit::EXIT_POISONED;

use crate::process::{Client, Engine, Value, bulk};

/// Connections that write when the disk fails.
const WRITERS: usize = 4;

/// From now on every write to a file fails.
fn break_disk(engine: &Engine) {
    let pid = engine.pid().to_string();
    let status = Command::new("prlimit").args(["--fsize=0", "--pid", &pid]).status();
    assert!(status.expect("it was there").success());
}

/// Counts until it is refused or cut off; gives what was acknowledged and what was sent.
fn count_until_refused(client: &mut Client, writer: usize, acknowledged: i64) -> (i64, i64) {
    let mut acknowledged = acknowledged;
    loop {
        match client.try_run(&format!("INCR n:{writer}")) {
            Ok(Value::Integer(value)) => {
                assert_eq!(value, acknowledged + 1, "a step was lost or doubled");
                acknowledged = value;
            }
            Ok(Value::Error(text)) => {
                assert!(text.starts_with("MISCONF "), "{text}");
                return (acknowledged, acknowledged + 1);
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => return (acknowledged, acknowledged + 1),
        }
    }
}

#[test]
fn a_process_whose_disk_fails_ends_itself_and_loses_nothing_acknowledged() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("not run: prlimit is not installed");
        return;
    }
    let engine = Engine::start("");
    let mut writers: Vec<Client> = (0..WRITERS).map(|_| engine.client()).collect();
    for (writer, client) in writers.iter_mut().enumerate() {
        assert_eq!(client.run(&format!("INCR n:{writer}")), Value::Integer(1));
        assert_eq!(client.run(&format!("SET k:{writer} {writer}")).text(), "OK");
    }
    let counting: Vec<_> = writers
        .into_iter()
        .enumerate()
        .map(|(writer, mut client)| {
            std::thread::spawn(move || count_until_refused(&mut client, writer, 1))
        })
        .collect();
    break_disk(&engine);
    let books: Vec<_> = counting.into_iter().map(|c| c.join().expect("it counts")).collect();
    let (code, folder) = engine.wait_for_end();
    assert_eq!(code, Some(i32::from(EXIT_POISONED)));

    let engine = Engine::start_in(folder);
    let mut client = engine.client();
    for (writer, (acknowledged, sent)) in books.into_iter().enumerate() {
        let found: i64 = client.run(&format!("GET n:{writer}")).text().parse().expect("a number");
        assert!((acknowledged..=sent).contains(&found), "{found}, {acknowledged} to {sent}");
        assert_eq!(client.run(&format!("GET k:{writer}")), bulk(&writer.to_string()));
        assert_eq!(client.run(&format!("INCR n:{writer}")), Value::Integer(found + 1));
    }
}
