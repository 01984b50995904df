//! Disks that break one promise each: what the rounds must notice.

use std::io;
use std::sync::Arc;

use orrery_journal::{Disk, DiskFile, Lock};

/// What a process does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Nothing.
    Full,
    /// It says that a record is kept before it is.
    Early,
    /// It never syncs a file.
    NoSync,
    /// It never syncs the folder.
    NoFolder,
    /// It syncs again when a sync has failed, and believes it.
    Again,
}

impl Care {
    pub(crate) const ALL: [Self; 5] =
        [Self::Full, Self::Early, Self::NoSync, Self::NoFolder, Self::Again];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Early => "early",
            Self::NoSync => "no-sync",
            Self::NoFolder => "no-folder",
            Self::Again => "again",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|care| care.name() == name).unwrap()
    }
}

/// A disk as a process would use it that takes so much care.
#[derive(Debug)]
pub(crate) struct Careless {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) care: Care,
}

#[derive(Debug)]
struct CarelessFile {
    file: Box<dyn DiskFile>,
    care: Care,
}

impl Careless {
    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(CarelessFile { file, care: self.care })
    }
}

impl Disk for Careless {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        self.disk.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.create(name)?))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        if self.care == Care::NoFolder { Ok(()) } else { self.disk.sync_dir() }
    }
    fn nonce(&self) -> u64 {
        self.disk.nonce()
    }
}

impl DiskFile for CarelessFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        match self.care {
            Care::NoSync => Ok(()),
            Care::Again => {
                while self.file.sync().is_err() {}
                Ok(())
            }
            Care::Full | Care::Early | Care::NoFolder => self.file.sync(),
        }
    }
}
