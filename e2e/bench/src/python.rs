//! Peers that are Python packages: each in an environment of its own outside the clone.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use orrery_e2e_tests::cache;

/// The interpreter of an environment that has these packages, at these versions.
///
/// # Errors
/// When there is no Python, or the packages cannot be had.
pub fn with(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = cache::folder(&format!("bench-{}", packages.join("-")))?;
    let python = folder.join("bin/python");
    if !folder.join("whole").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
        std::fs::write(folder.join("whole"), "").map_err(|error| error.to_string())?;
    }
    Ok(python)
}

/// The number that a script prints as its last line, given `input` to read.
pub fn number(
    packages: &[&str],
    script: &str,
    arguments: &[String],
    input: &str,
) -> Result<f64, String> {
    use std::io::Write as _;
    let mut child = Command::new(with(packages)?)
        .args(["-c", script])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("python: {error}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes()).map_err(|error| format!("python: {error}"))?;
    }
    let output = child.wait_with_output().map_err(|error| format!("python: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    last.trim().parse().map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let tail: Vec<&str> = said.lines().rev().take(5).collect();
        format!("{} printed `{last}`: {}", packages.join(" "), tail.join(" / "))
    })
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)))
}
