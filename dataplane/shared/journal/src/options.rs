//! What can be chosen when a journal is opened, with the reasons for the defaults.

/// The largest body of one record: 1 GiB. Lengths are 32 bits in the file, and a record must fit
/// in memory several times over while it is written and replayed.
pub const RECORD_BYTES_MAX: usize = 1 << 30;

/// How a journal is to behave. The format of the files does not depend on any of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Written into every file; opening a folder of another shard is refused.
    pub shard: u32,
    /// Size of a prepared segment file. A group larger than that gets a larger file.
    pub segment_bytes: u64,
    /// Bytes that may wait or be in flight before `append` answers `QueueFull`. A single record
    /// larger than this is taken when nothing else waits.
    pub queue_bytes_max: usize,
    /// Write segments full of zeros ahead of time, so that a durable write changes no metadata.
    /// Without it files grow as they are written: no work ahead, several times slower syncs.
    pub preallocate: bool,
    /// Whole snapshots to keep, at least 1. The journal keeps the tail of the oldest of them, so
    /// with 2 a damaged newest snapshot costs no data, for twice the space.
    pub snapshots_kept: usize,
    /// Run the committer and the preparer as threads. Without them the owner calls
    /// `Journal::step`: how simulations run a journal on one thread.
    pub threaded: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shard: 0,
            segment_bytes: 64 << 20,
            queue_bytes_max: 32 << 20,
            preallocate: true,
            snapshots_kept: 1,
            threaded: true,
        }
    }
}
