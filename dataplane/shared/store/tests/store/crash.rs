//! Kills a process that writes, again and again, and looks at what is left.
//!
//! The child is this test binary, told by the environment to write instead. Each of its writers
//! commits numbered rounds: a slot of its own, a copy of it, a row that only this round has, and an
//! addition to one total. It says a round on its standard output once it is acknowledged.
//! `ORRERY_CRASH_RUNS` asks for more kills.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use orrery_store::{
    Check, Commit, Epoch, FjallStores, Options, Store, Stores as _, SystemClock, Write,
};

use crate::fixture::{SHARD, TENANT, bytes, fresh_seed, get};

const FOLDER: &str = "ORRERY_CRASH_CHILD_FOLDER";
const EPOCH: &str = "ORRERY_CRASH_CHILD_EPOCH";
const SIGKILL: i32 = 9;
const WRITERS: usize = 16;
const RUNS: u64 = 4;
/// Longest time that a child writes before it is killed.
const LIFE_MS_MAX: u64 = 400;
/// Every so many runs the child is killed while it starts.
const EARLY_EVERY: u64 = 4;
/// Only a child that hangs takes that long to begin.
const PATIENCE: Duration = Duration::from_mins(2);

fn open(folder: &Path, epoch: u64) -> Arc<dyn Store> {
    let stores = FjallStores::new(folder, Options::default(), Arc::new(SystemClock));
    stores.open(TENANT, SHARD, Epoch(epoch)).unwrap()
}

fn slot(writer: usize) -> String {
    format!("slot/{writer:02}")
}

fn round_of(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
}

fn round_commit(writer: usize, round: u64) -> Commit {
    let slot = slot(writer);
    let number = Bytes::copy_from_slice(&round.to_be_bytes());
    let before = Bytes::copy_from_slice(&(round - 1).to_be_bytes());
    let check =
        if round == 1 { Check::Absent(bytes(&slot)) } else { Check::Equals(bytes(&slot), before) };
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(writer as u64).to_be_bytes());
    key[8..].copy_from_slice(&round.to_be_bytes());
    Commit {
        checks: vec![check],
        writes: vec![
            Write::Put(bytes(&slot), number.clone()),
            Write::Put(bytes(&format!("copy/{writer:02}")), number.clone()),
            Write::Put(bytes(&format!("row/{writer:02}/{round:08}")), Bytes::from(vec![7; 400])),
            Write::PutVersioned { prefix: bytes("out/"), value: bytes(&format!("{writer}")) },
            Write::Add(bytes("total"), 1),
        ],
        idempotency: Some(key),
        ..Commit::default()
    }
}

/// The parent takes an end that is no kill for a failure.
fn commit_or_exit(store: &Arc<dyn Store>, writer: usize, round: u64) {
    if let Err(error) = store.commit(round_commit(writer, round)).wait() {
        eprintln!("writer {writer}, round {round}: {error}");
        process::exit(1);
    }
}

/// Not a test by itself: what the child runs until it is killed.
#[test]
fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let store = open(Path::new(&folder), env::var(EPOCH).unwrap().parse().unwrap());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let mut round = round_of(get(store, &slot(writer)));
                // The last round may have been committed without its answer: asking again for it
                // must not carry it out again.
                if round > 0 {
                    commit_or_exit(store, writer, round);
                }
                loop {
                    round += 1;
                    commit_or_exit(store, writer, round);
                    // One write call: a line is there whole or not at all.
                    let line = format!("\nacknowledged {writer} {round}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

fn start_child(folder: &Path, epoch: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(EPOCH, epoch.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// When a child is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start: while it opens, or before.
    Started(Duration),
    /// So long after the first commit that it said was acknowledged.
    Acknowledged(Duration),
}

/// The last round of each writer that the child said was acknowledged before it was killed.
fn run_and_kill(folder: &Path, epoch: u64, moment: Moment) -> [u64; WRITERS] {
    let mut child = start_child(folder, epoch);
    let output = child.stdout.take().unwrap();
    let (began, begins) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut acknowledged = [0; WRITERS];
        for line in BufReader::new(output).lines() {
            let line = line.unwrap();
            let Some(said) = line.strip_prefix("acknowledged ") else { continue };
            let (writer, round) = said.split_once(' ').unwrap();
            acknowledged[writer.parse::<usize>().unwrap()] = round.parse().unwrap();
            // The parent listens for the first only.
            let _ = began.send(());
        }
        acknowledged
    });
    match moment {
        Moment::Started(life) => thread::sleep(life),
        Moment::Acknowledged(life) => {
            let first = begins.recv_timeout(PATIENCE);
            assert_eq!(first, Ok(()), "the child acknowledged nothing");
            thread::sleep(life);
        }
    }
    // SIGKILL: nothing of the child runs after it.
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {status}");
    reader.join().unwrap()
}

/// The last round of each writer on disk; everything that belongs to it must be there, once.
fn assert_whole(store: &Arc<dyn Store>) -> [u64; WRITERS] {
    let snapshot = store.snapshot().unwrap();
    let mut rounds = [0; WRITERS];
    for (writer, round) in rounds.iter_mut().enumerate() {
        *round = round_of(get(store, &slot(writer)));
        let copy = round_of(get(store, &format!("copy/{writer:02}")));
        assert_eq!(copy, *round, "writer {writer}: a torn commit");
        let from = format!("row/{writer:02}/");
        let to = format!("row/{writer:02}0");
        let rows = snapshot.scan(from.as_bytes(), to.as_bytes(), false, usize::MAX).unwrap();
        let expected = (1..=*round).map(|round| format!("row/{writer:02}/{round:08}"));
        assert!(
            rows.into_iter().map(|(key, _)| key).eq(expected),
            "writer {writer}: rows of rounds"
        );
    }
    let all: u64 = rounds.iter().sum();
    assert_eq!(round_of(get(store, "total")), all, "lost or doubled");
    let out = snapshot.scan(b"out/", b"out0", false, usize::MAX).unwrap();
    assert_eq!(out.len() as u64, all, "versioned rows");
    assert_eq!(store.durable().0, all, "one version for each commit");
    rounds
}

/// Goal: what was acknowledged survives a kill, whole and once. Method: kills after a random time.
#[test]
fn nothing_acknowledged_is_lost_doubled_or_torn_by_a_kill() {
    let runs = env::var("ORRERY_CRASH_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut last = [0; WRITERS];
    for run in 1..=runs {
        let life = Duration::from_millis(fresh_seed() % LIFE_MS_MAX);
        let moment = if run.is_multiple_of(EARLY_EVERY) {
            Moment::Started(life)
        } else {
            Moment::Acknowledged(life)
        };
        let acknowledged = run_and_kill(folder.path(), run, moment);
        let store = open(folder.path(), run);
        let found = assert_whole(&store);
        for writer in 0..WRITERS {
            let promised = acknowledged[writer].max(last[writer]);
            let (found, limit) = (found[writer], promised + 1);
            assert!(found >= promised, "run {run}, writer {writer}: {found} of {promised} left");
            assert!(found <= limit, "run {run}, writer {writer}: {found} rounds, said {promised}");
        }
        last = found;
    }
    println!("{runs} kills, {} commits", last.iter().sum::<u64>());
    assert!(last.iter().sum::<u64>() > 0, "children that commit nothing prove nothing");
}
