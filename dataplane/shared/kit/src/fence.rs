//! Whether the owner of the object wants no writes: one file, looked at now and then.
//!
//! Must not: change a role or an epoch. A process that is fenced so keeps its place in its group.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Between two looks at the file.
const LOOK_MS: u64 = 1000;
/// The file holds one word.
const FILE_BYTES_MAX: u64 = 64;

/// The file and what it said last.
#[derive(Debug, Clone)]
pub struct Fence {
    path: PathBuf,
    is_up: bool,
    look_due_ms: u64,
}

impl Fence {
    /// Looks at once, so that a process that is fenced takes no write after a restart either. Without a
    /// file there is no fence.
    pub fn new(path: PathBuf) -> Self {
        let is_up = read(&path).unwrap_or(false);
        Self { path, is_up, look_due_ms: 0 }
    }

    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether it has changed, at a moment of a clock that does not go back. While the file says neither,
    /// it stays as it is.
    pub fn look(&mut self, now_ms: u64) -> bool {
        if now_ms < self.look_due_ms {
            return false;
        }
        self.look_due_ms = now_ms + LOOK_MS;
        let before = self.is_up;
        self.is_up = read(&self.path).unwrap_or(before);
        self.is_up != before
    }
}

fn read(path: &Path) -> Option<bool> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_stays_as_it_is_while_its_file_says_neither() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("fenced");
        let write = |text: &str| std::fs::write(&path, text).expect("writable");
        let mut fence = Fence::new(path.clone());
        assert!(!fence.is_up(), "without a file it is down");
        write("true\n");
        assert!(fence.look(1) && fence.is_up());
        assert!(!fence.look(2), "not so soon again");
        write("");
        assert!(!fence.look(2000) && fence.is_up());
        write("false");
        assert!(fence.look(4000) && !fence.is_up());
        write("true");
        assert!(Fence::new(path.clone()).is_up(), "from the first moment");
    }
}
