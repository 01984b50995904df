//! Clocks that are wrong: a small library that a process loads first, and a file that says by how much.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orrery_e2e_tests::cache;

use crate::process::{Engine, Value};
use crate::replication::group::eventually;

const SOURCE: &str = include_str!("clock.c");

/// Compiles it once. An error is why it cannot be.
pub(crate) fn library() -> Result<PathBuf, String> {
    cache::built("skewed-clock", &[SOURCE], "clock.so", |library| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kv/histories/clock.c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(library).arg(source);
        compile
    })
}

/// Lets the engine that will run in a folder load it.
pub(crate) fn install(library: &Path, folder: &Path) {
    fs::write(folder.join("clock"), 0_i64.to_ne_bytes()).expect("writable");
    std::os::unix::fs::symlink(library, folder.join("clock.so")).expect("writable");
}

/// Sets the clock of an engine wrong by so much, and sees that it is.
pub(crate) fn skew(engine: &Engine, by_s: i64) {
    // Not shortened first: the process reads it at any moment.
    let mut file = File::options().write(true).open(engine.folder.path().join("clock"));
    let bytes = (by_s * 1_000_000_000).to_ne_bytes();
    file.as_mut().expect("it was installed").write_all(&bytes).expect("writable");
    eventually("its clock is wrong", || {
        let Ok(Value::Array(Some(parts))) = engine.client().try_run("TIME") else { return None };
        let said_s: i64 = parts[0].text().parse().expect("a number");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let off_s = said_s - now.as_secs() as i64;
        ((off_s - by_s).abs() < 60).then_some(())
    });
}
