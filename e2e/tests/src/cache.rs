//! Where obtained suites are kept: outside the clone, by name and version.

use std::path::PathBuf;

/// The folder for `name`, created when absent: below `ORRERY_CACHE`, `XDG_CACHE_HOME` or
/// `~/.cache`.
pub fn folder(name: &str) -> Result<PathBuf, String> {
    let base = match std::env::var_os("ORRERY_CACHE") {
        Some(path) => PathBuf::from(path),
        None => match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
            (Some(path), _) => PathBuf::from(path).join("orrery"),
            (None, Some(home)) => PathBuf::from(home).join(".cache/orrery"),
            (None, None) => return Err("neither ORRERY_CACHE nor HOME is set".to_owned()),
        },
    };
    let folder = base.join(name);
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}
