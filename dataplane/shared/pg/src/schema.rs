//! What statements of the callers have in common: tables of a schema of their own, made by whoever comes
//! first, and the settings without which nothing may be changed.

use tokio_postgres::types::FromSql;

use crate::{Failure, Link, Param, Verdict};

/// The end of a condition, as a literal for `concat!`: what a session must still be set to when it changes
/// something. A pooler between us and the server may have forgotten, and standbys may have been dismissed
/// since. `$demand` is the parameter that says whether replication is demanded.
#[macro_export]
macro_rules! durable {
    ($demand:literal) => {
        concat!(
            " AND current_setting('synchronous_commit') IN ('on', 'remote_apply') AND (NOT ",
            $demand,
            "::boolean OR current_setting('synchronous_standby_names') <> '')"
        )
    };
}

/// Not `to_regnamespace` and the like, which go by a cache that may be older than the lock.
const SCHEMA_FOUND: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
const LAYOUT_FOUND: &str = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n
    ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'layout')";
const LOCKED: &str = "SELECT pg_advisory_xact_lock($1)";

/// Tables in a schema, one of which is called `layout`.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub schema: &'static str,
    /// Statements that make the tables.
    pub tables: &'static str,
    /// Held while they are made: two that do it at once get in each other's way.
    pub lock: i64,
}

impl Layout {
    /// Makes the tables if they are missing. `Unusable`, with the remedy, where the server does not let us.
    pub async fn make<A>(&self, link: &mut Link<A>) -> Result<(), Failure<A>> {
        if self.is_there(link).await? {
            return Ok(());
        }
        link.begin().await?;
        link.row(LOCKED, &[&self.lock]).await?;
        if self.is_there(link).await? {
            return link.roll_back().await;
        }
        match self.create(link).await {
            Ok(()) => link.commit().await,
            Err(failure) => {
                link.roll_back().await?;
                Err(self.refused(failure))
            }
        }
    }

    async fn is_there<A>(&self, link: &mut Link<A>) -> Result<bool, Failure<A>> {
        only(link, LAYOUT_FOUND, &[&self.schema]).await
    }

    async fn create<A>(&self, link: &mut Link<A>) -> Result<(), Failure<A>> {
        // Not `IF NOT EXISTS`, which asks for the right to make one also when it is there.
        if !only::<A, bool>(link, SCHEMA_FOUND, &[&self.schema]).await? {
            link.simple(&format!("CREATE SCHEMA {}", self.schema)).await?;
        }
        link.simple(self.tables).await.map(drop)
    }

    fn refused<A>(&self, failure: Failure<A>) -> Failure<A> {
        match failure.verdict() {
            Verdict::Unusable(reason) => Failure::Unusable(format!(
                "{reason}: grant CREATE on the database, or make a schema {} that the user owns",
                self.schema
            )),
            Verdict::Unavailable(reason) | Verdict::Corrupt(reason) => Failure::Lost(reason),
            Verdict::Answer(answer) => Failure::Answer(answer),
        }
    }
}

/// The only value of the only row.
pub async fn only<A, T>(
    link: &mut Link<A>,
    sql: &'static str,
    params: &[Param<'_>],
) -> Result<T, Failure<A>>
where
    T: for<'a> FromSql<'a>,
{
    let row = link.row(sql, params).await?;
    let row = row.ok_or_else(|| Failure::Lost("an answer is missing".to_owned()))?;
    row.try_get(0).map_err(|error| Failure::of(&error))
}
