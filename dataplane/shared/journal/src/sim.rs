//! A disk that lies as disks do, from one seed, on one thread, the same way every time.
//!
//! [`SimDisk`] keeps two images of every file: what a reader sees (the page cache) and what would
//! survive a loss of power. It forgets what was not synced, sector by sector; tears sectors; loses
//! renames and removals that were not followed by a sync of the folder; runs full; fails any
//! operation; and stops dead at a chosen one. After a failed sync it drops pages while readers still
//! see them, as Linux does, so that a second sync succeeds over nothing. It can also lead writes
//! astray: they land in a wrong place, and nobody is told.
//!
//! It is stricter than file systems are: folder operations survive in any combination, syncing a
//! file says nothing about its name, and a disk sector may tear.

mod file;
mod folder;
mod random;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Disk, DiskFile, Lock};
use file::SimFile;
use folder::Folder;

pub use random::Random;

/// What may go wrong, as chances in 1,000 per operation, and when it all ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A read fails.
    pub read: u64,
    /// A read gives fewer bytes than there are.
    pub short: u64,
    /// A write fails after part of it was done.
    pub write: u64,
    /// A write finds no room after part of it was done.
    pub full: u64,
    /// A write goes astray: it reports success, and lands at another place of the same file, or in
    /// another one. Where it belongs stays what was there before.
    pub astray: u64,
    /// A sync of a file fails, and its pages are gone.
    pub sync: u64,
    /// Creating, opening, renaming, removing, listing or syncing the folder fails.
    pub folder: u64,
    /// The process dies in the operation that comes after this many others.
    pub dies_after: Option<u64>,
    /// Bytes that all files together may have.
    pub room_bytes: Option<u64>,
}

#[derive(Debug)]
struct State {
    random: Random,
    faults: Faults,
    folder: Folder,
    operations: u64,
    astray: u64,
    dead: bool,
    locked: bool,
    /// Grows with every restart: handles of the process before no longer work.
    life: u64,
    trace: Vec<String>,
}

/// The simulated disk. Clones are the same disk; see [`fork`](Self::fork) for a copy.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

fn fault(kind: io::ErrorKind, what: &str) -> io::Error {
    io::Error::new(kind, format!("simulated: {what}"))
}

impl State {
    /// Begins an operation: counts and traces it, and decides whether it fails.
    fn begin(&mut self, life: u64, chance: u64, what: &str) -> io::Result<()> {
        if self.dead || life != self.life {
            return Err(fault(io::ErrorKind::Other, "the process is dead"));
        }
        self.operations += 1;
        let dies = self.faults.dies_after == Some(0);
        if let Some(left) = &mut self.faults.dies_after {
            *left = left.saturating_sub(1);
        }
        let fails = !dies && self.random.chance(chance, 1000);
        let outcome = if dies {
            self.dead = true;
            " dies"
        } else if fails {
            " fails"
        } else {
            ""
        };
        self.trace.push(format!("{what}{outcome}"));
        if dies || fails {
            return Err(fault(io::ErrorKind::Other, what));
        }
        Ok(())
    }

    fn write(&mut self, life: u64, inode: usize, bytes: &[u8], offset: usize) -> io::Result<()> {
        let what = format!("write {inode} at {offset}: {} bytes", bytes.len());
        let alive = !self.dead && life == self.life;
        let begun = self.begin(life, self.faults.write, &what);
        let end = offset + bytes.len();
        let (room, random) = (self.faults.room_bytes, &mut self.random);
        let full = room.is_some_and(|room| self.folder.grown(inode, end) > room)
            || random.chance(self.faults.full, 1000);
        if begun.is_ok() && !full {
            if self.random.chance(self.faults.astray, 1000) {
                self.write_astray(inode, bytes, offset);
            } else {
                self.folder.files[inode].write(bytes, offset);
            }
            return Ok(());
        }
        if alive {
            // The part that was done is a prefix, at most up to the length the file had if full.
            let mut part = random.below(bytes.len() as u64 + 1) as usize;
            if room.is_some() {
                part = part.min(self.folder.files[inode].len().saturating_sub(offset));
            }
            self.folder.files[inode].write(&bytes[..part], offset);
        }
        begun?;
        Err(fault(io::ErrorKind::StorageFull, &what))
    }

