//! The two images of a simulated file, and the handle a process holds on it.

use std::collections::BTreeSet;
use std::io;

use super::{Faults, Random, SimDisk, State};
use crate::DiskFile;

/// The unit that is written or lost as a whole, tears apart.
pub(super) const SECTOR_BYTES: usize = 512;

/// What readers see, what is on the disk, and where they may differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl Image {
    pub(super) fn len(&self) -> usize {
        self.cached.len()
    }

    pub(super) fn cached(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.cached.len() {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    /// The file is at least this long from now on, as if zeros had been written behind its end.
    pub(super) fn lengthen(&mut self, end: usize) {
        self.cached.resize(end.max(self.cached.len()), 0);
    }

    /// Puts bytes where nobody meant them to be, on the disk and in the cache, as far as there is one.
    pub(super) fn strike(&mut self, bytes: &[u8], offset: usize) {
        for image in [&mut self.cached, &mut self.durable] {
            if let Some(rest) = image.get_mut(offset..) {
                let count = rest.len().min(bytes.len());
                rest[..count].copy_from_slice(&bytes[..count]);
            }
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.cached.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.store(sector, SECTOR_BYTES);
        }
    }

    /// Some sectors arrive; all of them are taken for clean.
    pub(super) fn sync_badly(&mut self, random: &mut Random) {
        self.store_some(random);
        self.dirty.clear();
    }

    pub(super) fn lose_power(&mut self, random: &mut Random) {
        self.store_some(random);
        self.dirty.clear();
        self.cached = self.durable.clone();
    }

    pub(super) fn flip_bit(&mut self, bit: usize) {
        for image in [&mut self.cached, &mut self.durable] {
            if let Some(byte) = image.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// The kernel had written back some of what is dirty, in no particular order.
    fn store_some(&mut self, random: &mut Random) {
        let grown = self.cached.len().saturating_sub(self.durable.len());
        let kept = [0, grown, random.below(grown as u64 + 1) as usize][random.below(3) as usize];
        self.durable.resize(self.durable.len() + kept, 0);
        let hits = [0, 10, 50, 90, 100][random.below(5) as usize];
        for sector in self.dirty.clone() {
            if random.chance(hits, 100) {
                let torn = random.chance(1, 16);
                let bytes =
                    if torn { random.below(SECTOR_BYTES as u64) as usize } else { SECTOR_BYTES };
                self.store(sector, bytes);
            }
        }
    }

    fn store(&mut self, sector: usize, bytes: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + bytes).min(self.durable.len()).min(self.cached.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.cached[start..end]);
        }
    }
}

/// A handle of one life of the process.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) inode: usize,
    pub(super) life: u64,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().folder.files[self.inode].len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let Faults { read, short, .. } = state.faults;
        state.begin(self.life, read, &format!("read {} at {offset}", self.inode))?;
        let State { folder, random, .. } = &mut *state;
        let cached = folder.files[self.inode].cached();
        let rest = cached.get(offset as usize..).unwrap_or_default();
        let mut count = rest.len().min(into.len());
        if count > 1 && random.chance(short, 1000) {
            // At least one byte: none would be the end of the file.
            count = 1 + random.below(count as u64 - 1) as usize;
        }
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.state().write(self.life, self.inode, bytes, offset as usize)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state().sync(self.life, self.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_write_is_on_the_disk_at_once_and_changes_no_length() {
        let mut image = Image::default();
        image.write(&[1; 1024], 0);
        image.sync();
        image.strike(&[2; 1024], 512);
        image.lengthen(1536);
        image.sync();
        image.lose_power(&mut Random::new(0));
        assert_eq!(image.cached(), [vec![1; 512], vec![2; 512], vec![0; 512]].concat());
    }

    #[test]
    fn what_was_synced_survives_and_a_failed_sync_is_never_made_good() {
        let mut lost = 0;
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut image = Image::default();
            image.write(&[1; 2048], 0);
            image.sync();
            image.write(&[2; 2048], 0);
            image.sync_badly(&mut random);
            assert_eq!(image.cached(), [2; 2048]);
            image.sync();
            image.lose_power(&mut random);
            assert_eq!(image.len(), 2048);
            assert!(image.cached().iter().all(|byte| matches!(byte, 1 | 2)));
            lost += usize::from(image.cached().contains(&1));
        }
        assert!(lost > 10, "a sync after a failed one must not store what that one dropped");
    }
}
