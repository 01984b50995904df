//! What is built once and kept between runs, outside the clone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::ClusterError;

/// Overrides the folder.
const FOLDER: &str = "ORRERY_CACHE";

/// `$ORRERY_CACHE`, or `orrery` in the user's cache folder.
pub(crate) fn folder() -> Result<PathBuf, ClusterError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(FOLDER)
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("orrery")))
        .or_else(|| Some(set("HOME")?.join(".cache/orrery")))
        .ok_or_else(|| ClusterError::Missing(format!("no cache folder: set {FOLDER} or HOME")))
}

/// The first 12 hexadecimal digits of the hash of `parts`, each counted with its length.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash = hash.finalize();
    let head = hash.iter().take(6).fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
    format!("{head:012x}")
}

/// The folder `name` of the cache, filled by `make` when it is not there yet. `make` works in a
/// folder beside it that gets the name at the end: what has the name is whole. Several processes
/// that want the same wait for the first.
pub(crate) fn once(
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), ClusterError>,
) -> Result<PathBuf, ClusterError> {
    once_in(&folder()?, name, make)
}

fn once_in(
    cache: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), ClusterError>,
) -> Result<PathBuf, ClusterError> {
    let whole = cache.join(name);
    if whole.exists() {
        return Ok(whole);
    }
    fs::create_dir_all(cache).map_err(ClusterError::file(cache))?;
    let lock =
        File::create(cache.join(format!("{name}.lock"))).map_err(ClusterError::file(cache))?;
    lock.lock().map_err(ClusterError::file(cache))?;
    if whole.exists() {
        return Ok(whole);
    }
    let part = cache.join(format!("{name}.part"));
    if part.exists() {
        fs::remove_dir_all(&part).map_err(ClusterError::file(&part))?;
    }
    fs::create_dir(&part).map_err(ClusterError::file(&part))?;
    make(&part)?;
    fs::rename(&part, &whole).map_err(ClusterError::file(&whole))?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_made_once() {
        let cache = tempfile::tempdir().expect("a folder");
        let make =
            |part: &Path| fs::write(part.join("thing"), "made").map_err(ClusterError::file(part));
        let first = once_in(cache.path(), "thing-1", make).expect("it is made");
        let again = |_: &Path| Err(ClusterError::Missing("made twice".to_owned()));
        let second = once_in(cache.path(), "thing-1", again).expect("it is there");
        assert_eq!(first, second);
        assert_eq!(fs::read_to_string(second.join("thing")).expect("a file"), "made");
    }

    #[test]
    fn a_failed_make_leaves_nothing_that_looks_whole() {
        let cache = tempfile::tempdir().expect("a folder");
        let fail = |part: &Path| {
            fs::write(part.join("half"), "").map_err(ClusterError::file(part))?;
            Err(ClusterError::Missing("no".to_owned()))
        };
        once_in(cache.path(), "thing-1", fail).expect_err("it fails");
        let make = |part: &Path| {
            assert!(!part.join("half").exists(), "leftovers are removed first");
            Ok(())
        };
        once_in(cache.path(), "thing-1", make).expect("the next try works");
    }

    #[test]
    fn a_key_tells_where_one_part_ends() {
        assert_ne!(key([b"ab".as_slice(), b"c"]), key([b"a".as_slice(), b"bc"]));
        assert_eq!(key([b"ab".as_slice()]).len(), 12);
    }
}
