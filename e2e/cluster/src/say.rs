//! Lines for the person who waits: which tests are not run, what is being built.

use std::io::Write;

/// Set where "not run" is a failure, as in CI.
const REQUIRED: &str = "ORRERY_TEST_REQUIRED";

/// Says that a test is not run and why, for tests whose prerequisites this machine lacks. The test
/// returns after this; it must not look as if it had passed where nobody reads the reason.
///
/// # Panics
/// When `ORRERY_TEST_REQUIRED` is set: then everything must run.
pub fn not_run(reason: &str) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, but not run: {reason}");
    say(&format!("not run: {reason}"));
}

/// Writes a line to standard error, past the test harness, which hides what `eprintln!` prints
/// unless the test fails.
pub(crate) fn say(line: &str) {
    // Nobody reads it when standard error is closed.
    let _ = writeln!(std::io::stderr(), "orrery: {line}");
}
