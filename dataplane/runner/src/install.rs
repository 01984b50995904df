//! Puts this program where the container of another image finds it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the program in the folder.
const PROGRAM: &str = "orrery";

/// Failed to put the program there.
#[derive(Debug, thiserror::Error)]
#[error("failed to put this program into {}: {source}", folder.display())]
pub struct InstallError {
    folder: PathBuf,
    source: std::io::Error,
}

/// Copies this program into a folder, as a whole or not at all.
pub fn install(folder: &Path) -> Result<(), InstallError> {
    let failed = |source| InstallError { folder: folder.to_owned(), source };
    let own = std::env::current_exe().map_err(failed)?;
    let new = folder.join(format!("{PROGRAM}.new"));
    fs::copy(own, &new).map_err(failed)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    fs::rename(&new, folder.join(PROGRAM)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_can_be_run_from_the_folder_and_replaced_there() {
        let folder = tempfile::tempdir().expect("a folder");
        install(folder.path()).expect("there is room");
        install(folder.path()).expect("it is replaced");
        let mode = fs::metadata(folder.path().join(PROGRAM)).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
        install(&folder.path().join("missing")).expect_err("there is no such folder");
    }
}
