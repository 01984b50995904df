//! What can go wrong in a management call, the same on both sides of the wire.

use tonic::{Code, Status};

/// Refusal or failure of a management call. `Fenced`, `Invalid`, `Precondition` and `Unsupported` are
/// final for the same request to a process as it is configured; `Unavailable` and `Unknown` may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperandError {
    /// A higher or equal epoch is already known.
    #[error("fenced: epoch {holder} is already known")]
    Fenced {
        /// The epoch that stands in the way.
        holder: u64,
    },
    /// The request makes no sense; it will never be carried out as it is.
    #[error("{0}")]
    Invalid(String),
    /// The process is not set up for it, such as a snapshot into an archive that it does not have.
    #[error("{0}")]
    Precondition(String),
    /// This system or version does not do that.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Not now: starting, draining, disk full, unreachable.
    #[error("{0}")]
    Unavailable(String),
    /// The token is missing or wrong.
    #[error("the management token was not accepted")]
    Unauthenticated,
    /// The call may or may not have taken effect.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// Metadata key that carries the epoch of [`OperandError::Fenced`].
const HOLDER: &str = "orrery-epoch";

impl From<OperandError> for Status {
    fn from(error: OperandError) -> Self {
        let message = error.to_string();
        match error {
            OperandError::Fenced { holder } => {
                let mut status = Status::failed_precondition(message);
                status.metadata_mut().insert(HOLDER, holder.into());
                status
            }
            OperandError::Invalid(_) => Status::invalid_argument(message),
            OperandError::Precondition(_) => Status::failed_precondition(message),
            OperandError::Unsupported(what) => Status::unimplemented(what),
            OperandError::Unavailable(_) => Status::unavailable(message),
            OperandError::Unauthenticated => Status::unauthenticated(message),
            OperandError::Unknown(what) => Status::unknown(what),
        }
    }
}

impl From<Status> for OperandError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::FailedPrecondition => match holder(&status) {
                Some(holder) => Self::Fenced { holder },
                None => Self::Precondition(message),
            },
            Code::InvalidArgument | Code::NotFound | Code::OutOfRange | Code::AlreadyExists => {
                Self::Invalid(message)
            }
            Code::Unimplemented => Self::Unsupported(message),
            Code::Unauthenticated | Code::PermissionDenied => Self::Unauthenticated,
            Code::Unavailable | Code::ResourceExhausted => Self::Unavailable(message),
            _ => Self::Unknown(message),
        }
    }
}

fn holder(status: &Status) -> Option<u64> {
    status.metadata().get(HOLDER)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_survives_the_way_over_the_wire() {
        for error in [
            OperandError::Fenced { holder: 7 },
            OperandError::Invalid("no such shard".into()),
            OperandError::Precondition("no archive is configured".into()),
            OperandError::Unsupported("Restore".into()),
            OperandError::Unavailable("draining".into()),
            OperandError::Unauthenticated,
            OperandError::Unknown("disk failed".into()),
        ] {
            assert_eq!(OperandError::from(Status::from(error.clone())), error);
        }
    }
}
