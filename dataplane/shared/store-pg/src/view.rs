//! What is read: by snapshots in a transaction of their own, by the committer as its next group finds
//! it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use orrery_pg::{CALL, budget};
use orrery_store::StoreError;
use orrery_store::engine::{Receipt, Row, View, Visit};

use crate::engine::Common;
use crate::failure::{Failure, Link, Session, into_error, is_good};
use crate::pages::{self, Keyed, Walk};
use crate::sessions::Sessions;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What one read is given time for: a page, and the largest value in it.
const READ_BYTES: usize = 16 << 20;

/// The rows of one version. Behind a lost connection it is gone: `Unavailable`.
pub(crate) struct PgView {
    common: Arc<Common>,
    session: Mutex<Option<Session>>,
    version: u64,
}

impl PgView {
    /// Takes a snapshot; `Fenced` when somebody else owns the shard.
    pub(crate) fn begin(common: &Arc<Common>) -> Result<Self, StoreError> {
        let kept = common.sessions.take()?;
        let (session, version) = match Self::begin_on(common, kept) {
            Ok(begun) => begun,
            Err(error) => {
                common.sessions.give_back(None);
                return Err(error);
            }
        };
        Ok(Self { common: Arc::clone(common), session: Mutex::new(Some(session)), version })
    }

    /// On a kept connection, and on a new one where that has ended.
    fn begin_on(common: &Common, kept: Option<Session>) -> Result<(Session, u64), StoreError> {
        let begin = |session: &mut Session| {
            session.run(Instant::now() + CALL, &mut async |link| {
                link.simple(BEGIN).await?;
                common.holder.look(link).await
            })
        };
        if let Some(mut session) = kept {
            match begin(&mut session) {
                Ok(version) => return Ok((session, version)),
                Err(Failure::Answer(error)) => return Err(error),
                Err(failure) => tracing::debug!(?failure, "connecting again"),
            }
        }
        let mut session = Sessions::connect(&common.target)?;
        let version = begin(&mut session).map_err(into_error)?;
        Ok((session, version))
    }

    fn read<T>(
        &self,
        mut work: impl AsyncFnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = slot.as_mut() else {
            let reason = "the snapshot was lost with its connection: take another".to_owned();
            return Err(StoreError::Unavailable { reason });
        };
        let deadline = Instant::now() + budget(READ_BYTES);
        let result = session.run(deadline, &mut work);
        if !is_good(&result) {
            *slot = None;
        }
        result.map_err(into_error)
    }
}

impl Drop for PgView {
    fn drop(&mut self) {
        let session = self.session.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        self.common.sessions.give_back(session);
    }
}

impl View for PgView {
    fn version(&self) -> u64 {
        self.version
    }

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(self.get_all(&[key])?.into_iter().next().flatten())
    }

    fn get_all(&self, keys: &[&[u8]]) -> Result<Vec<Option<Row>>, StoreError> {
        let id = self.common.holder.id;
        let found = self.read(async |link| pages::get(link, id, keys).await)?;
        let found: HashMap<Bytes, Row> = found.into_iter().collect();
        Ok(keys.iter().map(|key| found.get(*key).cloned()).collect())
    }

    fn receipts(&self) -> Result<Vec<Receipt>, StoreError> {
        let id = self.common.holder.id;
        self.read(async |link| pages::receipts(link, id).await)
    }

    fn walk(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::new(self.common.holder.id, from, to, reverse);
        walk_on(&mut walk, visit, |walk| self.read(async |link| walk.page(link).await))
    }
}

/// Visits page after page until there is no more, or no more is wanted.
fn walk_on(
    walk: &mut Walk,
    visit: &mut Visit<'_>,
    mut read: impl FnMut(&mut Walk) -> Result<Vec<Keyed>, StoreError>,
) -> Result<(), StoreError> {
    loop {
        let page = read(walk)?;
        if page.is_empty() {
            return Ok(());
        }
        walk.advance(&page);
        for (key, row) in page {
            if !visit(key, row) {
                return Ok(());
            }
        }
    }
}

/// What the next group finds. Nobody else writes, so it need not be of one moment.
pub(crate) struct PgBase {
    pub(crate) common: Arc<Common>,
    /// The rows of keys that were asked for beforehand.
    pub(crate) known: HashMap<Bytes, Option<Row>>,
}

impl View for PgBase {
    fn version(&self) -> u64 {
        self.common.version()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        if let Some(row) = self.known.get(key) {
            return Ok(row.clone());
        }
        let id = self.common.holder.id;
        let found = self.common.read(async |link| pages::get(link, id, &[key]).await)?;
        Ok(found.into_iter().next().map(|(_, row)| row))
    }

    fn receipts(&self) -> Result<Vec<Receipt>, StoreError> {
        let id = self.common.holder.id;
        self.common.read(async |link| pages::receipts(link, id).await)
    }

    fn walk(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::new(self.common.holder.id, from, to, reverse);
        walk_on(&mut walk, visit, |walk| self.common.read(async |link| walk.page(link).await))
    }
}
