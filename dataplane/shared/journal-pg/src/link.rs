//! One connection: statements, and what became of them.
//!
//! Must not: take a statement for done before the server is ready for the next one. The answer of a
//! statement comes before its commit; only then follows that it failed, or that somebody cancelled
//! the wait for a synchronous standby, which PostgreSQL reports as success with a warning
//! (`SyncRepWaitForLSN` in its `syncrep.c`).

use std::collections::HashMap;
use std::error::Error as _;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use orrery_journal::{CarrierError, Position};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{AsyncMessage, Client, Connection, Error, Row, SimpleQueryMessage, Statement};

/// What a statement takes.
pub(crate) type Param<'a> = &'a (dyn ToSql + Sync);

/// Why a statement or a connection did not come to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection has ended, maybe long ago. Whether it was done is not known.
    Ended(String),
    /// Whether it was done is not known, and another connection would not know either, yet.
    Lost(String),
    /// The server refused it: it was not done.
    Refused { code: SqlState, message: String },
    /// The answer of the carrier; the connection is fine.
    Answer(CarrierError),
}

impl From<CarrierError> for Failure {
    fn from(error: CarrierError) -> Self {
        Self::Answer(error)
    }
}

/// Refusals that stay until someone changes something, by class or code (appendix A of the manual):
/// no such schema, table or column, no right, no such role, password, database.
const LASTING: [&str; 8] = ["28", "3D", "3F", "42501", "42P01", "42703", "0A000", "42883"];

/// Classes of what a server says as it ends a connection, also in answer to what came later.
const ENDING: [&str; 2] = ["57P", "08"];

impl Failure {
    pub(crate) fn of(error: &Error) -> Self {
        if let Some(found) = error.as_db_error() {
            // The detail may hold what was to be stored.
            let (code, message) = (found.code().clone(), found.message().to_owned());
            if ENDING.iter().any(|ending| code.code().starts_with(ending)) {
                return Self::Ended(message);
            }
            return Self::Refused { code, message };
        }
        let mut message = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            message = format!("{message}: {cause}");
            next = cause.source();
        }
        Self::Ended(message)
    }

    pub(crate) fn is(&self, wanted: &SqlState) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// What the caller of the carrier is told.
    pub(crate) fn into_error(self) -> CarrierError {
        match self {
            Self::Answer(error) => error,
            Self::Ended(reason) | Self::Lost(reason) => CarrierError::Unavailable { reason },
            Self::Refused { code, message } => {
                let reason = format!("{message} (SQLSTATE {})", code.code());
                if code == SqlState::DATA_CORRUPTED || code == SqlState::INDEX_CORRUPTED {
                    return CarrierError::Corrupt { position: Position(0), reason };
                }
                if LASTING.iter().any(|lasting| code.code().starts_with(lasting)) {
                    return CarrierError::Unusable { reason };
                }
                CarrierError::Unavailable { reason }
            }
        }
    }
}

/// What is heard of a connection beside its answers.
#[derive(Debug, Default)]
struct Heard {
    /// A commit that may not be replicated, since somebody looked last.
    warned: AtomicBool,
    /// Why it ended.
    end: Mutex<Option<String>>,
}

/// A connection to the server that takes writes.
pub(crate) struct Link {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    heard: Arc<Heard>,
}

impl Link {
    /// Drives the connection on the runtime of the caller from now on.
    pub(crate) fn new<S, T>(client: Client, connection: Connection<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heard = Arc::default();
        tokio::spawn(drive(connection, Arc::clone(&heard)));
        Self { client, statements: HashMap::new(), heard }
    }

    /// Several statements at once, without parameters; the rows of the last one that gives some.
    pub(crate) async fn simple(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
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
    pub(crate) async fn query(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let statement = self.prepared(sql).await?;
        self.done(self.client.query(&statement, params).await)
    }

    /// The only row of a statement that gives one or none.
    pub(crate) async fn row(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, Failure> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// The number of rows a statement changed.
    pub(crate) async fn execute(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<u64, Failure> {
        let statement = self.prepared(sql).await?;
        self.done(self.client.execute(&statement, params).await)
    }

    pub(crate) async fn begin(&self) -> Result<(), Failure> {
        self.simple("BEGIN").await.map(drop)
    }

    pub(crate) async fn commit(&self) -> Result<(), Failure> {
        self.simple("COMMIT").await.map(drop)
    }

    /// Ends a transaction whose statements all succeeded and that is not wanted after all.
    pub(crate) async fn roll_back(&self) -> Result<(), Failure> {
        self.simple("ROLLBACK").await.map(drop)
    }

    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.done(self.client.prepare(sql).await)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// What a request came to, with everything heard until the server was ready again.
    fn done<T>(&self, result: Result<T, Error>) -> Result<T, Failure> {
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
                if let CarrierError::Unavailable { reason } | CarrierError::Unusable { reason } =
                    Failure::of(&error).into_error()
                {
                    let mut end = heard.end.lock().unwrap_or_else(PoisonError::into_inner);
                    *end = Some(format!("the connection was closed: {reason}"));
                }
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

/// A value of a row.
pub(crate) fn value<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Failure> {
    row.try_get(index).map_err(|error| Failure::of(&error))
}
