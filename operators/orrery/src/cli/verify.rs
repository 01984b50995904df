//! Arguments of `orrery verify`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::DataFolder;

/// Read all stored data and say what is damaged.
///
/// Every checksum is checked, nothing is changed. The data may be in use: what is written, trimmed or
/// begun meanwhile is no damage. To salvage, stop what uses it. Exit code 1 when something is damaged,
/// unless all of it was salvaged.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  orrery verify
  orrery verify --data /var/lib/orrery
  orrery verify scheduler --from 2027-01-01T00:00:00Z
  orrery verify --salvage rescued   write what is provably good of damaged journals into rescued/"
)]
pub(crate) struct Verify {
    /// What else is proved.
    #[command(subcommand)]
    pub(crate) of: Option<Of>,
    #[command(flatten)]
    pub(crate) data: DataFolder,
    /// Write what is provably good of each damaged journal into this new folder: the newest intact
    /// snapshot and all records behind it up to the first damage.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) salvage: Option<PathBuf>,
}

/// What is proved of one system.
#[derive(Debug, Subcommand)]
pub(crate) enum Of {
    Scheduler(SchedulerProof),
}

/// Prove that a Scheduler launched every run exactly once.
///
/// The running engine derives every run that its jobs should have had from the history of their rules,
/// and compares them with its ledger of launches. Exit code 1 when they differ.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery verify scheduler
  orrery verify scheduler nightly --from 2027-01-01T00:00:00Z --to 2027-01-02T00:00:00Z
  kubectl port-forward service/default-scheduler 8080 &
  orrery verify scheduler --url http://127.0.0.1:8080 --token \"$TOKEN\"")]
pub(crate) struct SchedulerProof {
    /// Name of the Scheduler that `orrery up` runs.
    #[arg(default_value = "default")]
    pub(crate) name: String,
    /// The first moment, RFC 3339. Left out: a day before the last one.
    #[arg(long)]
    pub(crate) from: Option<jiff::Timestamp>,
    /// The last moment. Left out: now.
    #[arg(long)]
    pub(crate) to: Option<jiff::Timestamp>,
    /// Address of its API, of a Scheduler elsewhere.
    #[arg(long, value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,
    /// What the API asks for: the key `api-token` of the Secret `<name>-scheduler`.
    #[arg(long, env = "ORRERY_API_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// File with the authority of its certificate, as PEM. Left out: those of this machine.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataFolder,
}
