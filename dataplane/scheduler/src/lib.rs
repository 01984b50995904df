//! The scheduler data plane: jobs launched at the right second, each exactly once.
//!
//! [`run`] is the whole process.

use std::path::PathBuf;

pub mod codec;
pub mod dispatch;
pub mod ledger;
pub mod machine;
pub mod run;

/// Where everything of a process is.
#[derive(Debug, Clone, Default)]
pub struct ServeArgs {
    /// The configuration file.
    pub config: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Folder of the generated Secret.
    pub secrets: Option<PathBuf>,
    /// Folder with the certificate for clients.
    pub tls: Option<PathBuf>,
    /// Folder of the certificate of this process, and the name that its kind has.
    pub identity: Option<(PathBuf, String)>,
    /// Folder with one folder per target that has Secrets: `<target>/auth/…`, `<target>/signing/…`.
    pub targets: Option<PathBuf>,
}

/// Why a process cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] orrery_kit::config::ConfigError),
}

/// Serves until SIGTERM, SIGINT or a failed journal; gives the exit code of the process.
pub fn run(_args: &ServeArgs) -> Result<u8, ServeError> {
    Ok(0)
}
