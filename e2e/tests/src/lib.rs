//! The harness that end-to-end tests, conformance runs and benchmarks share: it starts the real
//! binaries on loopback, speaks their protocols, and ends what it started.
//!
//! It must not link the product: what is tested is the binary, through its own doors.

pub mod cache;
pub mod client;
pub mod clock;
pub mod differential;
pub mod load;
pub mod minio;
pub mod postgres;
pub mod process;
pub mod random;
pub mod servers;
pub mod slots;

use std::path::PathBuf;

/// The `orrery` binary under test: `ORRERY_BIN`, else the one beside the running test.
pub fn orrery_binary() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("ORRERY_BIN") {
        return Ok(PathBuf::from(path));
    }
    let exe = std::env::current_exe().map_err(|error| format!("no current executable: {error}"))?;
    let found = exe.ancestors().skip(1).take(3).map(|folder| folder.join("orrery"));
    found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        "the orrery binary is not built: run `cargo build -p orrery`, or set ORRERY_BIN".to_owned()
    })
}

/// A number that the environment gives under `name`, else `otherwise`.
///
/// # Panics
/// When it gives something that is no number.
pub fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The first of `names` that is a program in PATH.
pub fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().find_map(|name| folders.iter().map(|f| f.join(name)).find(|p| p.is_file()))
}
