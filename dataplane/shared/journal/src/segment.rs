//! The segment being written: how one is begun, and how a group gets into it.
//!
//! A segment takes its name only after its header is durable, and takes frames only after its name
//! is durable. So a segment with a name has an intact header, or is damaged; and the existence of a
//! later segment proves that every record before its first position was durable.

use std::io;

use crate::format::{PAGE_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::prepare::{Spare, remove};
use crate::shared::Shared;
use crate::{Disk, DiskFile, JournalError, Options};

/// Content of a segment made in the committer's own time, because no spare was ready.
const HASTY_BYTES: u64 = 1 << 20;
/// Its name while it is made.
const HASTY_NAME: &str = "segment.tmp";

/// The segment that takes frames.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) name: String,
    pub(crate) seed: u32,
    pub(crate) offset: u64,
    file: Box<dyn DiskFile>,
    capacity: u64,
}

impl Active {
    /// Goes on in a segment found on disk, behind its last frame.
    pub(crate) fn resume(
        file: Box<dyn DiskFile>,
        header: &SegmentHeader,
        offset: u64,
        capacity: u64,
    ) -> Self {
        let name = segment_name(header.first);
        Self { name, seed: header.seed(), offset, file, capacity }
    }

    /// Whether a group of `bytes` has room. An empty segment takes any group.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.offset + bytes as u64 <= self.capacity || self.offset == SEGMENT_HEADER_BYTES as u64
    }

    /// Whether the next segment will be needed soon. One made hastily does not count: it fills so
    /// fast that another one is better than zeros written at full speed.
    pub(crate) fn is_half_full(&self, segment_bytes: u64) -> bool {
        self.capacity >= segment_bytes && self.offset > self.capacity / 2
    }

    /// Writes a stamped group, filled up with zeros to the end of its page so that the page need
    /// not be read first. `group` is as before afterwards. Not yet durable.
    pub(crate) fn write(&self, group: &mut Vec<u8>) -> io::Result<()> {
        let bytes = group.len();
        let end = self.offset as usize + bytes;
        group.resize(bytes + end.next_multiple_of(PAGE_BYTES) - end, 0);
        let written = self.file.write_at(group, self.offset);
        group.truncate(bytes);
        written
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// Begins the segment whose first record will be `first`, and makes it durable.
///
/// `DiskFull` leaves nothing behind and may be tried again; after any other error the journal must
/// not go on, because it is not known what the folder holds.
pub(crate) fn begin(shared: &Shared, first: u64, epoch: u64) -> Result<Active, JournalError> {
    let header =
        SegmentHeader { shard: shared.options.shard, epoch, first, salt: shared.disk.nonce() };
    let spare = match shared.spares.take() {
        Some(spare) => dress(&*shared.disk, spare, &header)?,
        None => make_hastily(&*shared.disk, &shared.options, &header)?,
    };
    let active = install(&*shared.disk, spare, &header, &shared.options)?;
    shared.with_files(|files| {
        // An empty segment with a torn first group is replaced by one of the same name.
        files.segments.retain(|known| *known < first);
        files.segments.push(first);
    });
    Ok(active)
}

/// Begins the very first segment of a folder; its first record will be `first`.
pub(crate) fn begin_first(
    disk: &dyn Disk,
    options: &Options,
    first: u64,
    epoch: u64,
) -> Result<Active, JournalError> {
    let header = SegmentHeader { shard: options.shard, epoch, first, salt: disk.nonce() };
    let spare = make_hastily(disk, options, &header)?;
    install(disk, spare, &header, options)
}

/// Writes the header into a prepared file.
fn dress(disk: &dyn Disk, spare: Spare, header: &SegmentHeader) -> Result<Spare, JournalError> {
    if let Err(source) = spare.file.write_at(&header.encode(), 0) {
        remove(disk, &spare.name);
        return Err(JournalError::io("write the header of", &spare.name, source));
    }
    sync_whole(&*spare.file, &spare.name)?;
    Ok(spare)
}

/// Makes a small file with a header when none was prepared.
fn make_hastily(
    disk: &dyn Disk,
    options: &Options,
    header: &SegmentHeader,
) -> Result<Spare, JournalError> {
    let mut content = header.encode();
    if options.preallocate {
        content.resize(options.segment_bytes.min(HASTY_BYTES) as usize, 0);
    }
    let made = disk.create(HASTY_NAME).and_then(|file| {
        file.write_at(&content, 0)?;
        Ok(file)
    });
    match made {
        Ok(file) => {
            sync_whole(&*file, HASTY_NAME)?;
            Ok(Spare { name: HASTY_NAME.to_owned(), file, bytes: content.len() as u64 })
        }
        Err(source) => {
            remove(disk, HASTY_NAME);
            Err(JournalError::io("create", HASTY_NAME, source))
        }
    }
}

/// A sync that finds no room is a failed sync: what it covered is not to be believed.
fn sync_whole(file: &dyn DiskFile, name: &str) -> Result<(), JournalError> {
    file.sync().map_err(|source| failed("sync", name, source))
}

/// Gives a dressed file its name and makes that durable.
fn install(
    disk: &dyn Disk,
    spare: Spare,
    header: &SegmentHeader,
    options: &Options,
) -> Result<Active, JournalError> {
    let name = segment_name(header.first);
    disk.rename(&spare.name, &name).map_err(|e| failed("rename", &spare.name, e))?;
    disk.sync_dir().map_err(|e| failed("sync the folder of", &name, e))?;
    Ok(Active {
        name,
        seed: header.seed(),
        offset: SEGMENT_HEADER_BYTES as u64,
        file: spare.file,
        capacity: if options.preallocate { spare.bytes } else { options.segment_bytes },
    })
}

/// An error after which the journal must not go on, even if the disk is merely full.
fn failed(action: &'static str, file: &str, source: io::Error) -> JournalError {
    JournalError::Io { action, file: file.to_owned(), source: source.into() }
}
