//! The tables, and making them.
//!
//! A program that knows another version of the layout is refused, not helped: a new version comes
//! with a program that can read the old one.

use orrery_store::StoreError;

use crate::failure::{Failure, Link, missing, value};

/// The version of the layout below.
const VERSION: i32 = 1;
/// Held while the tables are made: two that do it at once get in each other's way.
const LOCK: i64 = 0x6f72_7273_746f;

/// - A row of `shards` is written by every group: who owns the shard (`epoch`, and `owner`,
///   which is another one for each opening), and the last version.
/// - `v` is stored as it is: its length is asked for without reading it.
const LAYOUT: &str = "
CREATE TABLE orrery_store.shards (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE \"C\" NOT NULL,
    tenant bigint NOT NULL,
    shard bigint NOT NULL,
    epoch bigint NOT NULL,
    owner bigint NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    UNIQUE (name, tenant, shard)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE TABLE orrery_store.rows (
    shard bigint NOT NULL,
    k bytea NOT NULL,
    v bytea NOT NULL,
    until_us bigint,
    PRIMARY KEY (shard, k)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE orrery_store.rows ALTER COLUMN v SET STORAGE EXTERNAL;
CREATE TABLE orrery_store.receipts (
    shard bigint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE orrery_store.layout (version integer NOT NULL);
INSERT INTO orrery_store.layout VALUES (1)";

const SCHEMA: &str = "CREATE SCHEMA orrery_store";
const SCHEMA_FOUND: &str =
    "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'orrery_store')";
const FOUND: &str = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n
    ON n.oid = c.relnamespace WHERE n.nspname = 'orrery_store' AND c.relname = 'layout')";
const KNOWN: &str = "SELECT max(version) FROM orrery_store.layout";
/// A table that was made unlogged is emptied by a crash of the server.
const LOGGED: &str = "SELECT count(*) FROM pg_class WHERE relpersistence = 'p' AND oid IN
    ('orrery_store.shards'::regclass, 'orrery_store.rows'::regclass,
     'orrery_store.receipts'::regclass)";
const LOCKED: &str = "SELECT pg_advisory_xact_lock($1)";

fn unusable(reason: impl Into<String>) -> Failure {
    Failure::Unusable(reason.into())
}

/// Makes the tables if they are missing, and refuses those it does not know.
pub(crate) async fn prepare(link: &mut Link) -> Result<(), Failure> {
    if !only::<bool>(link, FOUND).await? {
        lay_out(link).await?;
    }
    let version: Option<i32> = only(link, KNOWN).await?;
    if version != Some(VERSION) {
        let found = version.map_or("none".to_owned(), |version| version.to_string());
        let reason = format!("the tables are of layout {found}, this program knows {VERSION}");
        return Err(StoreError::Corrupt { reason }.into());
    }
    if only::<i64>(link, LOGGED).await? != 3 {
        return Err(unusable("a table of the schema orrery_store is UNLOGGED: set it LOGGED"));
    }
    Ok(())
}

async fn lay_out(link: &mut Link) -> Result<(), Failure> {
    link.begin().await?;
    link.row(LOCKED, &[&LOCK]).await?;
    if only::<bool>(link, FOUND).await? {
        return link.roll_back().await;
    }
    match create(link).await {
        Ok(()) => link.commit().await,
        Err(Failure::Refused { code, message }) => {
            link.roll_back().await?;
            let remedy =
                "grant CREATE on the database, or make a schema orrery_store that the user owns";
            Err(unusable(format!("{message} (SQLSTATE {}): {remedy}", code.code())))
        }
        Err(failure) => Err(failure),
    }
}

async fn create(link: &mut Link) -> Result<(), Failure> {
    if !only::<bool>(link, SCHEMA_FOUND).await? {
        link.simple(SCHEMA).await?;
    }
    link.simple(LAYOUT).await.map(drop)
}

/// The only value of the only row.
async fn only<T>(link: &mut Link, sql: &'static str) -> Result<T, Failure>
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    value(&link.row(sql, &[]).await?.ok_or_else(missing)?, 0)
}
