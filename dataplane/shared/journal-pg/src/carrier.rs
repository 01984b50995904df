//! The carrier: what each call of the trait does, in terms of statements.

use std::fmt;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use orrery_journal::carrier::{Carried, Saved};
use orrery_journal::{Carrier, CarrierError, Epoch, Group, Owner, Position};
use orrery_kit::secrets::Secret;
use orrery_pg::{Target, durable};

use crate::failure::{Failure, Link, Pool, value};
use crate::{Address, CALL, groups, schema, snapshots};

/// Longest name of a journal, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// What a carrier is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: Address,
    /// `None`: the server lets the user in without one.
    pub password: Option<Secret>,
    /// Which journal of the database: `namespace/name/shard` of what it belongs to.
    pub journal: String,
    /// The shard that its records are of.
    pub shard: u32,
    /// Whether the server must have synchronous standbys (`synchronous_standby_names`).
    pub needs_replication: bool,
}

/// Why a carrier cannot be opened. Never says anything of secrets.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Server(#[from] orrery_pg::OpenError),
    #[error("the name of a journal has 1 to 512 bytes and no control characters")]
    Name,
}

/// The journal of one shard in PostgreSQL.
pub struct PgCarrier {
    pool: Arc<Pool>,
    journal: Journal,
    confirmed: Confirmed,
}

/// Which journal it is, and what is asked of the server that carries it.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) name: String,
    pub(crate) shard: u32,
    pub(crate) needs_replication: bool,
}

impl Journal {
    fn checked(name: String, shard: u32, needs_replication: bool) -> Result<Self, OpenError> {
        let is_odd = name.is_empty() || name.len() > NAME_BYTES_MAX;
        if is_odd || name.chars().any(char::is_control) {
            return Err(OpenError::Name);
        }
        Ok(Self { name, shard, needs_replication })
    }
}

/// An owner in the types of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) epoch: i64,
    /// The bits of the token.
    pub(crate) token: i64,
}

impl Holder {
    fn of(owner: Owner) -> Result<Self, CarrierError> {
        let epoch = signed(owner.epoch.0)?;
        if epoch == 0 {
            return Err(CarrierError::Invalid("an owner has an epoch above 0".to_owned()));
        }
        Ok(Self { epoch, token: owner.token as i64 })
    }
}

/// A position or epoch in the type of the database.
pub(crate) fn signed(number: u64) -> Result<i64, CarrierError> {
    i64::try_from(number)
        .map_err(|_| CarrierError::Invalid(format!("{number} is more than a database can hold")))
}

impl fmt::Debug for PgCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PgCarrier").field(&self.name()).finish()
    }
}

impl PgCarrier {
    /// Checks what it is given. Connects at the first call.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { address, password, journal, shard, needs_replication } = options;
        let target = Target::new(address, password)?;
        let journal = Journal::checked(journal, shard, needs_replication)?;
        Ok(Self { pool: Arc::new(Pool::new(target)), journal, confirmed: Confirmed::default() })
    }

    /// Another journal of the same database, by the same connections: an object with many shards needs
    /// no more of them than it has calls under way.
    pub fn beside(&self, journal: String, shard: u32) -> Result<Self, OpenError> {
        let journal = Journal::checked(journal, shard, self.journal.needs_replication)?;
        Ok(Self { pool: Arc::clone(&self.pool), journal, confirmed: Confirmed::default() })
    }
}

impl Carrier for PgCarrier {
    fn name(&self) -> String {
        format!("{} {}", self.pool.target().address(), self.journal.name)
    }

    fn prepare(&self) -> Result<(), CarrierError> {
        let Journal { name, shard, needs_replication } = &self.journal;
        self.pool
            .run(CALL, async |link| schema::prepare(link, name, *shard, *needs_replication).await)
    }

    fn take_over(&self, owner: Owner) -> Result<Carried, CarrierError> {
        let holder = Holder::of(owner)?;
        let Journal { name, needs_replication, .. } = &self.journal;
        let found = self.pool.run(CALL, async |link| {
            let (Holder { epoch, token }, demand) = (holder, needs_replication);
            let taken = link.execute(TAKE_OVER, &[name, &epoch, &token, demand]).await?;
            let found = look(link, &self.journal).await?;
            // What is seen now was committed before the row was locked or by this owner itself, so
            // it is as durable as the change of owner that was just acknowledged.
            match taken {
                1 => Ok(found),
                _ if found.carried.epoch < owner.epoch => Err(Failure::undurable()),
                _ => Err(refusal(&found, holder)),
            }
        })?;
        self.confirmed.note(&found.carried);
        Ok(found.carried)
    }

    fn look(&self) -> Result<Carried, CarrierError> {
        self.pool.run(CALL, async |link| {
            let found = look(link, &self.journal).await?;
            if found.is_replicated && !self.confirmed.has(&found.carried) {
                barrier(link).await?;
                self.confirmed.note(&found.carried);
            }
            Ok(found.carried)
        })
    }

