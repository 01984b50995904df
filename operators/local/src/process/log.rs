//! What a process prints, in a file that cannot grow without bound.
//!
//! `name.log` is the newest; when it is full it becomes `name.log.1`, and so on.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::folder::make_folder;

/// Size at which a file is put aside, in bytes.
pub const FILE_BYTES_MAX: u64 = 10 << 20;
/// Files kept beside the newest.
pub const OLD_FILES_MAX: u32 = 3;
const CHUNK_BYTES: usize = 16 << 10;

/// A file that rotates. Errors are kept to itself: a full disk must not stop a data plane.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    bytes_max: u64,
}

impl RotatingFile {
    pub fn new(path: &Path, bytes_max: u64) -> Self {
        Self { path: path.to_owned(), file: None, bytes: 0, bytes_max }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        if self.bytes + bytes.len() as u64 > self.bytes_max && self.bytes > 0 {
            self.rotate();
        }
        if self.file.is_none() {
            self.open();
        }
        if let Some(file) = &mut self.file {
            match file.write_all(bytes) {
                Ok(()) => self.bytes += bytes.len() as u64,
                Err(_) => self.file = None,
            }
        }
    }

    fn open(&mut self) {
        if let Some(parent) = self.path.parent() {
            let _ = make_folder(parent);
        }
        if let Ok(file) = File::options().create(true).append(true).open(&self.path) {
            self.bytes = file.metadata().map_or(0, |metadata| metadata.len());
            self.file = Some(file);
        }
    }

    fn rotate(&mut self) {
        self.file = None;
        self.bytes = 0;
        for index in (1..OLD_FILES_MAX).rev() {
            let _ = std::fs::rename(old(&self.path, index), old(&self.path, index + 1));
        }
        let _ = std::fs::rename(&self.path, old(&self.path, 1));
    }
}

/// The path of a file that was put aside; 1 is the newest of them.
pub fn old(path: &Path, index: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{index}"));
    path.with_file_name(name)
}

/// Gives everything `from` says to `write`, until it ends.
pub async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut write: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        write(&chunk[..read]);
    }
}

/// The last `lines` lines of a log, reading no more than a bounded end of it, and the position
/// after them, to go on from.
pub fn tail(path: &Path, lines: usize) -> std::io::Result<(String, u64)> {
    const TAIL_BYTES_MAX: u64 = 4 << 20;
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    let start = end.saturating_sub(TAIL_BYTES_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(end - start).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    let from = all.len().saturating_sub(lines);
    Ok((all[from..].concat(), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_a_bounded_number_of_files_of_a_bounded_size() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("ns/a.log");
        let mut file = RotatingFile::new(&path, 10);
        for index in 0..20 {
            file.write(format!("line {index}\n").as_bytes());
        }
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names as u32, OLD_FILES_MAX + 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line 19\n");
        assert_eq!(std::fs::read_to_string(old(&path, 3)).unwrap(), "line 16\n");
    }

    #[test]
    fn a_restart_goes_on_in_the_same_file() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a.log");
        RotatingFile::new(&path, 100).write(b"one\n");
        RotatingFile::new(&path, 100).write(b"two\n");
        assert_eq!(tail(&path, 10).unwrap(), ("one\ntwo\n".to_owned(), 8));
        assert_eq!(tail(&path, 1).unwrap().0, "two\n");
    }
}
