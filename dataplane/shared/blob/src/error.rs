//! What can go wrong with a store, in kinds that a caller acts on.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use object_store::Error as Cause;

/// Why a call failed. Never says anything of credentials.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("{address:?} is no address of a store: {reason}")]
    Address { address: String, reason: &'static str },
    #[error("failed to read the credential {}: {source}", path.display())]
    Credential { path: PathBuf, source: io::Error },
    #[error("{address} needs the file {file} of its Secret")]
    CredentialMissing { address: String, file: &'static str },
    #[error("failed to use {address}: {source}")]
    Unusable { address: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{name} does not exist")]
    NotFound { name: String },
    #[error("{name} exists already")]
    Exists { name: String },
    #[error("access to {name} was denied: {reason}")]
    Denied { name: String, reason: String },
    #[error("there is no room for {name}")]
    Full { name: String },
    #[error("{name} has {bytes} bytes, allowed are {max}")]
    TooLarge { name: String, bytes: u64, max: u64 },
    #[error("{name} lists more than {max} objects")]
    TooMany { name: String, max: usize },
    #[error("failed to {action} {name} within {seconds} seconds")]
    Deadline { action: &'static str, name: String, seconds: u64 },
    #[error("failed to {action} {name}: {source}")]
    Failed { action: &'static str, name: String, source: Box<Cause> },
}

impl BlobError {
    pub(crate) fn of(action: &'static str, name: &str, cause: Cause) -> Self {
        let name = name.to_owned();
        match cause {
            Cause::NotFound { .. } => Self::NotFound { name },
            Cause::AlreadyExists { .. } | Cause::Precondition { .. } => Self::Exists { name },
            Cause::PermissionDenied { source, .. } | Cause::Unauthenticated { source, .. } => {
                Self::Denied { name, reason: source.to_string() }
            }
            cause if is_full(&cause) => Self::Full { name },
            cause => Self::Failed { action, name, source: Box::new(cause) },
        }
    }

    /// The object or folder is not there, as opposed to not reachable.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Asking again cannot help before someone has changed the store, its address or its Secret.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Address { .. }
            | Self::Credential { .. }
            | Self::CredentialMissing { .. }
            | Self::Unusable { .. }
            | Self::Denied { .. } => true,
            Self::Failed { source, .. } => {
                matches!(**source, Cause::NotSupported { .. } | Cause::NotImplemented { .. })
            }
            _ => false,
        }
    }
}

/// The disk below has no room: found in the chain of causes.
fn is_full(cause: &Cause) -> bool {
    let mut next = cause.source();
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            let kind = io.kind();
            return kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded;
        }
        next = error.source();
    }
    false
}
