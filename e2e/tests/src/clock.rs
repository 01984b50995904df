//! Clocks that are wrong: a small library that a process loads first, and a file that says by how much.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache;

const SOURCE: &str = include_str!("clock.c");
/// What the library is called in a folder.
const LIBRARY: &str = "clock.so";
/// The file that says how wrong the clock is.
const OFFSET: &str = "clock";

/// Compiles it once. An error is why it cannot be.
pub fn library() -> Result<PathBuf, String> {
    cache::built("skewed-clock", &[SOURCE], LIBRARY, |library| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/clock.c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(library).arg(source);
        compile
    })
}

/// Lets processes that get the [`environment`] of a folder load it.
pub fn install(library: &Path, folder: &Path) {
    fs::write(folder.join(OFFSET), 0_i64.to_ne_bytes()).expect("writable");
    std::os::unix::fs::symlink(library, folder.join(LIBRARY)).expect("writable");
}

/// What makes the clock of a process wrong, if that was installed in its folder.
pub fn environment(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let library = folder.join(LIBRARY);
    let is_installed = library.exists();
    let both = [("LD_PRELOAD", library), ("ORRERY_TEST_CLOCK", folder.join(OFFSET))];
    both.into_iter().filter(|_| is_installed).collect()
}

/// From now on the clock of the process of a folder is wrong by so much.
pub fn set(folder: &Path, by_ns: i64) {
    // Not shortened first: the process reads it at any moment.
    let mut file = File::options().write(true).open(folder.join(OFFSET));
    let file = file.as_mut().expect("it was installed");
    file.write_all(&by_ns.to_ne_bytes()).expect("writable");
}
