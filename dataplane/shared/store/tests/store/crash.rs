//! Kills a process that writes, again and again, and looks at what is left.
//! `ORRERY_CRASH_RUNS` asks for more kills.

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use orrery_store::Version;
use orrery_store::suite::books::{Rounds, WRITERS, assert_kept};
use orrery_store::suite::fresh_seed;

use crate::child;
use crate::engines::Engine;

const SIGKILL: i32 = 9;
const RUNS: u64 = 4;
/// Longest time that a child writes before it is killed.
const LIFE_MS_MAX: u64 = 400;
/// Every so many runs the child is killed while it starts.
const EARLY_EVERY: u64 = 4;
/// After so many kills the books begin anew: looking at them takes longer with every round.
const FOLDER_RUNS: u64 = 25;
/// Only a child that hangs takes that long to begin.
const PATIENCE: Duration = Duration::from_mins(2);

/// When a child is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start: while it opens, or before.
    Started(Duration),
    /// So long after the first commit that it said was acknowledged.
    Acknowledged(Duration),
}

/// The last round of each writer that the child said was acknowledged before it was killed.
fn run_and_kill(engine: Engine, folder: &Path, epoch: u64, moment: Moment) -> Rounds {
    let mut child = child::start(engine, folder, epoch, None);
    let output = child.stdout.take().unwrap();
    let (began, begins) = mpsc::channel();
    let reader = thread::spawn(move || {
        child::listen(output, || {
            // The parent listens for the first only.
            let _ = began.send(());
        })
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
    reader.join().unwrap().acknowledged
}

/// Goal: what was acknowledged survives a kill, whole and once, under the version it was told, and
/// every snapshot before and after is a prefix of the history. Method: kills after a random time.
fn survives_kills(engine: Engine) {
    let runs = env::var("ORRERY_CRASH_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let mut folder = tempfile::tempdir().unwrap();
    let mut kept = [(0, Version(0)); WRITERS];
    let mut commits = 0;
    for run in 1..=runs {
        let life = Duration::from_millis(fresh_seed() % LIFE_MS_MAX);
        let moment = if run.is_multiple_of(EARLY_EVERY) {
            Moment::Started(life)
        } else {
            Moment::Acknowledged(life)
        };
        let mut promised = run_and_kill(engine, folder.path(), run, moment);
        for (promised, kept) in promised.iter_mut().zip(kept) {
            *promised = kept.max(*promised);
        }
        kept = assert_kept(&engine.open(folder.path(), run), &promised);
        if run.is_multiple_of(FOLDER_RUNS) || run == runs {
            commits += kept.iter().map(|(round, _)| round).sum::<u64>();
            kept = [(0, Version(0)); WRITERS];
            folder = tempfile::tempdir().unwrap();
        }
    }
    println!("{}: {runs} kills, {commits} commits", engine.name());
    assert!(commits > 0, "children that commit nothing prove nothing");
}

#[test]
fn fjall_loses_doubles_and_tears_nothing_when_it_is_killed() {
    survives_kills(Engine::Fjall);
}

#[cfg(feature = "redb")]
#[test]
fn redb_loses_doubles_and_tears_nothing_when_it_is_killed() {
    survives_kills(Engine::Redb);
}
