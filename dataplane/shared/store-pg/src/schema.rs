//! The tables, and making them.
//!
//! A program that knows another version of the layout is refused, not helped: a new version comes
//! with a program that can read the old one.

use orrery_pg::{Layout, only};
use orrery_store::StoreError;

use crate::failure::{Failure, Link};

/// The version of the layout below.
const VERSION: i32 = 1;
const LAYOUT: Layout = Layout { schema: "orrery_store", tables: TABLES, lock: 0x6f72_7273_746f };

/// - A row of `shards` is written by every group: who owns the shard (`epoch`, and `owner`,
///   which is another one for each opening), and the last version.
/// - `v` is stored as it is: its length is asked for without reading it.
const TABLES: &str = "
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

const KNOWN: &str = "SELECT max(version) FROM orrery_store.layout";
/// A table that was made unlogged is emptied by a crash of the server.
const LOGGED: &str = "SELECT count(*) FROM pg_class WHERE relpersistence = 'p' AND oid IN
    ('orrery_store.shards'::regclass, 'orrery_store.rows'::regclass,
     'orrery_store.receipts'::regclass)";

fn unusable(reason: impl Into<String>) -> Failure {
    Failure::Unusable(reason.into())
}

/// Makes the tables if they are missing, and refuses those it does not know.
pub(crate) async fn prepare(link: &mut Link) -> Result<(), Failure> {
    LAYOUT.make(link).await?;
    let version: Option<i32> = only(link, KNOWN, &[]).await?;
    if version != Some(VERSION) {
        let found = version.map_or("none".to_owned(), |version| version.to_string());
        let reason = format!("the tables are of layout {found}, this program knows {VERSION}");
        return Err(StoreError::Corrupt { reason }.into());
    }
    if only::<_, i64>(link, LOGGED, &[]).await? != 3 {
        return Err(unusable("a table of the schema orrery_store is UNLOGGED: set it LOGGED"));
    }
    Ok(())
}