    fn append(&self, owner: Owner, group: &Group) -> Result<(), CarrierError> {
        let holder = Holder::of(owner)?;
        groups::append(&self.pool, &self.journal, holder, group)?;
        self.confirmed.raise(group.last());
        Ok(())
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Group>, CarrierError> {
        groups::read(&self.pool, &self.journal, &self.confirmed, after, bytes_max)
    }

    fn save(&self, owner: Owner, saved: Saved, content: &mut dyn Read) -> Result<(), CarrierError> {
        snapshots::save(&self.pool, &self.journal, Holder::of(owner)?, saved, content)
    }

    fn load(&self, at: Position) -> Result<Box<dyn Read + Send>, CarrierError> {
        let content = snapshots::load(&self.pool, &self.journal, at)?;
        Ok(Box::new(content))
    }

    fn trim(&self, owner: Owner, upto: Position) -> Result<(), CarrierError> {
        groups::trim(&self.pool, &self.journal, Holder::of(owner)?, upto)
    }
}

const TAKE_OVER: &str = concat!(
    "UPDATE orrery.journals SET epoch = $2, token = $3
    WHERE name = $1 AND (epoch < $2 OR (epoch = $2 AND token = $3))",
    durable!("$4")
);

/// One snapshot of the database; a row that is not committed is not in it.
const LOOK: &str = "
    SELECT j.id, j.shard, j.epoch, j.token, j.trimmed, g.last, g.epoch, s.at, s.epoch, s.bytes,
        current_setting('synchronous_standby_names') <> ''
    FROM orrery.journals j
    LEFT JOIN LATERAL (
        SELECT last, epoch FROM orrery.groups WHERE journal = j.id ORDER BY first DESC LIMIT 1
    ) g ON true
    LEFT JOIN LATERAL (
        SELECT at, epoch, bytes FROM orrery.snapshots WHERE journal = j.id AND state = 1
        ORDER BY at DESC LIMIT 1
    ) s ON true
    WHERE j.name = $1";

/// A commit without content. All that was committed before it is in the log before it, so when it is
/// acknowledged by the synchronous standbys, so is that.
const BARRIER: &str = "SELECT pg_logical_emit_message(true, 'orrery', '')";

/// What there is, and who owns it.
pub(crate) struct Found {
    pub(crate) id: i64,
    pub(crate) carried: Carried,
    token: i64,
    /// There are synchronous standbys: what is visible may not have reached them.
    pub(crate) is_replicated: bool,
}

pub(crate) async fn look(link: &mut Link, journal: &Journal) -> Result<Found, Failure> {
    let Some(row) = link.row(LOOK, &[&journal.name]).await? else {
        return Err(unprepared(journal));
    };
    let number = |index| value::<i64>(&row, index).map(|number| number as u64);
    let optional = |index| value::<Option<i64>>(&row, index).map(|found| found.map(|n| n as u64));
    if number(1)? != u64::from(journal.shard) {
        let reason = format!("the journal {:?} is that of another shard", journal.name);
        return Err(CarrierError::Unusable { reason }.into());
    }
    let trimmed = number(4)?;
    let snapshot = match (optional(7)?, optional(8)?, optional(9)?) {
        (Some(at), Some(epoch), Some(bytes)) => {
            Some(Saved { at: Position(at), epoch: Epoch(epoch), bytes })
        }
        _ => None,
    };
    let last = optional(5)?.unwrap_or(0);
    // The newest group is never trimmed, and a snapshot is never ahead of it.
    let known = trimmed.max(snapshot.map_or(0, |saved| saved.at.0));
    if last < known {
        let reason = "records up to a snapshot or a trimmed position are missing".to_owned();
        return Err(CarrierError::Corrupt { position: Position(last + 1), reason }.into());
    }
    let carried = Carried {
        epoch: Epoch(number(2)?),
        last: Position(last),
        last_epoch: Epoch(optional(6)?.unwrap_or(0)),
        oldest: Position(trimmed + 1),
        snapshot,
    };
    let (id, token, is_replicated) = (value(&row, 0)?, value(&row, 3)?, value(&row, 10)?);
    Ok(Found { id, carried, token, is_replicated })
}

pub(crate) fn unprepared(journal: &Journal) -> Failure {
    let reason = format!("there is no journal {:?}: it was not prepared, or is lost", journal.name);
    CarrierError::Unusable { reason }.into()
}

/// Why a statement of an owner changed nothing.
pub(crate) fn refusal(found: &Found, holder: Holder) -> Failure {
    let held = found.carried.epoch;
    if (held.0 as i64, found.token) != (holder.epoch, holder.token) {
        return CarrierError::Fenced { held }.into();
    }
    Failure::undurable()
}

/// Waits until all that is visible is durable on the synchronous standbys.
pub(crate) async fn barrier(link: &mut Link) -> Result<(), Failure> {
    link.row(BARRIER, &[]).await.map(drop)
}

/// What is known to be durable wherever it has to be, so that looking costs nothing while nothing
/// changes.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    last: AtomicU64,
    looked: Mutex<Option<Carried>>,
}

impl Confirmed {
    pub(crate) fn raise(&self, last: Position) {
        self.last.fetch_max(last.0, Ordering::AcqRel);
    }

    pub(crate) fn has_record(&self, last: Position) -> bool {
        self.last.load(Ordering::Acquire) >= last.0
    }

    fn note(&self, carried: &Carried) {
        self.raise(carried.last);
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(*carried);
    }

    fn has(&self, carried: &Carried) -> bool {
        let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.is_some_and(|looked| {
            (looked.epoch, looked.snapshot) == (carried.epoch, carried.snapshot)
                && self.has_record(carried.last)
        })
    }
}
