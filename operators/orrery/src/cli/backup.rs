//! The flags of `orrery backup`.

use std::time::Duration;

use clap::Args;

use super::OnObject;

/// Take a snapshot of an object of a cluster into its archive, once.
///
/// Makes a Backup. The object needs `spec.archive`. With --wait the exit code is 1 when it fails.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery backup default
  orrery backup default --wait
  orrery backup default --name before-the-sale -n shop
Next: kubectl get backups")]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) on: OnObject,
    /// Name of the Backup; that of the object with the time when left out.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Show how far it is, and return when it is over.
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long it may take before it counts as failed.
    #[arg(long, default_value = "1440m", value_parser = super::duration)]
    pub(crate) deadline: Duration,
}