    /// Leads a write to another place, on the disk and in the cache. It changes bytes that are there
    /// and no length: it is the disk that errs, not the file system.
    fn write_astray(&mut self, inode: usize, bytes: &[u8], offset: usize) {
        let names = self.folder.listing();
        let same = names.is_empty() || self.random.chance(1, 2);
        let other = self.random.below(names.len() as u64) as usize;
        let victim = if same { Ok(inode) } else { self.folder.find(&names[other].0) };
        let victim = victim.unwrap_or(inode);
        let sectors = self.folder.files[victim].len().div_ceil(file::SECTOR_BYTES) as u64;
        let to = self.random.below(sectors) as usize * file::SECTOR_BYTES;
        self.folder.files[inode].lengthen(offset + bytes.len());
        self.folder.files[victim].strike(bytes, to);
        self.astray += 1;
        self.trace.push(format!("astray: {victim} at {to}"));
    }

    fn sync(&mut self, life: u64, inode: usize) -> io::Result<()> {
        let alive = !self.dead && life == self.life;
        let begun = self.begin(life, self.faults.sync, &format!("sync {inode}"));
        if begun.is_ok() {
            self.folder.files[inode].sync();
        } else if alive {
            self.folder.files[inode].sync_badly(&mut self.random);
        }
        begun
    }

    /// A folder operation; when it fails or dies it may have been done all the same.
    fn alter(
        &mut self,
        life: u64,
        what: &str,
        work: impl FnOnce(&mut Folder, &mut Random) -> io::Result<()>,
    ) -> io::Result<()> {
        let alive = !self.dead && life == self.life;
        let begun = self.begin(life, self.faults.folder, what);
        if begun.is_ok() || (alive && self.random.chance(1, 2)) {
            work(&mut self.folder, &mut self.random)?;
        }
        begun
    }
}

impl SimDisk {
    /// An empty disk without faults.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            faults: Faults::default(),
            folder: Folder::default(),
            operations: 0,
            astray: 0,
            dead: false,
            locked: false,
            life: 0,
            trace: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Writes that went astray so far.
    pub fn astray(&self) -> u64 {
        self.state().astray
    }

    /// Whether the process died in an operation.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// What was done, in order, with what failed: two runs of one seed agree in every line.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// Ends the process, if it still lives, and starts the next on what the page cache holds.
    pub fn restart(&self) {
        let mut state = self.state();
        state.life += 1;
        state.dead = false;
        state.locked = false;
        state.faults = Faults::default();
        state.trace.push("restart".to_owned());
    }

    /// Loses power, and starts the next process on what survived.
    pub fn lose_power(&self) {
        let state = &mut *self.state();
        state.folder.lose_power(&mut state.random);
        state.trace.push("power lost".to_owned());
        state.life += 1;
        state.dead = false;
        state.locked = false;
        state.faults = Faults::default();
    }

    /// A copy with a life of its own, on which another process may start.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state();
        let copy = State {
            random: state.random.clone(),
            faults: Faults::default(),
            folder: state.folder.clone(),
            operations: 0,
            astray: 0,
            dead: false,
            locked: false,
            life: state.life + 1,
            trace: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(copy)) }
    }

    /// The files and their lengths, as readers see them.
    pub fn files(&self) -> Vec<(String, usize)> {
        self.state().folder.listing()
    }

    /// The content of a file, as readers see it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.state().folder.content(name)
    }

    /// Flips one bit of a file, on the disk and in the cache.
    pub fn flip_bit(&self, name: &str, bit: usize) {
        self.state().folder.flip_bit(name, bit);
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    life: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked = false;
        }
    }
}

impl Disk for SimDisk {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), life: state.life }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        let (life, chance) = (state.life, state.faults.folder);
        state.begin(life, chance, "list")?;
        Ok(state.folder.listing().into_iter().map(|(name, _)| name).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let life = state.life;
        let mut inode = 0;
        state.alter(life, &format!("create {name}"), |folder, _| {
            inode = folder.create(name);
            Ok(())
        })?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, life }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let (life, chance) = (state.life, state.faults.folder);
        state.begin(life, chance, &format!("open {name}"))?;
        let inode = state.folder.find(name)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.alter(life, &format!("rename {from} to {to}"), |folder, _| folder.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.alter(life, &format!("remove {name}"), |folder, _| folder.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        let (life, chance) = (state.life, state.faults.folder);
        let alive = !state.dead;
        let begun = state.begin(life, chance, "sync the folder");
        let State { folder, random, .. } = &mut *state;
        if begun.is_ok() {
            folder.sync();
        } else if alive {
            folder.sync_badly(random);
        }
        begun
    }

    fn nonce(&self) -> u64 {
        self.state().random.next()
    }
}
