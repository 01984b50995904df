//! The command line: names, flags, help. Must not: do anything.

pub(crate) mod backup;
pub(crate) mod bench;
mod operator;
#[cfg(feature = "scheduler")]
pub(crate) mod runner;
pub(crate) mod verify;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

pub(crate) use operator::Operator;

/// Folder with the data of `orrery up` unless told otherwise.
pub(crate) const DATA_DEFAULT: &str = ".orrery";

/// One mechanism for the systems every company builds: YAML in, running services out.
///
/// `orrery up` runs resources on this machine, without Kubernetes. `orrery operator` carries the same
/// resources out in a cluster.
#[derive(Debug, Parser)]
#[command(name = "orrery", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  orrery up examples/            run what the files declare; Ctrl-C stops, data stays in .orrery/
  orrery get                     see how it is, from another terminal
  orrery status default          an object of a cluster, down to its pods
  orrery check kv.yaml           see what is wrong with a file and what it would change
  orrery crds | kubectl apply --server-side -f -")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(Up),
    Down(Down),
    Get(Get),
    Describe(Describe),
    Logs(Logs),
    Status(Status),
    /// Restart the pods of an object of a cluster, one after the other.
    ///
    /// Gives `spec.restart` a new value, so that it happens once.
    #[command(after_help = "Example:\n  orrery restart default\nNext: orrery status default")]
    Restart(OnObject),
    /// Stop the pods of an object of a cluster; volumes and addresses are kept.
    ///
    /// Sets `spec.operation` to Hibernate; `orrery resume` undoes it.
    #[command(
        after_help = "Example:\n  orrery hibernate default -n shop\nNext: orrery status default"
    )]
    Hibernate(OnObject),
    /// Leave an object of a cluster alone: its pods go on, nothing is changed.
    ///
    /// Sets `spec.operation` to Pause; `orrery resume` undoes it.
    #[command(
        after_help = "Example:\n  orrery pause kvcluster/default\nNext: orrery status default"
    )]
    Pause(OnObject),
    /// Let an object of a cluster refuse writes: pods run, and reads and backups go on.
    ///
    /// Sets `spec.operation` to Fence; pods take it over within about a minute. No pod is replaced
    /// meanwhile, and nobody takes over from a lost primary.
    #[command(after_help = "Example:\n  orrery fence default\nNext: orrery status default")]
    Fence(OnObject),
    /// Let an object of a cluster take writes again after fence.
    ///
    /// Sets `spec.operation` to Run.
    #[command(after_help = "Example:\n  orrery unfence default\nNext: orrery status default")]
    Unfence(OnObject),
    /// Carry an object of a cluster out again after pause, hibernate or fence.
    ///
    /// Sets `spec.operation` to Run.
    #[command(after_help = "Example:\n  orrery resume default\nNext: orrery status default")]
    Resume(OnObject),
    Promote(Promote),
    Backup(backup::Backup),
    Bench(bench::Bench),
    Report(Report),
    Check(Check),
    Verify(verify::Verify),
    Crds(Crds),
    Operator(Operator),
    #[command(subcommand)]
    Serve(Serve),
    Completion(Completion),
    Version(Version),
}

/// Where the data of `orrery up` is.
#[derive(Debug, Args)]
pub(crate) struct DataFolder {
    /// Folder for data, logs and ports.
    #[arg(long, env = "ORRERY_DATA", default_value = DATA_DEFAULT, value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
}

/// Run resources on this machine.
///
/// Each engine becomes a child process that listens on loopback. Files are watched: an edit takes
/// effect while it runs, a wrong one is refused and what ran before goes on. A process that dies is
/// started again. Removing a resource stops it and keeps its data.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery up                      the YAML files of this folder
  orrery up examples/ more.yaml  a folder and a file
  orrery up kv.yaml --data /var/lib/orrery
  orrery up kv.yaml --detach     go on in the background; `orrery down` ends it")]
pub(crate) struct Up {
    /// Files, or folders whose YAML files are taken.
    #[arg(default_value = ".", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataFolder,
    /// Return when everything is ready and go on in the background.
    #[arg(long)]
    pub(crate) detach: bool,
}

/// Stop what `orrery up` runs; all data is kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  orrery down\n  orrery down --data /var/lib/orrery")]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) data: DataFolder,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// More columns.
    Wide,
    Yaml,
    Json,
}

/// List resources with the columns kubectl would show.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery get                          everything
  orrery get kvclusters -o wide
  orrery get kv default -o yaml       one resource, whole
  orrery get kvns -n shop -o json")]
pub(crate) struct Get {
    /// Kind, plural or short name; all kinds when left out.
    pub(crate) kind: Option<String>,
    /// Name of one resource.
    pub(crate) name: Option<String>,
    /// Only this namespace.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
    #[command(flatten)]
    pub(crate) data: DataFolder,
}

