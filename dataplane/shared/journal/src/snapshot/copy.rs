//! A journal that begins with another one's snapshot: what a follower starts from.
//!
//! Made in an empty folder, which must not be opened before it is finished: whoever makes it gives the
//! folder its final name only then.

use std::io::{self, Write};
use std::sync::Arc;

use super::image::Image;
use crate::{Disk, Epoch, JournalError, Options, Position, epoch, segment};

/// Takes the content of the snapshot.
#[derive(Debug)]
pub struct CopyWriter {
    disk: Arc<dyn Disk>,
    options: Options,
    at: u64,
    epoch: u64,
    image: Image,
}

impl CopyWriter {
    /// Begins a journal whose first record will be the one behind `at`. `epoch` is that of the
    /// record at `at`; no later record may have a lower one.
    pub fn begin(
        disk: Arc<dyn Disk>,
        options: Options,
        at: Position,
        epoch: Epoch,
    ) -> Result<Self, JournalError> {
        let image = Image::begin(Arc::clone(&disk), options.shard, at.0, epoch.0)?;
        Ok(Self { disk, options, at: at.0, epoch: epoch.0, image })
    }

    /// Makes everything durable; then the folder can be opened.
    pub fn finish(mut self) -> Result<(), JournalError> {
        self.image.complete()?;
        self.image.install()?;
        segment::begin_first(&*self.disk, &self.options, self.at + 1, self.epoch)?;
        epoch::store(&*self.disk, self.options.shard, self.epoch)
    }
}

impl Write for CopyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.image.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.image.flush()
    }
}
