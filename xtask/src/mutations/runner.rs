//! Building and running the tests of a crate until the first one fails.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// A test binary that takes longer hangs. Without a bug all of them take seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// Seeds of simulations, unless told otherwise: enough to meet every fault many times.
const SEEDS: &str = "500";

/// What became of the tests.
#[derive(Debug)]
pub(super) enum Outcome {
    Passed,
    /// The test that failed first.
    Failed(String),
    /// They did not end: the last ones that had not.
    Hung,
    /// A binary ended badly and no test says why.
    Died(String),
    /// What the compiler says.
    Unbuilt(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("SURVIVED"),
            Self::Failed(test) => write!(f, "caught by {test}"),
            Self::Hung => f.write_str("caught, the tests hang"),
            Self::Died(how) => write!(f, "caught, the tests ended with {how}"),
            Self::Unbuilt(what) => write!(f, "not built: {what}"),
        }
    }
}

/// Runs the tests of `package` in the workspace at `root`; its folder is `folder`.
pub(super) fn run(root: &Path, package: &str, folder: &Path) -> Result<Outcome> {
    let build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--offline", "--no-run", "-p", package])
        .current_dir(root)
        // One target folder for all: only the crate itself is built anew.
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env("CARGO_INCREMENTAL", "1")
        .output()
        .context("failed to run cargo")?;
    let said = String::from_utf8_lossy(&build.stderr).into_owned();
    if !build.status.success() {
        return Ok(Outcome::Unbuilt(said));
    }
    for binary in binaries(&said) {
        let outcome = run_one(&root.join(&binary), folder)?;
        if !matches!(outcome, Outcome::Passed) {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Passed)
}

/// The test binaries, as cargo names them: `Executable tests/journal.rs (target/…/journal-1f)`.
fn binaries(said: &str) -> Vec<PathBuf> {
    let lines = said.lines().filter(|line| line.trim_start().starts_with("Executable "));
    lines.filter_map(|line| Some(line.rsplit_once('(')?.1.trim_end_matches(')').into())).collect()
}

fn run_one(binary: &Path, folder: &Path) -> Result<Outcome> {
    let mut command = Command::new(binary);
    command.current_dir(folder).env("RUST_BACKTRACE", "0");
    if std::env::var_os("ORRERY_SIM_RUNS").is_none() {
        command.env("ORRERY_SIM_RUNS", SEEDS);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child =
        command.spawn().with_context(|| format!("failed to run {}", binary.display()))?;
    let out = child.stdout.take().context("the output of a test is not there")?;
    let (to, lines) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            // `test simulation::one_seed_gives_one_run ... FAILED`
            Ok(line) => {
                let failed =
                    line.strip_suffix(" ... FAILED").map(|l| l.trim_start_matches("test "));
                if let Some(test) = failed {
                    break Some(Outcome::Failed(test.to_owned()));
                }
            }
            Err(RecvTimeoutError::Timeout) => break Some(Outcome::Hung),
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    if ended.is_some() {
        child.kill().context("failed to end a test")?;
    }
    let status = child.wait().context("failed to wait for a test")?;
    drop(lines);
    let _ = reading.join();
    Ok(match ended {
        Some(outcome) => outcome,
        None if status.success() => Outcome::Passed,
        None => Outcome::Died(status.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_found_in_what_cargo_says() {
        let said =
            "   Compiling a v1\n  Executable unittests src/lib.rs (target/debug/deps/a-1f)\n";
        assert_eq!(binaries(said), [PathBuf::from("target/debug/deps/a-1f")]);
    }
}
