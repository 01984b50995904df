//! Whether the owner of the object wants no writes: one file, looked at now and then.
//!
//! Must not: change a role or an epoch. A process that is fenced so keeps its place in its group, and
//! reads, management, metrics and replication go on.

use std::path::{Path, PathBuf};

use orrery_api::kv::config::FENCED_FILE;

use super::Shard;

/// Between two looks at the file.
const LOOK_MS: u64 = 1000;
/// The file holds one word.
const FILE_BYTES_MAX: u64 = 64;

/// The file and what it said last.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    path: PathBuf,
    is_up: bool,
    look_due_ms: u64,
}

impl Fence {
    /// Looks at once, so that a process that is fenced takes no write after a restart either. Without a
    /// file there is no fence.
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join(FENCED_FILE);
        let is_up = read(&path).unwrap_or(false);
        Self { path, is_up, look_due_ms: 0 }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether it has changed. While the file says neither, it stays as it is.
    fn look(&mut self, now_ms: u64) -> bool {
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
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl Shard {
    /// Whether its owner wants no writes, whatever its role.
    pub(crate) fn is_fenced_by_owner(&self) -> bool {
        self.fence.as_ref().is_some_and(Fence::is_up)
    }

    /// Takes over what the owner wants.
    pub(crate) fn look_after_fence(&mut self) {
        let now_ms = self.clock.mono_ms;
        if self.fence.as_mut().is_some_and(|fence| fence.look(now_ms)) {
            let is_fenced = self.is_fenced_by_owner();
            tracing::info!(is_fenced, "spec.operation has changed");
            self.set_bar();
            self.publish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_stays_as_it_is_while_its_file_says_neither() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |text: &str| {
            std::fs::write(folder.path().join(FENCED_FILE), text).expect("writable");
        };
        let mut fence = Fence::new(folder.path());
        assert!(!fence.is_up(), "without a file it is down");
        write("true\n");
        assert!(fence.look(1) && fence.is_up());
        assert!(!fence.look(2), "not so soon again");
        write("");
        assert!(!fence.look(2000) && fence.is_up());
        assert!(Fence::new(folder.path()).path.ends_with(FENCED_FILE));
        write("false");
        assert!(fence.look(4000) && !fence.is_up());
        write("true");
        assert!(Fence::new(folder.path()).is_up(), "from the first moment");
    }
}
