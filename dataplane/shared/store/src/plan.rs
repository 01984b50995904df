//! What a commit comes to: its conditions checked and its writes turned into rows. Pure: it takes a
//! state and gives the change, and a commit that is refused leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::commit::VERSION_BYTES;
use crate::engine::View;
use crate::error::within;
use crate::row::{Row, bounds};
use crate::window::Window;
use crate::{Check, Commit, Options, StoreError, Write};

/// Rows by key; `None` stands for removed.
pub(crate) type Rows = BTreeMap<Bytes, Option<Row>>;

/// The state a commit meets: what is on disk, and over it what the group changed before it.
pub(crate) struct Base<'a> {
    pub(crate) view: &'a dyn View,
    pub(crate) group: &'a Rows,
    pub(crate) now_us: i64,
}

impl Base<'_> {
    fn get(&self, key: &Bytes) -> Result<Option<Row>, StoreError> {
        match self.group.get(key) {
            Some(row) => Ok(row.clone()),
            None => self.view.get(key),
        }
    }

    fn value(&self, key: &Bytes) -> Result<Option<Bytes>, StoreError> {
        let row = self.get(key)?.filter(|row| row.is_live(self.now_us));
        Ok(row.map(|row| row.value))
    }
}

/// Whether all conditions hold; `Conflict` if one does not.
pub(crate) fn check(commit: &Commit, base: &Base<'_>, window: &Window) -> Result<(), StoreError> {
    let read = commit.read_version.0;
    for check in &commit.checks {
        let holds = match check {
            Check::Key(key) => window.key_unchanged(key, read),
            Check::Range(from, to) => window.range_unchanged(from, to, read),
            Check::Absent(key) => base.value(key)?.is_none(),
            Check::Equals(key, value) => base.value(key)?.as_ref() == Some(value),
        };
        if !holds {
            return Err(StoreError::Conflict);
        }
    }
    Ok(())
}

/// The rows that the writes come to, when the commit gets this version.
pub(crate) fn write(
    writes: &[Write],
    version: u64,
    base: &Base<'_>,
    options: &Options,
) -> Result<Rows, StoreError> {
    let mut change = Rows::new();
    for write in writes {
        match write {
            Write::Put(key, value) => {
                let row = Row { value: value.clone(), until_us: None };
                change.insert(key.clone(), Some(row));
            }
            Write::PutUntil(key, value, until_us) => {
                let row = Row { value: value.clone(), until_us: Some(*until_us) };
                change.insert(key.clone(), Some(row));
            }
            Write::Delete(key) => {
                change.insert(key.clone(), None);
            }
            Write::DeleteExpired(key) => {
                let row = latest(key, &change, base)?;
                if row.is_some_and(|row| !row.is_live(base.now_us)) {
                    change.insert(key.clone(), None);
                }
            }
            Write::DeleteRange(from, to) => {
                for key in keys_within(from, to, &change, base, options.delete_range_rows_max)? {
                    change.insert(key, None);
                }
            }
            Write::Add(key, delta) => {
                let row = update(key, &change, base, |old| {
                    let sum = i64::from_be_bytes(old).checked_add(*delta);
                    sum.map(i64::to_be_bytes)
                })?;
                change.insert(key.clone(), Some(row));
            }
            Write::Max(key, at_least) => {
                let row = update(key, &change, base, |old| {
                    Some(u64::from_be_bytes(old).max(*at_least).to_be_bytes())
                })?;
                change.insert(key.clone(), Some(row));
            }
            Write::PutVersioned { prefix, value } => {
                let mut key = BytesMut::with_capacity(prefix.len() + VERSION_BYTES);
                key.put_slice(prefix);
                key.put_u64(version);
                let row = Row { value: value.clone(), until_us: None };
                change.insert(key.freeze(), Some(row));
            }
        }
    }
    Ok(change)
}

/// The row of a key as the writes of the commit before this one left it.
fn latest(key: &Bytes, change: &Rows, base: &Base<'_>) -> Result<Option<Row>, StoreError> {
    match change.get(key) {
        Some(row) => Ok(row.clone()),
        None => base.get(key),
    }
}

/// The row of a number after `change_to`; of zeros if there is none.
fn update(
    key: &Bytes,
    change: &Rows,
    base: &Base<'_>,
    change_to: impl FnOnce([u8; 8]) -> Option<[u8; 8]>,
) -> Result<Row, StoreError> {
    let row = latest(key, change, base)?;
    let (old, until_us) = match row.filter(|row| row.is_live(base.now_us)) {
        None => ([0; 8], None),
        Some(row) => {
            let old = row.value[..].try_into();
            (old.map_err(|_| StoreError::invalid("a number is not 8 bytes"))?, row.until_us)
        }
    };
    let Some(new) = change_to(old) else {
        return Err(StoreError::invalid("a number overflows"));
    };
    Ok(Row { value: Bytes::copy_from_slice(&new), until_us })
}

/// The keys with a row in `[from, to)`, expired ones included, at most `rows_max`.
fn keys_within(
    from: &Bytes,
    to: &Bytes,
    change: &Rows,
    base: &Base<'_>,
    rows_max: usize,
) -> Result<BTreeSet<Bytes>, StoreError> {
    let mut keys = BTreeSet::new();
    let Some(range) = bounds(from, to) else { return Ok(keys) };
    base.view.walk(from, to, false, &mut |key, _| {
        let is_newer = change.contains_key(&key) || base.group.contains_key(&key);
        if !is_newer {
            keys.insert(key);
        }
        keys.len() <= rows_max
    })?;
    for (key, row) in base.group.range::<[u8], _>(range) {
        if row.is_some() && !change.contains_key(key) {
            keys.insert(key.clone());
        }
    }
    for (key, row) in change.range::<[u8], _>(range) {
        if row.is_some() {
            keys.insert(key.clone());
        }
    }
    within("rows of a deleted range", keys.len().min(rows_max + 1), rows_max)?;
    Ok(keys)
}
