//! Arguments of `orrery serve runner`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// A runner: commands in a pod of a pool, as a scheduler asks by HTTP.
#[derive(Debug, Args)]
#[command(after_help = "\
Environment:
  ORRERY_LISTEN_RUNNER                address, as 127.0.0.1:9410
  ORRERY_LOG (text, json), ORRERY_LOG_LEVEL   what is written to standard error

Example:
  orrery serve runner --secrets ./secrets --runs 4")]
pub(crate) struct ServeRunner {
    /// Folder with the file `token`, which requests show. Without it only this machine may ask.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) secrets: Option<PathBuf>,
    /// Runs at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) runs: u16,
    /// How long runs may go on after SIGTERM, in seconds.
    #[arg(long, default_value_t = 300)]
    pub(crate) grace_seconds: u64,
    /// Copy this program into a folder, and end.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) install: Option<PathBuf>,
}
