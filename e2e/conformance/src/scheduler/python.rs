//! Python packages, installed with pip into an environment in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use orrery_e2e_tests::cache;

/// Versions of what suites and peers need.
const PACKAGES: [&str; 4] = ["python-dateutil==2.9.0.post0", "pytz", "tzdata", "pytest==9.0.2"];

/// The interpreter of an environment that has the packages.
pub fn interpreter() -> Result<PathBuf, String> {
    let folder = cache::folder("scheduler-python")?;
    let python = folder.join("bin/python");
    let whole = folder.join("whole");
    if !whole.exists() {
        eprintln!("obtaining {} with pip …", PACKAGES.join(", "));
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(pip(&python).args(["install", "--quiet"]).args(PACKAGES))?;
        std::fs::write(&whole, "").map_err(|error| error.to_string())?;
    }
    Ok(python)
}

/// `pip` of that environment.
pub fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)))
}
