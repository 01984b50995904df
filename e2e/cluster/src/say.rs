//! Lines for the person who waits: which tests are not run, what is being built.

use std::io::Write;

/// Writes a line to standard error, past the test harness, which hides what `eprintln!` prints
/// unless the test fails.
pub(crate) fn say(line: &str) {
    // Nobody reads it when standard error is closed.
    let _ = writeln!(std::io::stderr(), "orrery: {line}");
}