/// Show everything about resources: conditions, processes, ports, what happened.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  orrery describe kv default\n  orrery describe kvns")]
pub(crate) struct Describe {
    /// Kind, plural or short name.
    pub(crate) kind: String,
    /// Name of one resource; all of the kind when left out.
    pub(crate) name: Option<String>,
    /// Only this namespace.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataFolder,
}

/// Print what processes wrote: those of `orrery up`, or as a kubectl plugin those of the cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery logs default                 the last lines of the processes of a resource
  orrery logs kvcluster default -f    and what comes
  orrery logs default-kv-0 --lines 1000
  kubectl orrery logs default         the pods of an object of the cluster
  orrery logs default --cluster -f    the same without kubectl")]
pub(crate) struct Logs {
    /// A process or a resource, or a kind and a name.
    #[arg(num_args = 1..=2, required = true, value_names = ["KIND|NAME", "NAME"])]
    pub(crate) target: Vec<String>,
    /// Go on printing what is written, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many lines from the end.
    #[arg(long, default_value_t = 50)]
    pub(crate) lines: usize,
    /// Pods of the cluster, not processes of this machine. Set when run as `kubectl orrery`.
    #[arg(long)]
    pub(crate) cluster: bool,
    #[command(flatten)]
    pub(crate) choice: ClusterChoice,
    #[command(flatten)]
    pub(crate) data: DataFolder,
}

/// Which cluster and namespace.
#[derive(Debug, Args)]
pub(crate) struct ClusterChoice {
    /// Namespace; that of the kubeconfig when left out.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig.
    #[arg(long)]
    pub(crate) context: Option<String>,
}

/// Show objects of a cluster as trees: children, pods, and why a pod is not ready.
///
/// Exit code 1 when one is not ready. Secrets are listed by name; what is in them is never asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery status                       all engines of the namespace
  orrery status default -n shop
  kubectl orrery status kvcluster/default
Next: kubectl describe kvcluster default; kubectl logs default-kv-0")]
pub(crate) struct Status {
    /// NAME, KIND NAME or KIND/NAME; all engines when left out.
    #[arg(num_args = 0..=2, value_names = ["KIND|NAME", "NAME"])]
    pub(crate) target: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterChoice,
}

/// An object of a cluster that a command changes.
#[derive(Debug, Args)]
pub(crate) struct OnObject {
    /// NAME, KIND NAME or KIND/NAME.
    #[arg(num_args = 1..=2, required = true, value_names = ["KIND|NAME", "NAME"])]
    pub(crate) target: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterChoice,
}

/// Move the primary of a group to another pod, without loss.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery promote default --to default-kv-1
Next: orrery status default")]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(crate) on: OnObject,
    /// The pod that is to be primary; it must follow.
    #[arg(long)]
    pub(crate) to: String,
}

/// Collect what somebody else needs to understand a problem, in one file.
///
/// Objects, children, pods, events, nodes, and the newest lines of the pods and of the operator.
/// Secrets are in it by name only. What may not be asked for is listed in left-out.txt.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery report -n shop                       all engines of the namespace
  orrery report kvcluster/default -o bug.tar.gz
Next: tar tzf orrery-report-*.tar.gz")]
pub(crate) struct Report {
    /// NAME, KIND NAME or KIND/NAME; all engines when left out.
    #[arg(num_args = 0..=2, value_names = ["KIND|NAME", "NAME"])]
    pub(crate) target: Vec<String>,
    /// The file to write; it must not exist. Left out: orrery-report-TIME.tar.gz here.
    #[arg(short, long, value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterChoice,
}

/// Say what is wrong with files, and what they would change.
///
/// Needs neither a cluster nor a running `orrery up`. Schema, defaults, validation rules and each
/// system's own checks are applied as in a cluster. The comparison is with what ran last on the data
/// folder. Exit code 1 when something is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  orrery check kv.yaml\n  orrery check examples/ --data /var/lib/orrery"
)]
pub(crate) struct Check {
    /// Files, or folders whose YAML files are taken.
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataFolder,
}

/// Print the custom resource definitions as YAML.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery crds | kubectl apply --server-side -f -
  orrery crds kvcluster")]
pub(crate) struct Crds {
    /// Only this kind.
    pub(crate) kind: Option<String>,
}

/// Run a data plane. The operator and `orrery up` start it; there is seldom a reason to do so by hand.
#[derive(Debug, Subcommand)]
pub(crate) enum Serve {
    #[cfg(feature = "kv")]
    Kv(ServeArgs),
    #[cfg(feature = "scheduler")]
    Scheduler(ServeScheduler),
    #[cfg(feature = "scheduler")]
    Runner(runner::ServeRunner),
}

/// A key-value process: the Redis protocol over a journal.
#[derive(Debug, Args)]
#[command(after_help = "\
Environment:
  ORRERY_LISTEN_RESP, ORRERY_LISTEN_MANAGEMENT, ORRERY_LISTEN_HTTP   addresses, as 127.0.0.1:6379
  ORRERY_LOG (text, json), ORRERY_LOG_LEVEL                          what is written to standard error

