//! What can be chosen when a store is opened, with the reasons for the defaults.

/// Bounds of a store. What is on disk does not depend on them; two engines that are to agree must
/// have the same.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest key. The engine takes 65,535 bytes; keys are kept in memory for conflicts.
    pub key_bytes_max: usize,
    /// Longest value.
    pub value_bytes_max: usize,
    /// Keys and values of one commit together, conditions included.
    pub commit_bytes_max: usize,
    /// Checks and writes of one commit together.
    pub commit_items_max: usize,
    /// Rows that one `DeleteRange` may find.
    pub delete_range_rows_max: usize,
    /// Commits that may wait before `Throttled`.
    pub queue_commits_max: usize,
    /// Bytes that may wait before `Throttled`. A larger commit is taken when nothing else waits.
    pub queue_bytes_max: usize,
    /// Changes remembered to find conflicts: about 100 bytes each, besides the key. Commits whose
    /// `read_version` is older than these answer `Conflict`.
    pub window_changes_max: usize,
    /// Bytes of the keys remembered to find conflicts.
    pub window_bytes_max: usize,
    /// Idempotency keys remembered, in memory and on disk; the oldest are forgotten first.
    pub receipts_max: usize,
    /// Memory for the last commits, for those who watch; who falls behind is `Lagged`.
    pub feed_bytes_max: usize,
    /// Memory for blocks read from disk.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key_bytes_max: 8 << 10,
            value_bytes_max: 8 << 20,
            commit_bytes_max: 16 << 20,
            commit_items_max: 65_536,
            delete_range_rows_max: 65_536,
            queue_commits_max: 16_384,
            queue_bytes_max: 32 << 20,
            window_changes_max: 262_144,
            window_bytes_max: 32 << 20,
            receipts_max: 65_536,
            feed_bytes_max: 16 << 20,
            cache_bytes: 32 << 20,
        }
    }
}
