//! Why something did not come to its end, and whether asking again may help.

use std::convert::Infallible;
use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why a statement or a connection did not come to its end. `A` is what the caller's own code may
/// find in the middle of a call.
#[derive(Debug)]
pub enum Failure<A = Infallible> {
    /// The connection has ended, maybe long ago. Whether it was done is not known.
    Ended(String),
    /// Whether it was done is not known, and another connection would not know either, yet.
    Lost(String),
    /// The server refused it: it was not done.
    Refused { code: SqlState, message: String },
    /// It stays so until someone changes something; it was not done.
    Unusable(String),
    /// The answer of the caller's own code; the connection is fine.
    Answer(A),
}

/// What a failure comes to.
#[derive(Debug)]
pub enum Verdict<A = Infallible> {
    /// Asking again later may help.
    Unavailable(String),
    /// It stays so until someone changes something.
    Unusable(String),
    /// The server found its own data damaged.
    Corrupt(String),
    /// The answer of the caller's own code.
    Answer(A),
}

impl<A> From<A> for Failure<A> {
    fn from(answer: A) -> Self {
        Self::Answer(answer)
    }
}

/// Refusals that stay until someone changes something, by class or code (appendix A of the manual):
/// no such schema, table or column, no right, no such role, password, database.
const LASTING: [&str; 8] = ["28", "3D", "3F", "42501", "42P01", "42703", "0A000", "42883"];

/// Classes of what a server says as it ends a connection, also in answer to what came later.
const ENDING: [&str; 2] = ["57P", "08"];

impl<A> Failure<A> {
    /// What an error of the protocol means.
    pub fn of(error: &Error) -> Self {
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

    /// What [`durable!`](crate::durable) demands is not so. A session that a pooler gave us may have other
    /// settings than ours, which a new one has again.
    pub fn undurable() -> Self {
        let reason = "the session or the server is not set to durable commits any more \
            (synchronous_commit, synchronous_standby_names)";
        Self::Ended(reason.to_owned())
    }

    /// Whether the server refused it for this reason.
    pub fn is(&self, wanted: &SqlState) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// What the caller is told.
    pub fn verdict(self) -> Verdict<A> {
        match self {
            Self::Answer(answer) => Verdict::Answer(answer),
            Self::Ended(reason) | Self::Lost(reason) => Verdict::Unavailable(reason),
            Self::Unusable(reason) => Verdict::Unusable(reason),
            Self::Refused { code, message } => {
                let reason = format!("{message} (SQLSTATE {})", code.code());
                if code == SqlState::DATA_CORRUPTED || code == SqlState::INDEX_CORRUPTED {
                    return Verdict::Corrupt(reason);
                }
                if LASTING.iter().any(|lasting| code.code().starts_with(lasting)) {
                    return Verdict::Unusable(reason);
                }
                Verdict::Unavailable(reason)
            }
        }
    }
}

impl Failure {
    /// The same where other answers are possible.
    pub(crate) fn widen<A>(self) -> Failure<A> {
        match self {
            Self::Ended(reason) => Failure::Ended(reason),
            Self::Lost(reason) => Failure::Lost(reason),
            Self::Refused { code, message } => Failure::Refused { code, message },
            Self::Unusable(reason) => Failure::Unusable(reason),
            Self::Answer(never) => match never {},
        }
    }
}

impl Verdict {
    /// Whether asking again may help, and why it failed.
    pub(crate) fn parts(self) -> (bool, String) {
        match self {
            Self::Unavailable(reason) => (true, reason),
            Self::Unusable(reason) | Self::Corrupt(reason) => (false, reason),
            Self::Answer(never) => match never {},
        }
    }
}