Example:
  orrery serve kv --config kv.yaml --data ./data")]
pub(crate) struct ServeArgs {
    /// The configuration file.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
    /// Folder for everything that is to survive.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    /// Folder with one file per secret.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) secrets: Option<PathBuf>,
    /// Folder of tls.crt, tls.key and, for client certificates, ca.crt: clients must speak TLS.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) tls: Option<PathBuf>,
    /// Folder of tls.crt, tls.key and ca.crt by which the operator and the other processes of the same
    /// object know this one: the management port admits the operator alone.
    #[arg(long, value_hint = ValueHint::DirPath, requires = "identity_name")]
    pub(crate) identity: Option<PathBuf>,
    /// Name that the certificates of those processes have in common.
    #[arg(long, requires = "identity")]
    pub(crate) identity_name: Option<String>,
    /// Folder of address, username and password of a Redis to take over: this process follows it.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) adopt: Option<PathBuf>,
    /// Folder of ca.crt and perhaps tls.crt and tls.key: that Redis speaks TLS.
    #[arg(long, value_hint = ValueHint::DirPath, requires = "adopt")]
    pub(crate) adopt_tls: Option<PathBuf>,
    /// Name that the certificate of that Redis must have; else it is the host of its address.
    #[arg(long, requires = "adopt_tls")]
    pub(crate) adopt_name: Option<String>,
    /// Folder of what is read again when it changes: users.acl, in the form of an ACL file of Redis.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) live: Option<PathBuf>,
}

/// A scheduler process: jobs that are started at their times, with a journal.
#[derive(Debug, Args)]
#[command(after_help = "\
Environment:
  ORRERY_LISTEN_API, ORRERY_LISTEN_MANAGEMENT, ORRERY_LISTEN_HTTP   addresses, as 127.0.0.1:8080
  ORRERY_LOG (text, json), ORRERY_LOG_LEVEL                         what is written to standard error

Example:
  orrery serve scheduler --config scheduler.yaml --data ./data")]
pub(crate) struct ServeScheduler {
    /// The configuration file.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
    /// Folder for everything that is to survive.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    /// Folder with one file per secret: api-token is what clients of the API send.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) secrets: Option<PathBuf>,
    /// Folder of tls.crt, tls.key and, for client certificates, ca.crt: clients must speak TLS.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) tls: Option<PathBuf>,
    /// Folder of tls.crt, tls.key and ca.crt by which the operator knows this process: the management
    /// port admits the operator alone.
    #[arg(long, value_hint = ValueHint::DirPath, requires = "identity_name")]
    pub(crate) identity: Option<PathBuf>,
    /// Name that the certificates of the processes of the object have in common.
    #[arg(long, requires = "identity")]
    pub(crate) identity_name: Option<String>,
    /// Folder with one folder per target: auth (token, or username and password, or header and value),
    /// signing (secret) and ca (ca.crt).
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) targets: Option<PathBuf>,
    /// Folder of what is read again when it changes: fenced, which says whether anything may be launched.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) live: Option<PathBuf>,
}

/// Print a completion script.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery completion bash > /etc/bash_completion.d/orrery
  orrery completion zsh > ~/.zfunc/_orrery
  source <(orrery completion bash)")]
pub(crate) struct Completion {
    pub(crate) shell: Shell,
}

/// Print version and systems.
#[derive(Debug, Args)]
pub(crate) struct Version {}

/// A life that leaves time for renewals.
fn certificate_life(text: &str) -> Result<Duration, String> {
    let life = duration(text)?;
    if life < Duration::from_hours(1) {
        return Err("a certificate must live for at least an hour".to_owned());
    }
    Ok(life)
}

/// A number with a unit: `500ms`, `15s`, `2m`, `24h`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().map_err(|_| format!("{text:?} has no number"))?;
    match &text[split..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_mins(number)),
        "h" => Ok(Duration::from_hours(number)),
        _ => Err(format!("{text:?} needs a unit: ms, s, m or h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_fits_together_and_every_command_has_help() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for command in command.get_subcommands().filter(|c| c.get_name() != "help") {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        duration("15").expect_err("there is no unit");
        duration("s").expect_err("there is no number");
    }

    #[test]
    fn the_flags_of_the_chart_are_understood() {
        Cli::try_parse_from([
            "orrery",
            "operator",
            "--image=orrery:dev",
            "--http=0.0.0.0:8080",
            "--lease-namespace=orrery",
            "--lease-name=orrery",
            "--lease-duration=5s",
            "--lease-renew-deadline=4s",
            "--lease-retry-period=1s",
            "--certificate-life=2160h",
            "--authority-overlap=24h",
            "--namespaces=a,b",
        ])
        .expect("the chart starts the operator like this");
    }
}
