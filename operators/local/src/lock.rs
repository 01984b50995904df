//! One `orrery up` per data folder.
//!
//! The lock is the kernel's and ends with the process, however it ends; the pid in the file is only
//! for the message.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use crate::folder::{Folder, FolderError, error};

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// `pid` is what the holder wrote; none when it was just about to.
    #[error(
        "the data folder {} is in use by {}; stop that one with `orrery down --data {}`, or use another folder with --data",
        folder.display(), holder(*pid), folder.display()
    )]
    Held { folder: PathBuf, pid: Option<u32> },
    #[error(transparent)]
    Folder(#[from] FolderError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub fn take(folder: &Folder) -> Result<Self, LockError> {
        let path = folder.lock();
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(|source| error("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut file);
                return Err(LockError::Held { folder: folder.root().to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(error("lock", &path, source).into()),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|source| error("write", &path, source))?;
        Ok(Self { _file: file })
    }

    /// The pid of who holds the folder; none when nobody does.
    pub fn holder(folder: &Folder) -> Result<Option<u32>, FolderError> {
        let path = folder.lock();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(error("open", &path, source)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&mut file).unwrap_or(0))),
            Err(TryLockError::Error(source)) => Err(error("lock", &path, source)),
        }
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_the_pid_of_the_first() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(temporary.path()).unwrap();
        assert_eq!(Lock::holder(&folder).unwrap(), None);
        let held = Lock::take(&folder).unwrap();
        let refused = Lock::take(&folder).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(refused.contains(&format!("process {pid}")), "{refused}");
        assert!(refused.contains("orrery down"), "{refused}");
        assert_eq!(Lock::holder(&folder).unwrap(), Some(pid));
        drop(held);
        Lock::take(&folder).expect("the first one is gone");
    }
}
