//! Who owns a shard, and what became of a group whose answer was lost: all by its one row.

use orrery_pg::{Param, durable};
use orrery_store::{Epoch, StoreError};

use crate::failure::{Failure, Link, missing, value};
use crate::stores::Shard;

const REGISTER: &str = "INSERT INTO orrery_store.shards (name, tenant, shard, epoch, owner)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name, tenant, shard) DO NOTHING";
/// The same epoch may open again, as who opens says when: the one before is out all the same.
const TAKE_OVER: &str = concat!(
    "UPDATE orrery_store.shards SET epoch = $4, owner = $5
    WHERE name = $1 AND tenant = $2 AND shard = $3 AND epoch <= $4",
    durable!("$6"),
    " RETURNING id"
);
const HELD: &str = "SELECT epoch FROM orrery_store.shards
    WHERE name = $1 AND tenant = $2 AND shard = $3";

/// Writes the row as it is: a commit, so that all that was committed before it is as durable, on
/// standbys as well.
const SETTLE: &str = concat!(
    "UPDATE orrery_store.shards SET epoch = epoch WHERE id = $1 AND epoch = $2 AND owner = $3",
    durable!("$4"),
    " RETURNING version"
);
const LOOK: &str = "SELECT epoch, owner, version FROM orrery_store.shards WHERE id = $1";

/// Takes the shard for an owner; gives its number in the tables.
pub(crate) async fn take_over(
    link: &mut Link,
    shard: &Shard,
    epoch: i64,
    owner: i64,
) -> Result<i64, Failure> {
    let Shard { name, tenant, number, needs_replication } = shard;
    link.execute(REGISTER, &[name, tenant, number, &epoch, &owner]).await?;
    let params: [Param<'_>; 6] = [name, tenant, number, &epoch, &owner, needs_replication];
    if let Some(row) = link.row(TAKE_OVER, &params).await? {
        return value(&row, 0);
    }
    let row = link.row(HELD, &[name, tenant, number]).await?.ok_or_else(missing)?;
    let held: i64 = value(&row, 0)?;
    if held > epoch {
        let (held, asked) = (Epoch(held as u64), Epoch(epoch as u64));
        return Err(StoreError::Fenced { held, asked }.into());
    }
    Err(Failure::undurable())
}

/// An owner of a shard, in the types of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) id: i64,
    pub(crate) epoch: i64,
    /// Different for each opening.
    pub(crate) owner: i64,
    pub(crate) needs_replication: bool,
}

impl Holder {
    /// The version on disk, durable wherever it has to be.
    pub(crate) async fn settle(&self, link: &mut Link) -> Result<u64, Failure> {
        let Self { id, epoch, owner, needs_replication } = self;
        match link.row(SETTLE, &[id, epoch, owner, needs_replication]).await? {
            Some(row) => Ok(value::<i64>(&row, 0)? as u64),
            None => Err(self.refusal(link).await?),
        }
    }

    /// The version now; `Fenced` when somebody else owns the shard.
    pub(crate) async fn look(&self, link: &mut Link) -> Result<u64, Failure> {
        let row = link.row(LOOK, &[&self.id]).await?.ok_or_else(missing)?;
        let (epoch, owner): (i64, i64) = (value(&row, 0)?, value(&row, 1)?);
        if (epoch, owner) != (self.epoch, self.owner) {
            let (held, asked) = (Epoch(epoch as u64), Epoch(self.epoch as u64));
            return Err(StoreError::Fenced { held, asked }.into());
        }
        Ok(value::<i64>(&row, 2)? as u64)
    }

    /// Why a statement of the owner changed nothing.
    pub(crate) async fn refusal(&self, link: &mut Link) -> Result<Failure, Failure> {
        Ok(match self.look(link).await {
            Ok(_) => Failure::undurable(),
            Err(failure) => failure,
        })
    }
}
