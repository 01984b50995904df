//! Where obtained suites and built tools are kept: outside the clone, by name and version.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder for `name`, created when absent.
pub fn folder(name: &str) -> Result<PathBuf, String> {
    let folder = orrery_kit::suite::cache_folder()?.join(name);
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// The file called `file` that a command makes of these sources, made once: other sources are kept
/// under another name. `command` is told where to put it.
pub fn built(
    name: &str,
    sources: &[&str],
    file: &str,
    command: impl FnOnce(&Path) -> Command,
) -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    let kept = folder(&format!("{name}-{:016x}", hasher.finish()))?.join(file);
    if kept.exists() {
        return Ok(kept);
    }
    // Two at once do not meet: each makes one under a name of its own.
    let part = kept.with_extension(std::process::id().to_string());
    let mut command = command(&part);
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("there is no {program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} cannot be built: {}", said.trim()));
    }
    std::fs::rename(&part, &kept).map_err(|error| error.to_string())?;
    Ok(kept)
}
