//! What a carrier says of a failure.

use std::time::Duration;

use orrery_journal::{CarrierError, Position};
use orrery_pg::{Target, Verdict};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// Why a call did not come to its end.
pub(crate) type Failure = orrery_pg::Failure<CarrierError>;
/// A connection in a call of the carrier.
pub(crate) type Link = orrery_pg::Link<CarrierError>;

/// What the caller of the carrier is told.
pub(crate) fn into_error(failure: Failure) -> CarrierError {
    match failure.verdict() {
        Verdict::Unavailable(reason) => CarrierError::Unavailable { reason },
        Verdict::Unusable(reason) => CarrierError::Unusable { reason },
        Verdict::Corrupt(reason) => CarrierError::Corrupt { position: Position(0), reason },
        Verdict::Answer(error) => error,
    }
}

/// A value of a row.
pub(crate) fn value<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Failure> {
    row.try_get(index).map_err(|error| Failure::of(&error))
}

/// The connections of a carrier, whose calls answer as those of a carrier do.
#[derive(Debug)]
pub(crate) struct Pool(orrery_pg::Pool<CarrierError>);

impl Pool {
    pub(crate) fn new(target: Target) -> Self {
        Self(orrery_pg::Pool::new(target))
    }

    pub(crate) fn target(&self) -> &Target {
        self.0.target()
    }

    /// See [`orrery_pg::Pool::run`]: the work may be begun a second time.
    pub(crate) fn run<T>(
        &self,
        budget: Duration,
        work: impl AsyncFnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T, CarrierError> {
        self.0.run(budget, work).map_err(into_error)
    }
}
