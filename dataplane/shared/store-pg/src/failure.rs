//! What a store says of a failure.

use orrery_pg::Verdict;
use orrery_store::StoreError;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// Why a call did not come to its end.
pub(crate) type Failure = orrery_pg::Failure<StoreError>;
/// A connection in a call.
pub(crate) type Link = orrery_pg::Link<StoreError>;
/// A connection between calls.
pub(crate) type Session = orrery_pg::Session<StoreError>;

/// What the caller is told, of a call that changed nothing.
pub(crate) fn into_error(failure: Failure) -> StoreError {
    match failure.verdict() {
        Verdict::Unavailable(reason) | Verdict::Unusable(reason) => {
            StoreError::Unavailable { reason }
        }
        Verdict::Corrupt(reason) => StoreError::Corrupt { reason },
        Verdict::Answer(error) => error,
    }
}

/// Whether the connection is good for another call.
pub(crate) fn is_good<T>(result: &Result<T, Failure>) -> bool {
    matches!(result, Ok(_) | Err(Failure::Answer(_)))
}

/// A value of a row.
pub(crate) fn value<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Failure> {
    row.try_get(index).map_err(|error| Failure::of(&error))
}

pub(crate) fn missing() -> Failure {
    Failure::Lost("an answer is missing".to_owned())
}
