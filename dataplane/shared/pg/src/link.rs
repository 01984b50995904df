//! One connection: statements, and what became of them.
//!
//! Must not: take a statement for done before the server is ready for the next one. The answer of a
//! statement comes before its commit; only then follows that it failed, or that somebody cancelled
//! the wait for a synchronous standby, which PostgreSQL reports as success with a warning
//! (`SyncRepWaitForLSN` in its `syncrep.c`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, Error, Row, SimpleQueryMessage, Statement};

use crate::Failure;

/// What a statement takes.
pub type Param<'a> = &'a (dyn ToSql + Sync);

/// What is heard of a connection beside its answers.
#[derive(Debug, Default)]
struct Heard {
    /// A commit that may not be replicated, since somebody looked last.
    warned: AtomicBool,
    /// Why it ended.
    end: Mutex<Option<String>>,
}

/// A connection to the server that takes writes. `A` is what the caller's own code answers in the
/// middle of a call.
pub struct Link<A = Infallible> {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    heard: Arc<Heard>,
    answer: PhantomData<fn() -> A>,
}

impl<A> fmt::Debug for Link<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// The same where other answers are possible.
    pub(crate) fn widen<A>(self) -> Link<A> {
        let Self { client, statements, heard, answer: _ } = self;
        Link { client, statements, heard, answer: PhantomData }
    }
}

impl<A> Link<A> {
    /// Drives the connection on the runtime of the caller from now on.
    pub(crate) fn new<S, T>(client: Client, connection: Connection<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heard = Arc::<Heard>::default();
        tokio::spawn(drive(connection, Arc::clone(&heard)));
        Self { client, statements: HashMap::new(), heard, answer: PhantomData }
    }

    /// Several statements at once, without parameters; the rows of the last one that gives some.
    pub async fn simple(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure<A>> {
        let answers = self.done(self.client.simple_query(sql).await)?;
        let mut rows = vec![];
        for answer in answers {
            match answer {
                SimpleQueryMessage::RowDescription(_) => rows.clear(),
                SimpleQueryMessage::Row(row) => {
                    let text = |index| row.get(index).map(str::to_owned);
                    rows.push((0..row.len()).map(text).collect());
                }
                _ => {}
            }
        }
        Ok(rows)
    }

    /// The rows of a statement.
    pub async fn query(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Failure<A>> {
        let statement = self.prepared(sql).await?;
        self.done(self.client.query(&statement, params).await)
    }

    /// The only row of a statement that gives one or none.
    pub async fn row(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, Failure<A>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// The number of rows a statement changed.
    pub async fn execute(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<u64, Failure<A>> {
        let statement = self.prepared(sql).await?;
        self.done(self.client.execute(&statement, params).await)
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<(), Failure<A>> {
        self.simple("BEGIN").await.map(drop)
    }

    /// Commits it.
    pub async fn commit(&self) -> Result<(), Failure<A>> {
        self.simple("COMMIT").await.map(drop)
    }

    /// Ends a transaction whose statements all succeeded and that is not wanted after all.
    pub async fn roll_back(&self) -> Result<(), Failure<A>> {
        self.simple("ROLLBACK").await.map(drop)
    }

    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Failure<A>> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.done(self.client.prepare(sql).await)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// What a request came to, with everything heard until the server was ready again.
    fn done<T>(&self, result: Result<T, Error>) -> Result<T, Failure<A>> {
        let is_warned = self.heard.warned.swap(false, Ordering::AcqRel);
        match result {
            Ok(_) if is_warned => {
                Err(Failure::Lost("the server warned that it may not be replicated".to_owned()))
            }
            Ok(value) => Ok(value),
            Err(error) if error.is_closed() => {
                let end = self.heard.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(Failure::Ended(end.unwrap_or_else(|| "the connection was closed".to_owned())))
            }
            Err(error) => Err(Failure::of(&error)),
        }
    }
}

async fn drive<S, T>(mut connection: Connection<S, T>, heard: Arc<Heard>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                tracing::debug!(code = notice.code().code(), "{}", notice.message());
                if is_doubt(&notice) {
                    heard.warned.store(true, Ordering::Release);
                }
            }
            Ok(_) => {}
            Err(error) => {
                let (_, reason) = Failure::<Infallible>::of(&error).verdict().parts();
                let mut end = heard.end.lock().unwrap_or_else(PoisonError::into_inner);
                *end = Some(format!("the connection was closed: {reason}"));
                return;
            }
        }
    }
}

/// Whether a notice says that a wait for a standby was cancelled. Its text is translated and its code
/// is that of all warnings, so it is known by where it comes from; servers warn of other things, too,
/// as of collations when a session begins.
fn is_doubt(notice: &DbError) -> bool {
    let severity = notice.parsed_severity();
    let is_warning = severity.is_none_or(|severity| severity == Severity::Warning);
    is_warning && notice.file().is_none_or(|file| file.ends_with("syncrep.c"))
}
