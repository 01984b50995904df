//! Opening shards.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use orrery_kit::secrets::Secret;
use orrery_pg::{Address, CALL, OpenError, Target};
use orrery_store::engine::{Opening, serve};
use orrery_store::{Clock, Epoch, Options, ShardId, Store, StoreError, Stores, TenantId};

use crate::engine::PgEngine;
use crate::failure::{Failure, Link, Session, into_error};
use crate::owner::{self, Holder};
use crate::schema;

/// Longest key: a page of an index holds three entries, and keys of this length still fit.
pub const KEY_BYTES_MAX: usize = 2_560;

/// Where stores are kept.
#[derive(Clone, Debug)]
pub struct Config {
    pub address: Address,
    /// `None`: the server lets the user in without one.
    pub password: Option<Secret>,
    /// Whose shards of the database: `namespace/name` of what they belong to.
    pub name: String,
    /// Whether the server must have synchronous standbys (`synchronous_standby_names`).
    pub needs_replication: bool,
}

/// A shard in the types of the database.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) name: String,
    /// The bits of the number.
    pub(crate) tenant: i64,
    pub(crate) number: i64,
    pub(crate) needs_replication: bool,
}

/// What is open in this process.
type Opened = HashMap<(TenantId, ShardId), Weak<()>>;

/// Shards in PostgreSQL. In one process a shard opens once; from another one it is taken over, by the
/// same epoch or a higher one.
pub struct PgStores {
    target: Arc<Target>,
    name: String,
    needs_replication: bool,
    options: Options,
    clock: Arc<dyn Clock>,
    opened: Mutex<Opened>,
}

impl fmt::Debug for PgStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStores")
            .field("target", &self.target)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl PgStores {
    /// Checks what it is given. Connects when the first shard is opened. Keys are held to
    /// [`KEY_BYTES_MAX`], whatever the options allow.
    pub fn new(config: Config, options: Options, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let Config { address, password, name, needs_replication } = config;
        let target = Arc::new(Target::new(address, password)?);
        let key_bytes_max = options.key_bytes_max.min(KEY_BYTES_MAX);
        let options = Options { key_bytes_max, ..options };
        Ok(Self { target, name, needs_replication, options, clock, opened: Mutex::default() })
    }

    fn take_over(&self, shard: &Shard, epoch: i64) -> Result<Taken, Failure> {
        let deadline = Instant::now() + CALL;
        let owner = rand::random();
        let mut session = Session::open(&self.target, deadline)?;
        let (holder, version) = session.run(deadline, &mut async |link: &mut Link| {
            schema::prepare(link).await?;
            let id = owner::take_over(link, shard, epoch, owner).await?;
            let needs_replication = shard.needs_replication;
            let holder = Holder { id, epoch, owner, needs_replication };
            // Read behind the change of owner: nobody else writes any more.
            Ok((holder, holder.look(link).await?))
        })?;
        Ok(Taken { session, holder, version })
    }

    fn open_or_load(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
        load: Option<&mut dyn Read>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|_, open| open.strong_count() > 0);
        if opened.contains_key(&(tenant, shard)) {
            let reason = "the shard is in use".to_owned();
            return Err(StoreError::Unavailable { reason });
        }
        let number = i64::try_from(epoch.0).map_err(|_| StoreError::Invalid {
            reason: "an epoch is more than a database can hold".to_owned(),
        })?;
        let wanted = Shard {
            name: self.name.clone(),
            tenant: tenant.0 as i64,
            number: i64::from(shard.0),
            needs_replication: self.needs_replication,
        };
        let Taken { session, holder, version } =
            self.take_over(&wanted, number).map_err(into_error)?;
        let engine = PgEngine::new(Arc::clone(&self.target), holder, session, version);
        let open = Arc::new(());
        opened.insert((tenant, shard), Arc::downgrade(&open));
        drop(opened);
        let (options, clock) = (self.options, Arc::clone(&self.clock));
        serve(engine, Opening { options, clock, held: Box::new(open), load })
    }
}

/// A shard that is ours now.
struct Taken {
    session: Session,
    holder: Holder,
    version: u64,
}

impl Stores for PgStores {
    fn open(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
    ) -> Result<Arc<dyn Store>, StoreError> {
        self.open_or_load(tenant, shard, epoch, None)
    }

    fn restore(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
        from: &mut dyn Read,
    ) -> Result<Arc<dyn Store>, StoreError> {
        self.open_or_load(tenant, shard, epoch, Some(from))
    }

    fn options(&self) -> &Options {
        &self.options
    }
}
