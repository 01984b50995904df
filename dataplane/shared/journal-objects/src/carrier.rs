//! The carrier itself: two lanes, what is remembered, and who may do what at the same time.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orrery_blob::{Access, Address, Store};
use orrery_journal::Position;
use orrery_journal::carrier::{Carried, Carrier, CarrierError, Group, Owner, Saved};

use crate::error;
use crate::known::Known;
use crate::lane::{Counters, Lane, Requests};
use crate::load::Content;
use crate::log::Log;
use crate::writer::Writer;
use crate::{probe, save, trim};

/// Longest time of a request that moves nothing big, repetitions included, unless
/// [`ObjectCarrier::in_store`] says otherwise.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Carries the journal of one shard in an object store or a folder.
///
/// Everything is below one address, which nothing else may use; no rule of the store may remove
/// anything there. Calls block the calling thread, which may belong to an asynchronous runtime.
pub struct ObjectCarrier {
    inner: Arc<Inner>,
    writer: Mutex<Writer>,
    /// One snapshot at a time.
    saving: Mutex<()>,
    /// One trim at a time, also while a snapshot is put.
    trimming: Mutex<()>,
}

/// What readers of snapshots share with the carrier.
#[derive(Debug)]
pub(crate) struct Inner {
    shard: u32,
    /// For appends and take-overs only.
    write: Lane,
    /// For everything else.
    read: Lane,
    known: Known,
    counters: Arc<Counters>,
}

impl fmt::Debug for ObjectCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCarrier").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Inner {
    fn writer(&self) -> Log<'_> {
        Log { lane: &self.write, known: &self.known, shard: self.shard }
    }

    pub(crate) fn reader(&self) -> Log<'_> {
        Log { lane: &self.read, known: &self.known, shard: self.shard }
    }
}

impl ObjectCarrier {
    /// The journal of `shard` at an address, of which a folder is made if its parents can be. Nothing
    /// is asked of a bucket yet.
    ///
    /// # Errors
    /// `Unusable` if the address or the Secret of `access` cannot be used, `Unavailable` if there is
    /// no such folder or no thread can be started.
    pub fn open(shard: u32, address: &Address, access: &Access) -> Result<Self, CarrierError> {
        // A client of its own for each lane.
        let open = || Store::create(address, access).map_err(|error| error::of(&error));
        Self::over(shard, [open()?, open()?], REQUEST_LIMIT)
    }

    /// The journal of `shard` in a store that is open already, with another limit than
    /// [`REQUEST_LIMIT`]: for tests. Both lanes use its client.
    ///
    /// # Errors
    /// `Unavailable` if no thread can be started.
    pub fn in_store(shard: u32, store: &Store, limit: Duration) -> Result<Self, CarrierError> {
        Self::over(shard, [store.clone(), store.clone()], limit)
    }

    fn over(shard: u32, stores: [Store; 2], limit: Duration) -> Result<Self, CarrierError> {
        let counters = Arc::<Counters>::default();
        let lane = |store| Lane::new(store, Arc::clone(&counters), limit);
        let [write, read] = stores;
        let (write, read) = (lane(write)?, lane(read)?);
        let known = Known::default();
        let inner = Arc::new(Inner { shard, write, read, known, counters });
        let (saving, trimming) = (Mutex::default(), Mutex::default());
        Ok(Self { inner, writer: Mutex::default(), saving, trimming })
    }

    /// Requests so far, of all calls together.
    pub fn requests(&self) -> Requests {
        self.inner.counters.read()
    }
}

/// What a panic interrupted is sound: a writer has lost its session, and begins another one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Carrier for ObjectCarrier {
    fn name(&self) -> String {
        self.inner.read.address().to_owned()
    }

    fn prepare(&self) -> Result<(), CarrierError> {
        probe::probe([&self.inner.write, &self.inner.read])?;
        // Of another shard, or damaged: better said now.
        self.inner.reader().chain().last().map(|_| ())
    }

    fn take_over(&self, owner: Owner) -> Result<Carried, CarrierError> {
        let view = lock(&self.writer).take_over(&self.inner.writer(), owner)?;
        Ok(view.control.carried(view.last(), view.last_epoch()))
    }

    fn look(&self) -> Result<Carried, CarrierError> {
        let log = self.inner.reader();
        let is_thorough = self.inner.known.lock().is_check_due();
        let view = log.view(is_thorough)?;
        Ok(view.control.carried(view.last(), view.last_epoch()))
    }

    fn append(&self, owner: Owner, group: &Group) -> Result<(), CarrierError> {
        lock(&self.writer).append(&self.inner.writer(), owner, group)
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Group>, CarrierError> {
        self.inner.reader().read(after, bytes_max)
    }

    fn save(&self, owner: Owner, saved: Saved, content: &mut dyn Read) -> Result<(), CarrierError> {
        let _one = lock(&self.saving);
        save::save(&self.inner.reader(), owner, saved, content)
    }

    fn load(&self, at: Position) -> Result<Box<dyn Read + Send>, CarrierError> {
        Ok(Box::new(Content::open(&self.inner, at)?))
    }

    fn trim(&self, owner: Owner, upto: Position) -> Result<(), CarrierError> {
        let _one = lock(&self.trimming);
        trim::trim(&self.inner.reader(), owner, upto)
    }
}
