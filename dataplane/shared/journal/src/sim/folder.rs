//! The names of simulated files: as processes see them, and as they would survive.

use std::collections::BTreeMap;
use std::io;

use super::Random;
use super::file::Image;

/// A change of names that is not synced yet.
#[derive(Clone, Debug)]
enum Change {
    Link { name: String, inode: usize },
    Rename { from: String, to: String, inode: usize },
    Remove { name: String, inode: usize },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    /// Every file there ever was; an index stays valid while a handle may be open.
    pub(super) files: Vec<Image>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    changes: Vec<Change>,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename { from, to, inode } => {
                names.retain(|name, known| name != from || known != inode);
                names.insert(to.clone(), *inode);
            }
            Self::Remove { name, inode } => {
                names.retain(|known_name, known| known_name != name || known != inode);
            }
        }
    }
}

impl Folder {
    pub(super) fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn listing(&self) -> Vec<(String, usize)> {
        let length = |inode: &usize| self.files[*inode].len();
        self.names.iter().map(|(name, inode)| (name.clone(), length(inode))).collect()
    }

    pub(super) fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.names.get(name).map(|inode| self.files[*inode].cached().to_vec())
    }

    /// Bytes of all files if `inode` reached to `end`.
    pub(super) fn grown(&self, inode: usize, end: usize) -> u64 {
        let growth = end.saturating_sub(self.files[inode].len());
        let used: usize = self.names.values().map(|inode| self.files[*inode].len()).sum();
        if growth == 0 { 0 } else { (used + growth) as u64 }
    }

    pub(super) fn create(&mut self, name: &str) -> usize {
        self.files.push(Image::default());
        let inode = self.files.len() - 1;
        self.change(Change::Link { name: name.to_owned(), inode });
        inode
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(from)?;
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        let inode = self.find(name)?;
        self.change(Change::Remove { name: name.to_owned(), inode });
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.names.clone();
        self.changes.clear();
    }

    /// The journal of the file system got somewhere, and may get further later.
    pub(super) fn sync_badly(&mut self, random: &mut Random) {
        let done = random.below(self.changes.len() as u64 + 1) as usize;
        for change in self.changes.drain(..done) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let hits = [0, 50, 100][random.below(3) as usize];
        for change in std::mem::take(&mut self.changes) {
            if random.chance(hits, 100) {
                change.apply(&mut self.durable);
            }
        }
        self.names = self.durable.clone();
        for image in &mut self.files {
            image.lose_power(random);
        }
    }

    pub(super) fn flip_bit(&mut self, name: &str, bit: usize) {
        if let Some(inode) = self.names.get(name) {
            self.files[*inode].flip_bit(bit);
        }
    }
}
