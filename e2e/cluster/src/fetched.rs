//! Things of others that tests judge with: a program of a Debian package, the source of a Go
//! module, a Go program that lies in this repository. Each is fetched or built once, into the cache.
//!
//! Must not: change the machine. Nothing is installed; packages are only unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::say::say;
use crate::{ClusterError, cache, go, output_within};

/// For a download or a build; a registry may keep a connection open and send nothing.
const LIMIT: Duration = Duration::from_mins(8);

/// A program: the machine's own, or unpacked from the Debian package of a name.
///
/// # Errors
/// [`ClusterError::Missing`] when neither is to be had.
pub fn debian_program(program: &str, package: &str) -> Result<PathBuf, ClusterError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(program));
    if let Some(found) = on_path.into_iter().find(|path| path.is_file()) {
        return Ok(found);
    }
    let folder = cache::once(&format!("debian-{package}"), |part| {
        say(&format!("no {program} on this machine, unpacking the Debian package {package}"));
        let mut download = Command::new("apt-get");
        run(download.args(["-qq", "download", package]).current_dir(part), "apt-get download")?;
        let entries = fs::read_dir(part).map_err(ClusterError::file(part))?;
        let archive = entries.flatten().map(|entry| entry.path());
        let archive = archive.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb"));
        let missing = || ClusterError::Missing(format!("apt-get wrote no package {package}"));
        let archive = archive.ok_or_else(missing)?;
        run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(part), "dpkg-deb")?;
        fs::remove_file(&archive).map_err(ClusterError::file(&archive))
    })?;
    Ok(folder.join("usr/bin").join(program))
}

/// The folder with the source of a Go module at a version.
///
/// # Errors
/// [`ClusterError::Missing`] when there is no Go or the module cannot be fetched.
pub fn go_module(module: &str, version: &str) -> Result<PathBuf, ClusterError> {
    let mut command = go::command()?;
    command.args(["mod", "download", "-json", &format!("{module}@{version}")]);
    let text = run(command.current_dir(std::env::temp_dir()), "go mod download")?;
    let answer: serde_json::Value = serde_json::from_str(&text)
        .map_err(|cause| ClusterError::Missing(format!("go mod download: {cause}")))?;
    let folder = answer["Dir"].as_str().map(PathBuf::from);
    folder.ok_or_else(|| ClusterError::Missing(format!("go has no folder for {module}")))
}

/// A program built from the Go module in `folder`, whose main package is at its top.
///
/// # Errors
/// [`ClusterError::Missing`] when there is no Go or it does not build.
pub fn go_program(folder: &Path) -> Result<PathBuf, ClusterError> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("program").to_owned();
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(ClusterError::file(folder))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let contents: Result<Vec<Vec<u8>>, ClusterError> =
        files.iter().map(|file| fs::read(file).map_err(ClusterError::file(file))).collect();
    let key = cache::key(contents?.iter().map(Vec::as_slice));
    let built = cache::once(&format!("{name}-{key}"), |part| {
        say(&format!("building {name}, once"));
        let mut command = go::command()?;
        command.current_dir(folder).args(["build", "-trimpath", "-ldflags=-s -w", "-o"]);
        run(command.arg(part.join(&name)).arg("."), "go build").map(drop)
    })?;
    Ok(built.join(&name))
}

/// Standard output of a command that succeeded; "missing", with what it said, of one that did not.
fn run(command: &mut Command, what: &str) -> Result<String, ClusterError> {
    let missing = |why: &str| ClusterError::Missing(format!("{what} failed: {}", why.trim()));
    let late = |error: &ClusterError| matches!(error, ClusterError::Command { .. });
    let output = output_within(command, LIMIT).or_else(|error| {
        // What it fetched and built so far is kept.
        if late(&error) { output_within(command, LIMIT) } else { Err(error) }
    });
    let output = output.map_err(|cause| missing(&cause.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(missing(&String::from_utf8_lossy(&output.stderr)))
}
