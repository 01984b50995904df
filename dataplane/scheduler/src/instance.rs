//! The name of a data folder: keys of runs have it, so that an object that is deleted and made again
//! under its name never uses a key again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use orrery_kit::env::Env;

const FILE: &str = "instance";

/// The name of the folder, made at the first start: eight hexadecimal digits.
pub(crate) fn name(data: &Path, env: &dyn Env) -> io::Result<String> {
    fs::create_dir_all(data)?;
    let path = data.join(FILE);
    match fs::read_to_string(&path) {
        Ok(name) if name.len() == 8 => return Ok(name),
        // Cut short by a crash in the first start, before anything was launched.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = format!("{:08x}", env.random() as u32);
    let mut file = File::create(&path)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    File::open(data)?.sync_all()?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use orrery_kit::env::TestEnv;

    use super::*;

    #[test]
    fn a_folder_keeps_its_name_and_another_has_another() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let env = TestEnv::new(1, 0);
        let first = name(one.path(), &env).unwrap();
        assert_eq!(name(one.path(), &env).unwrap(), first);
        assert_ne!(name(other.path(), &env).unwrap(), first);
        fs::write(one.path().join(FILE), "12").unwrap();
        assert_eq!(name(one.path(), &env).unwrap().len(), 8);
    }
}
