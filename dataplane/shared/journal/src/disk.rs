//! The seam between the journal and the disk.
//!
//! Everything the journal does to a disk goes through [`Disk`] and [`DiskFile`], so that
//! `sim::SimDisk` can lose what was not synced, tear writes, flip bits, run full and fail. An
//! implementation must not retry, buffer or hide an error.

mod real;

use std::fmt::Debug;
use std::io;

pub use real::RealDisk;

/// One flat folder.
pub trait Disk: Send + Sync + Debug {
    /// Takes the folder for one journal until the guard is dropped. `WouldBlock` when it is taken.
    fn lock(&self) -> io::Result<Box<dyn Lock>>;
    /// The names of all files, in no stated order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a new or emptied file.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Renames atomically, replacing `to` if it exists. Durable after `sync_dir`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after `sync_dir`.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// A number nobody can guess, to tell this journal's frames from bytes that look like them.
    fn nonce(&self) -> u64;
}

/// One open file.
pub trait DiskFile: Send + Sync + Debug {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `into.len()` bytes. Fewer may come at any time, and mean nothing: only 0 is the
    /// end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`. After an error any part of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable (`fdatasync`). After an error nobody knows what is durable,
    /// and asking again proves nothing.
    fn sync(&self) -> io::Result<()>;
}

/// Keeps a folder taken while it lives.
pub trait Lock: Send + Sync + Debug {}

/// Fills `into`, asking again while fewer bytes come; gives how many there are before the end of the
/// file. A short read taken for the end would make a history shorter without a word.
pub(crate) fn read_full(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Reads a whole file. One that ends before its length is an error.
pub(crate) fn read_all(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_all_into(disk, name, &mut bytes)?;
    Ok(bytes)
}

/// The same, in place of what `bytes` held. Who reads one segment after the other reads them into the
/// same memory: the pages of fresh memory cost nearly as much as what is copied into them.
pub(crate) fn read_all_into(disk: &dyn Disk, name: &str, bytes: &mut Vec<u8>) -> io::Result<()> {
    let file = disk.open(name)?;
    bytes.resize(usize::try_from(file.len()?).map_err(io::Error::other)?, 0);
    if read_full(&*file, bytes, 0)? < bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
