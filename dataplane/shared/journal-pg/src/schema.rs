//! The tables, and making them.
//!
//! A program that knows another version of the layout is refused, not helped: a new version comes
//! with a program that can read the old one.

use orrery_journal::CarrierError;
use orrery_pg::{Layout, only};

use crate::failure::{Failure, Link, value};

/// The version of the layout below.
const VERSION: i32 = 1;
const LAYOUT: Layout = Layout { schema: "orrery", tables: TABLES, lock: 0x6f72_7265_7279 };

/// - A row of `journals` is locked by every append and hardly ever written: who owns the shard, and
///   the last position that was trimmed.
/// - `bytes` is stored as it is and outside of its row: groups are compressed badly, and rows are
///   read that are not looked into.
/// - A snapshot is being written (0), whole (1) or to be removed (2).
/// - What is trimmed makes dead rows long before the default share of the table is reached.
const TABLES: &str = "
CREATE TABLE orrery.journals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE \"C\" NOT NULL UNIQUE,
    shard bigint NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    token bigint NOT NULL DEFAULT 0,
    trimmed bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE orrery.groups (
    journal bigint NOT NULL,
    first bigint NOT NULL CHECK (first > 0),
    last bigint NOT NULL CHECK (last >= first),
    epoch bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (journal, first)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 1000);
ALTER TABLE orrery.groups ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE orrery.snapshots (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    journal bigint NOT NULL,
    at bigint NOT NULL,
    epoch bigint NOT NULL,
    bytes bigint NOT NULL,
    state smallint NOT NULL DEFAULT 0
);
CREATE INDEX snapshots_by_state ON orrery.snapshots (journal, state, at);
CREATE UNIQUE INDEX snapshots_whole ON orrery.snapshots (journal, at) WHERE state = 1;
CREATE TABLE orrery.pieces (
    snapshot bigint NOT NULL,
    number integer NOT NULL,
    crc bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (snapshot, number)
) WITH (toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 1000);
ALTER TABLE orrery.pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE orrery.layout (version integer NOT NULL);
INSERT INTO orrery.layout VALUES (1)";

const KNOWN: &str = "SELECT max(version) FROM orrery.layout";
/// A table that was made unlogged is emptied by a crash of the server.
const LOGGED: &str = "SELECT count(*) FROM pg_class WHERE relpersistence = 'p' AND oid IN
    ('orrery.journals'::regclass, 'orrery.groups'::regclass,
     'orrery.snapshots'::regclass, 'orrery.pieces'::regclass)";
const REGISTER: &str = "INSERT INTO orrery.journals (name, shard) VALUES ($1, $2)
    ON CONFLICT (name) DO NOTHING";
const REGISTERED: &str = "SELECT shard FROM orrery.journals WHERE name = $1";
/// What appending, saving and trimming need.
const RIGHTS: &str = "SELECT bool_and(has_table_privilege('orrery.' || name, wanted))
    FROM unnest(ARRAY['journals', 'groups', 'snapshots', 'pieces']) name,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) wanted";
const REPLICATED: &str = "SELECT current_setting('synchronous_standby_names') <> ''";

fn unusable(reason: impl Into<String>) -> Failure {
    Failure::Answer(CarrierError::Unusable { reason: reason.into() })
}

/// Makes the tables and the row of the journal if they are missing.
pub(crate) async fn prepare(
    link: &mut Link,
    name: &str,
    shard: u32,
    needs_replication: bool,
) -> Result<(), Failure> {
    if needs_replication && !only::<_, bool>(link, REPLICATED, &[]).await? {
        let reason = "replication is demanded, and synchronous_standby_names is empty: set it";
        return Err(unusable(reason));
    }
    LAYOUT.make(link).await?;
    let version: Option<i32> = only(link, KNOWN, &[]).await?;
    if version != Some(VERSION) {
        let reason = format!(
            "the tables are of layout {}, this program knows {VERSION}: run one that knows both",
            version.map_or("none".to_owned(), |version| version.to_string()),
        );
        return Err(unusable(reason));
    }
    if only::<_, i64>(link, LOGGED, &[]).await? != 4 {
        return Err(unusable("a table of the schema orrery is UNLOGGED: set it LOGGED"));
    }
    if !only::<_, bool>(link, RIGHTS, &[]).await? {
        let reason = "the user may not write the tables of the schema orrery: \
            grant SELECT, INSERT, UPDATE and DELETE on them";
        return Err(unusable(reason));
    }
    link.execute(REGISTER, &[&name, &i64::from(shard)]).await?;
    let row = link.row(REGISTERED, &[&name]).await?;
    let found: Option<i64> = row.map(|row| value(&row, 0)).transpose()?;
    if found != Some(i64::from(shard)) {
        let reason = format!("the journal {name:?} is that of another shard than {shard}");
        return Err(unusable(reason));
    }
    Ok(())
}
