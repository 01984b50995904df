//! Removing what has expired. Whoever owns a shard calls this from time to time, a piece at a time.
//!
//! It must not remove a row that was written again meanwhile: the commit looks again, by the clock of
//! the committer.

use bytes::Bytes;

use crate::{Commit, Store, StoreError, Write};

/// How far a sweep came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Expired rows that it found and removed, unless they were written again meanwhile.
    pub found: usize,
    /// Where to go on; `None`: it came to the end, and the next one begins anew.
    pub next: Option<Bytes>,
}

/// Looks at up to `rows_max` rows from a key on (empty: the first), and removes those that have expired
/// in one commit, which is waited for. No commit is made where there are none. Watches see the
/// removals, and so do `Check::Key` and `Check::Range`: they are writes.
pub fn sweep(store: &dyn Store, from: &[u8], rows_max: usize) -> Result<Swept, StoreError> {
    let expired = store.snapshot()?.expired(from, rows_max)?;
    let found = expired.keys.len();
    if found > 0 {
        let writes = expired.keys.into_iter().map(Write::DeleteExpired).collect();
        store.commit(Commit { writes, ..Commit::default() }).wait()?;
    }
    Ok(Swept { found, next: expired.next })
}
