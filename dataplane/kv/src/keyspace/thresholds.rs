//! Sizes at which small encodings give way to large ones, by Redis' configuration names.

use super::hasher::KeyHasher;

/// Thresholds that may change while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// `hash-max-listpack-entries` (alias `hash-max-ziplist-entries`).
    pub hash_max_listpack_entries: usize,
    /// `hash-max-listpack-value` in bytes (alias `hash-max-ziplist-value`).
    pub hash_max_listpack_value: usize,
    /// `set-max-intset-entries`.
    pub set_max_intset_entries: usize,
    /// `list-max-listpack-size` (alias `list-max-ziplist-size`): elements per node, or -1 to -5 for
    /// 4 to 64 KiB.
    pub list_max_listpack_size: i32,
    /// `proto-max-bulk-len` in bytes: the longest string APPEND and SETRANGE may make.
    pub proto_max_bulk_len: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            hash_max_listpack_entries: 128,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            list_max_listpack_size: -2,
            proto_max_bulk_len: 512 * 1024 * 1024,
        }
    }
}

/// What building a collection takes: thresholds and the hasher of its members.
#[derive(Debug, Clone, Copy)]
pub struct Building {
    /// Where encodings change.
    pub thresholds: Thresholds,
    /// Hasher of fields and members.
    pub hasher: KeyHasher,
}
