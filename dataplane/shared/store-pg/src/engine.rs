//! The engine: one connection that writes, and what is done when it breaks.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orrery_pg::{CALL, Target, budget};
use orrery_store::StoreError;
use orrery_store::engine::{Batch, Engine, Row, View};

use crate::failure::{Failure, Link, Session, into_error, is_good};
use crate::owner::Holder;
use crate::pages;
use crate::sessions::Sessions;
use crate::view::{PgBase, PgView};
use crate::write::{bytes_of, write};

/// How long a server that is gone is waited for, while a group is in doubt or to be read for: a
/// restart or a promotion takes seconds.
const SETTLE: Duration = Duration::from_secs(30);
/// Between two tries to reach it.
const PAUSE: Duration = Duration::from_millis(50);

/// What the engine shares with its views.
pub(crate) struct Common {
    pub(crate) target: Arc<Target>,
    pub(crate) holder: Holder,
    pub(crate) sessions: Sessions,
    /// The connection that writes.
    writer: Mutex<Option<Session>>,
    version: AtomicU64,
}

impl Common {
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn writer(&self) -> MutexGuard<'_, Option<Session>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something once on the connection that writes, which it makes if there is none.
    fn once<T>(
        &self,
        writer: &mut Option<Session>,
        deadline: Instant,
        mut work: impl AsyncFnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut session = match writer.take() {
            Some(session) => session,
            None => Session::open(&self.target, deadline)?,
        };
        let result = session.run(deadline, &mut work);
        if is_good(&result) {
            *writer = Some(session);
        }
        result
    }

    /// Reads for the next group, again and again until the server answers.
    pub(crate) fn read<T>(
        &self,
        mut work: impl AsyncFnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let patience = Instant::now() + SETTLE;
        let mut writer = self.writer();
        loop {
            match self.once(&mut writer, Instant::now() + CALL, &mut work) {
                Err(failure @ (Failure::Ended(_) | Failure::Lost(_)))
                    if Instant::now() < patience =>
                {
                    tracing::info!(?failure, "a read is tried again");
                    thread::sleep(PAUSE);
                }
                result => return result.map_err(into_error),
            }
        }
    }

    /// Writes a batch. It is in doubt from the first try that was not answered until it is settled.
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let (before, budget) = (self.version(), budget(bytes_of(batch)));
        let mut writer = self.writer();
        let tried = self.once(&mut writer, Instant::now() + budget, async |link| {
            self.try_write(link, before, batch).await
        });
        let mut doubt = match tried {
            Ok(()) => return Ok(()),
            Err(Failure::Answer(error)) => return Err(error),
            Err(failure) => failure,
        };
        let patience = Instant::now() + SETTLE + budget;
        while Instant::now() < patience {
            tracing::info!(?doubt, version = batch.version, "a group is in doubt");
            let settled = self.once(&mut writer, Instant::now() + budget, async |link| {
                self.settle(link, before, batch).await
            });
            doubt = match settled {
                Ok(()) => return Ok(()),
                // It may have been written before another took over.
                Err(failure @ Failure::Answer(_)) => {
                    let reason = into_error(failure).to_string();
                    return Err(StoreError::Unknown { reason });
                }
                Err(failure) => failure,
            };
            thread::sleep(PAUSE);
        }
        Err(StoreError::Unknown { reason: into_error(doubt).to_string() })
    }

    async fn try_write(&self, link: &mut Link, before: u64, batch: &Batch) -> Result<(), Failure> {
        if write(link, &self.holder, before, batch).await? {
            return Ok(());
        }
        // `Fenced`; or an earlier try was written after all, or the session has lost its settings,
        // which is found out on another one.
        Err(self.holder.refusal(link).await?)
    }

    /// Finds out what became of a batch, and writes it if it was not written. An earlier try that the
    /// server carries out meanwhile does no harm: both write the same behind the same version, and
    /// only one of them finds that.
    async fn settle(&self, link: &mut Link, before: u64, batch: &Batch) -> Result<(), Failure> {
        let version = self.holder.settle(link).await?;
        if version == batch.version {
            return Ok(());
        }
        if version != before {
            let reason = format!("version {version} where {before} was expected");
            return Err(StoreError::Corrupt { reason }.into());
        }
        self.try_write(link, before, batch).await
    }
}

/// The rows of one shard.
pub(crate) struct PgEngine {
    common: Arc<Common>,
}

impl fmt::Debug for PgEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgEngine").field("holder", &self.common.holder).finish_non_exhaustive()
    }
}

impl PgEngine {
    /// Of a shard that was just taken over.
    pub(crate) fn new(target: Arc<Target>, holder: Holder, session: Session, version: u64) -> Self {
        let writer = Mutex::new(Some(session));
        let (sessions, version) = (Sessions::default(), AtomicU64::new(version));
        Self { common: Arc::new(Common { target, holder, sessions, writer, version }) }
    }
}

impl Engine for PgEngine {
    fn view(&self) -> Result<Box<dyn View>, StoreError> {
        Ok(Box::new(PgView::begin(&self.common)?))
    }

    fn base(&self, keys: &mut dyn Iterator<Item = Bytes>) -> Result<Box<dyn View>, StoreError> {
        let mut known: HashMap<Bytes, Option<Row>> = keys.map(|key| (key, None)).collect();
        if !known.is_empty() {
            let id = self.common.holder.id;
            let wanted: Vec<&[u8]> = known.keys().map(|key| &key[..]).collect();
            let found = self.common.read(async |link| pages::get(link, id, &wanted).await)?;
            known.extend(found.into_iter().map(|(key, row)| (key, Some(row))));
        }
        Ok(Box::new(PgBase { common: Arc::clone(&self.common), known }))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.common.write(&batch)?;
        self.common.version.store(batch.version, Ordering::Release);
        Ok(())
    }
}
