//! What a process of a group must not forget: which epochs it has heard of and which it was granted.
//!
//! Kept in a file of its own beside the journal, because a fence must not take a position in a
//! journal that is somebody else's word by word. Every change is on disk before it counts.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::copy::Discarded;

const FILE: &str = "group.json";

/// How the group is made up, as `Renew` said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Members {
    pub(crate) followers: u32,
    /// Followers that must have a write before it is acknowledged.
    pub(crate) synchronous: u32,
    pub(crate) lease_milliseconds: u32,
}

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Held {
    /// Highest epoch heard of.
    pub(crate) known: u64,
    /// Epoch this process was promoted with last.
    pub(crate) promoted: u64,
    /// It gave that epoch up for good, and told its followers.
    pub(crate) given_up: bool,
    /// Highest epoch of another process that it was told to follow.
    pub(crate) followed: u64,
    /// Epoch of a primary that ended in order after all its records were on disk here.
    pub(crate) completed: u64,
    /// Records put aside because their history was not that of the primary.
    pub(crate) discarded: u64,
    /// The last of them.
    pub(crate) last_discarded: Discarded,
    /// What is here came from an archive, and this process was never primary with it.
    pub(crate) recovered: bool,
    /// It never had all of what its primary had when it began to follow, nor was primary itself: what
    /// is here may be a part of any size.
    pub(crate) partial: bool,
    pub(crate) members: Option<Members>,
    /// As whom this process took the journal over last, where that is carried elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took_over: Option<Took>,
}

/// An owner of a carried journal: it stays the same one when its process starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Took {
    pub(crate) epoch: u64,
    pub(crate) token: u64,
}

impl Held {
    /// It has neither followed nor led in this group.
    pub(crate) fn is_new(&self) -> bool {
        self.promoted == 0 && self.followed == 0
    }

    /// The epoch this process was promoted with is complete: it never writes under it again.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
        self.completed = self.completed.max(self.promoted);
    }
}

/// Failed to read or write the file.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    #[error("failed to read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to understand {}: {source}", path.display())]
    Content { path: PathBuf, source: serde_json::Error },
    #[error("failed to write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// The file and what is in it.
#[derive(Debug)]
pub(crate) struct Grants {
    folder: PathBuf,
    held: Held,
}

impl Grants {
    /// Reads the file in `folder`; none is the same as one that says nothing.
    pub(crate) fn load(folder: &Path) -> Result<Self, GrantsError> {
        let path = folder.join(FILE);
        let held = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| GrantsError::Content { path, source })?,
            Err(source) if source.kind() == io::ErrorKind::NotFound => Held::default(),
            Err(source) => return Err(GrantsError::Read { path, source }),
        };
        Ok(Self { folder: folder.to_owned(), held })
    }

    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// Changes what is held, durably. After an error nothing has changed here, and on disk either
    /// may be.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Held)) -> Result<(), GrantsError> {
        let mut held = self.held.clone();
        change(&mut held);
        if held == self.held {
            return Ok(());
        }
        let path = self.folder.join(FILE);
        let written = || {
            let bytes = serde_json::to_vec(&held).map_err(io::Error::other)?;
            let temporary = self.folder.join(format!("{FILE}.tmp"));
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        written().map_err(|source| GrantsError::Write { path: path.clone(), source })?;
        self.held = held;
        Ok(())
    }

    /// Whether it may write once its epoch is confirmed.
    pub(crate) fn is_holder(&self) -> bool {
        let held = &self.held;
        held.promoted > 0 && held.promoted == held.known && !held.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_granted_is_read_back_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut grants = Grants::load(folder.path()).expect("nothing is there");
        assert!(!grants.is_holder());
        let members = Members { followers: 2, synchronous: 1, lease_milliseconds: 3000 };
        grants
            .change(|held| {
                (held.known, held.promoted) = (4, 4);
                held.members = Some(members);
            })
            .expect("it is written");
        let mut again = Grants::load(folder.path()).expect("it is there");
        assert_eq!(again.held(), grants.held());
        assert!(again.is_holder());
        again.change(|held| held.known = 5).expect("it is written");
        assert!(!again.is_holder(), "a later epoch was granted");
        std::fs::write(folder.path().join(FILE), "{}x").expect("writable");
        assert!(matches!(Grants::load(folder.path()), Err(GrantsError::Content { .. })));
    }
}
