//! A last batch that only partly reached the disk, cut at every few bytes.
//!
//! Goal: opening gives what came before it, whole, and what is written behind the cut is not lost by
//! the opening after that. Method: the engine's log is cut short, once with zeros behind, as in a
//! file that is allocated ahead, and once without.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use orrery_store::Options;
use orrery_store::suite::{Fixture, all, keys, put, write};
use tempfile::TempDir;

use crate::fixture::fjall_in;

/// Zeros behind the cut: more than any entry header.
const ZEROS: u64 = 4_096;
/// More than these tests write.
const LOG_BYTES_MAX: u64 = 64 << 10;
/// Odd, so that cuts fall into every field.
const STEP_BYTES: usize = 7;

/// The newest log below a folder.
fn log(folder: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jnl") {
                found.push(path);
            }
        }
    }
    found.sort();
    found.pop().unwrap()
}

/// Bytes of a log without the zeros behind it.
fn content(log: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    File::open(log).unwrap().take(LOG_BYTES_MAX).read_to_end(&mut content).unwrap();
    let used = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    content.truncate(used);
    content
}

/// A store with the rows `a` and `b`, of which `b` is in the last batch; its log, and where the log
/// ended before `b`.
fn two_commits() -> (Fixture, PathBuf, usize) {
    let folder = TempDir::new().unwrap();
    let mut fixture = fjall_in(folder.path(), Options::default());
    let store = fixture.open(1);
    write(&store, vec![put("a", "1")]);
    let log = log(folder.path());
    let before = content(&log).len();
    write(&store, vec![put("b", "a value of some length")]);
    drop(store);
    fixture.held = Box::new(folder);
    (fixture, log, before)
}

fn cut_and_go_on(cut: usize, zeros: u64) {
    let (fixture, log, _) = two_commits();
    let whole = content(&log).len();
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(cut.try_into().unwrap()).unwrap();
    file.set_len(cut as u64 + zeros).unwrap();
    let store = fixture.open(1);
    let left = keys(all(&store));
    assert_eq!(left, ["a"], "cut at {cut} of {whole}");
    assert_eq!(store.durable().0, 1);
    write(&store, vec![put("c", "1")]);
    drop(store);
    let store = fixture.open(1);
    assert_eq!(keys(all(&store)), ["a", "c"], "cut at {cut} of {whole}");
    assert_eq!(store.durable().0, 2);
}

#[test]
fn a_torn_tail_is_cut_and_what_follows_is_kept() {
    let (fixture, log, before) = two_commits();
    let whole = content(&log).len();
    assert!(before < whole, "the last batch must be in the log");
    assert_eq!(keys(all(&fixture.open(1))), ["a", "b"]);
    for cut in (before..whole).step_by(STEP_BYTES) {
        cut_and_go_on(cut, 0);
        cut_and_go_on(cut, ZEROS);
    }
}
