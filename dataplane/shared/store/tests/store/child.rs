//! A process that writes, and whose end is the business of the test that started it.
//!
//! It is this test binary, told by the environment to write instead. It says on its standard output
//! what was acknowledged, and how it ended if it did so by itself.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{self, Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use orrery_store::suite::books::{Rounds, WRITERS, is_prefix, last_round, round_commit};
use orrery_store::{Store, StoreError, Version};

use crate::engines::Engine;
use crate::faults::Fault;

const FOLDER: &str = "ORRERY_STORE_CHILD_FOLDER";
const ENGINE: &str = "ORRERY_STORE_CHILD_ENGINE";
const EPOCH: &str = "ORRERY_STORE_CHILD_EPOCH";
const FAULT: &str = "ORRERY_STORE_CHILD_FAULT";

/// Not a test by itself: what the child runs until it is killed, or its disk fails.
#[test]
fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let engine = Engine::named(&env::var(ENGINE).unwrap());
    let fault = env::var(FAULT).ok().map(|fault| Fault::parse(&fault));
    if fault.is_some() {
        Fault::prepare();
    }
    let store = engine.open(Path::new(&folder), env::var(EPOCH).unwrap().parse().unwrap());
    if let Some(fault) = fault {
        fault.begin();
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read(&store, &over));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || write(store, writer))
            })
            .collect();
        for writer in writers {
            let error = writer.join().unwrap();
            say(match error {
                StoreError::Unknown { .. } => "unknown",
                StoreError::Unavailable { .. } => "unavailable",
                _ => "other",
            });
        }
        over.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    // It is over for good, and still shows what was durable.
    let late = store.commit(round_commit(0, 1)).wait();
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
    is_prefix(&*store.snapshot().unwrap()).unwrap();
    say("ended");
    process::exit(0);
}

/// One write call: a line is there whole or not at all.
fn say(what: &str) {
    std::io::stdout().write_all(format!("\n{what}\n").as_bytes()).unwrap();
}

/// Commits until that fails.
fn write(store: &Arc<dyn Store>, writer: usize) -> StoreError {
    let mut round = last_round(store, writer);
    // The last round may have been committed without its answer: asking again for it must not carry
    // it out again.
    if round > 0
        && let Err(error) = store.commit(round_commit(writer, round)).wait()
    {
        return error;
    }
    loop {
        round += 1;
        match store.commit(round_commit(writer, round)).wait() {
            Ok(Version(version)) => say(&format!("acknowledged {writer} {round} {version}")),
            Err(error) => return error,
        }
    }
}

/// Reads as long as there are writers: each snapshot must be a prefix, and none older than the last.
fn read(store: &Arc<dyn Store>, over: &AtomicBool) {
    let mut last = Version(0);
    while !over.load(Ordering::Acquire) {
        let durable = store.durable();
        let snapshot = store.snapshot().unwrap();
        assert!(snapshot.version() >= durable.max(last), "a snapshot goes back");
        last = snapshot.version();
        if let Err(what) = is_prefix(&*snapshot) {
            say(&format!("broken {what}"));
            process::exit(1);
        }
    }
}

/// Starts a child; its standard output is read by [`listen`].
pub fn start(engine: Engine, folder: &Path, epoch: u64, fault: Option<Fault>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["child::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(ENGINE, engine.name())
        .env(EPOCH, epoch.to_string())
        .stdout(Stdio::piped());
    if let Some(fault) = fault {
        command.env(FAULT, fault.to_string());
    }
    command.spawn().unwrap()
}

/// What a child said until it ended.
#[derive(Debug, Default)]
pub struct Said {
    pub acknowledged: Rounds,
    pub unknown: usize,
    pub unavailable: usize,
    pub ended: bool,
}

/// Listens to the end; calls `first` at the first acknowledgement.
pub fn listen(output: ChildStdout, mut first: impl FnMut()) -> Said {
    let mut said = Said::default();
    for line in BufReader::new(output).lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["acknowledged", writer, round, version] => {
                let (round, version) = (round.parse().unwrap(), version.parse().unwrap());
                said.acknowledged[writer.parse::<usize>().unwrap()] = (round, Version(version));
                first();
            }
            ["unknown"] => said.unknown += 1,
            ["unavailable"] => said.unavailable += 1,
            ["ended"] => said.ended = true,
            ["broken" | "other", ..] => panic!("the child says: {line}"),
            _ => {}
        }
    }
    said
}
