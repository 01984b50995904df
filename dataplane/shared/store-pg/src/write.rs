//! A group of commits as one statement: all of it, by the owner, behind this version, or nothing.

use orrery_pg::{Param, durable};
use orrery_store::engine::{Batch, Row};

use crate::failure::{Failure, Link};
use crate::owner::Holder;

/// Every part hangs on the row of the shard, which is locked and checked in its newest version. A
/// statement that arrives late finds another owner or version there. A receipt may be noted again in
/// the group that forgot it.
const WRITE: &str = concat!(
    "WITH held AS (
        UPDATE orrery_store.shards SET version = $5
        WHERE id = $1 AND epoch = $2 AND owner = $3 AND version = $4",
    durable!("$12"),
    " RETURNING id
    ), put AS (
        INSERT INTO orrery_store.rows (shard, k, v, until_us)
        SELECT held.id, new.k, new.v, new.until_us
        FROM held, unnest($6::bytea[], $7::bytea[], $8::bigint[]) AS new (k, v, until_us)
        ON CONFLICT (shard, k) DO UPDATE SET v = excluded.v, until_us = excluded.until_us
    ), removed AS (
        DELETE FROM orrery_store.rows r USING held, unnest($9::bytea[]) AS old (k)
        WHERE r.shard = held.id AND r.k = old.k
    ), noted AS (
        INSERT INTO orrery_store.receipts (shard, key, version)
        SELECT held.id, new.key, new.version
        FROM held, unnest($10::bytea[], $11::bigint[]) AS new (key, version)
        WHERE new.version IS NOT NULL
        ON CONFLICT (shard, key) DO UPDATE SET version = excluded.version
    ), forgotten AS (
        DELETE FROM orrery_store.receipts r
        USING held, unnest($10::bytea[], $11::bigint[]) AS old (key, version)
        WHERE r.shard = held.id AND r.key = old.key AND old.version IS NULL
    )
    SELECT id FROM held"
);

/// Bytes of keys and values.
pub(crate) fn bytes_of(batch: &Batch) -> usize {
    let value = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.value.len());
    batch.rows.iter().map(|(key, row)| key.len() + value(row)).sum()
}

/// Writes a batch behind the version `before`. `false`: nothing was written by this.
pub(crate) async fn write(
    link: &mut Link,
    holder: &Holder,
    before: u64,
    batch: &Batch,
) -> Result<bool, Failure> {
    let (mut keys, mut values, mut untils, mut removed) = (vec![], vec![], vec![], vec![]);
    for (key, row) in &batch.rows {
        match row {
            Some(row) => {
                keys.push(&key[..]);
                values.push(&row.value[..]);
                untils.push(row.until_us);
            }
            None => removed.push(&key[..]),
        }
    }
    let (receipts, versions): (Vec<&[u8]>, Vec<Option<i64>>) = batch
        .receipts
        .iter()
        .map(|(key, version)| (&key[..], version.map(|version| version as i64)))
        .unzip();
    let Holder { id, epoch, owner, needs_replication } = holder;
    let (before, version) = (before as i64, batch.version as i64);
    let params: [Param<'_>; 12] = [
        id,
        epoch,
        owner,
        &before,
        &version,
        &keys,
        &values,
        &untils,
        &removed,
        &receipts,
        &versions,
        needs_replication,
    ];
    Ok(link.row(WRITE, &params).await?.is_some())
}
