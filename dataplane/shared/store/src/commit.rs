//! What a caller hands over, and the limits it is held to before anything waits for it.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::error::within;
use crate::{Options, StoreError, Version};

/// Bytes of the version behind the prefix of a [`Write::PutVersioned`].
pub(crate) const VERSION_BYTES: usize = 8;

/// Chosen by the caller, different for every intent.
pub type IdempotencyKey = [u8; 16];

/// Conditions and writes that take effect together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The version of the snapshot that the decision rests on. Needed by `Check::Key` and
    /// `Check::Range` only.
    pub read_version: Version,
    /// All must hold at the place of this commit in the order.
    pub checks: Vec<Check>,
    /// Applied one after the other: a later one sees the earlier.
    pub writes: Vec<Write>,
    /// A commit with a key that is remembered is not carried out again: it answers the version it
    /// got before, whatever it contains.
    pub idempotency: Option<IdempotencyKey>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// No commit after `read_version` wrote this key. Expiry is no write.
    Key(Bytes),
    /// No commit after `read_version` wrote a key in `[from, to)`; an empty `to` is the end.
    Range(Bytes, Bytes),
    /// The key has no value now.
    Absent(Bytes),
    /// The key has this value now.
    Equals(Bytes, Bytes),
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a value that does not expire.
    Put(Bytes, Bytes),
    /// Sets a value that is hidden from this time on, in microseconds since the Unix epoch.
    PutUntil(Bytes, Bytes, i64),
    /// Removes a value, if there is one.
    Delete(Bytes),
    /// Removes a value that has expired; leaves one that has not. See [`crate::sweep`].
    DeleteExpired(Bytes),
    /// Removes all values with keys in `[from, to)`; an empty `to` is the end.
    DeleteRange(Bytes, Bytes),
    /// Adds to an `i64` (big-endian, absent is 0). Keeps its expiry. Overflow is `Invalid`.
    Add(Bytes, i64),
    /// Raises a `u64` (big-endian, absent is 0) to at least this. Keeps its expiry.
    Max(Bytes, u64),
    /// Puts a value under the prefix followed by the version of the commit (eight bytes,
    /// big-endian): outboxes in the order of commits. Once per prefix and commit.
    PutVersioned {
        /// What stands before the version.
        prefix: Bytes,
        /// The value.
        value: Bytes,
    },
}

impl Commit {
    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let checks = self.checks.iter().map(|check| match check {
            Check::Key(key) | Check::Absent(key) => key.len(),
            Check::Range(a, b) | Check::Equals(a, b) => a.len() + b.len(),
        });
        let writes = self.writes.iter().map(|write| match write {
            Write::Delete(key) | Write::DeleteExpired(key) => key.len(),
            Write::Put(a, b) | Write::PutUntil(a, b, _) | Write::DeleteRange(a, b) => {
                a.len() + b.len()
            }
            Write::Add(key, _) | Write::Max(key, _) => key.len() + VERSION_BYTES,
            Write::PutVersioned { prefix, value } => prefix.len() + VERSION_BYTES + value.len(),
        });
        checks.chain(writes).sum()
    }

    /// Refuses what exceeds a limit or can never be carried out.
    pub(crate) fn validate(&self, options: &Options) -> Result<(), StoreError> {
        let items = self.checks.len() + self.writes.len();
        within("items of a commit", items, options.commit_items_max)?;
        within("bytes of a commit", self.bytes(), options.commit_bytes_max)?;
        for check in &self.checks {
            match check {
                Check::Key(key) | Check::Absent(key) => valid_key(key, 0, options)?,
                Check::Range(from, to) => valid_range(from, to, options)?,
                Check::Equals(key, value) => {
                    valid_key(key, 0, options)?;
                    valid_value(value, options)?;
                }
            }
        }
        let mut versioned = BTreeSet::new();
        for write in &self.writes {
            match write {
                Write::Put(key, value) | Write::PutUntil(key, value, _) => {
                    valid_key(key, 0, options)?;
                    valid_value(value, options)?;
                }
                Write::Delete(key)
                | Write::DeleteExpired(key)
                | Write::Add(key, _)
                | Write::Max(key, _) => {
                    valid_key(key, 0, options)?;
                }
                Write::DeleteRange(from, to) => valid_range(from, to, options)?,
                Write::PutVersioned { prefix, value } => {
                    valid_key(prefix, VERSION_BYTES, options)?;
                    valid_value(value, options)?;
                    if !versioned.insert(prefix) {
                        let reason = "two versioned values have the same prefix";
                        return Err(StoreError::invalid(reason));
                    }
                }
            }
        }
        Ok(())
    }
}

fn valid_key(key: &Bytes, suffix: usize, options: &Options) -> Result<(), StoreError> {
    if key.is_empty() && suffix == 0 {
        return Err(StoreError::invalid("a key is empty"));
    }
    within("bytes of a key", key.len() + suffix, options.key_bytes_max)
}

fn valid_range(from: &Bytes, to: &Bytes, options: &Options) -> Result<(), StoreError> {
    if !to.is_empty() && from > to {
        return Err(StoreError::invalid("a range ends before it begins"));
    }
    within("bytes of a key", from.len().max(to.len()), options.key_bytes_max)
}

fn valid_value(value: &Bytes, options: &Options) -> Result<(), StoreError> {
    within("bytes of a value", value.len(), options.value_bytes_max)
}
