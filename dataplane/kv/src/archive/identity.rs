//! A name that no other journal has, kept in the data folder: what an archive is claimed with.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use orrery_kit::env::{Env, SystemEnv};

const IDENTITY: &str = "archive-owner";

/// The name of the journal in `data`, made at the first call. `object` makes it readable.
pub(super) fn of(data: &Path, object: &str) -> io::Result<String> {
    let path = data.join(IDENTITY);
    match fs::read_to_string(&path) {
        Ok(text) if !text.is_empty() => return Ok(text),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let env = SystemEnv::default();
    let text = format!("{object} {:016x}{:016x}", env.random(), env.random());
    let temporary = data.join(format!("{IDENTITY}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(data)?.sync_all()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_name_and_shares_it_with_no_other() {
        let (one, two) = (tempfile::tempdir().expect("room"), tempfile::tempdir().expect("room"));
        let name = of(one.path(), "default/kv").expect("writable");
        assert!(name.starts_with("default/kv "));
        assert_eq!(of(one.path(), "default/renamed").expect("readable"), name);
        assert_ne!(of(two.path(), "default/kv").expect("writable"), name);
    }
}
