//! From what a store says to what a carrier says.

use orrery_blob::BlobError;
use orrery_journal::Position;
use orrery_journal::carrier::CarrierError;

/// Whatever a store cannot do now may work later, except for what its address, its Secret or its
/// rights forbid: then the process had better begin again, with the Secret as it is by then.
pub(crate) fn of(error: &BlobError) -> CarrierError {
    if error.is_final() {
        return CarrierError::Unusable { reason: error.to_string() };
    }
    unavailable(error.to_string())
}

pub(crate) fn unavailable(reason: impl Into<String>) -> CarrierError {
    CarrierError::Unavailable { reason: reason.into() }
}

/// `position` is the first one that cannot be vouched for.
pub(crate) fn corrupt(position: u64, name: &str, reason: &str) -> CarrierError {
    let reason = format!("{name}: {reason}");
    CarrierError::Corrupt { position: Position(position), reason }
}
