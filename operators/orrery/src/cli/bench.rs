//! The flags of `orrery bench`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ClusterChoice, DataFolder};

/// Put load on a key-value service for some seconds and say how it bears it.
///
/// Keys are written below a prefix of their own and removed at the end; should that fail, they expire
/// within the hour. Takes an object of `orrery up`, of a cluster (as kubectl plugin, with --context or
/// --cluster), or any --address. Exit code 1 when commands were answered with errors.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery bench default                                what `orrery up` runs here
  orrery bench default --seconds 30 --pipeline 16 --reads 90
  kubectl orrery bench default                        from where the pods can be reached
  kubectl port-forward svc/default-kv-rw 6379 &
  ORRERY_PASSWORD=... orrery bench --address 127.0.0.1:6379
  ORRERY_PASSWORD=... orrery bench default --user shop --prefix shop: --yes
  orrery bench --address cache.example.org:6379 --tls --cacert ca.crt

Environment:
  ORRERY_PASSWORD   password of the user; `default` of a cluster has it in the Secret <name>-kv
  REDISCLI_AUTH     the same, if ORRERY_PASSWORD is not set")]
pub(crate) struct Bench {
    /// NAME, KIND NAME or KIND/NAME.
    #[arg(num_args = 1..=2, required_unless_present = "address", conflicts_with = "address")]
    #[arg(value_names = ["KIND|NAME", "NAME"])]
    pub(crate) target: Vec<String>,
    /// Host and port to connect to, instead of those of an object.
    #[arg(long)]
    pub(crate) address: Option<String>,
    /// User to log in as; it needs GET, SET and UNLINK, and DBSIZE unless --yes is given.
    #[arg(long, default_value = "default")]
    pub(crate) user: String,
    /// What keys begin with, for users that may use some keys only.
    #[arg(long, default_value = "")]
    pub(crate) prefix: String,
    #[command(flatten)]
    pub(crate) tls: TlsChoice,
    /// File with the password; else ORRERY_PASSWORD, else REDISCLI_AUTH, else none.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Connections at the same time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) clients: u16,
    /// Commands a connection sends before it reads the replies.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) pipeline: u16,
    /// Bytes of each value.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) value_bytes: u32,
    /// Number of keys.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) keys: u32,
    /// Percent of the commands that read; the others write.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) reads: u8,
    /// Go ahead although there are keys of others.
    #[arg(long)]
    pub(crate) yes: bool,
    /// An object of the cluster, not of this machine. Set when run as `kubectl orrery`.
    #[arg(long)]
    pub(crate) cluster: bool,
    #[command(flatten)]
    pub(crate) choice: ClusterChoice,
    #[command(flatten)]
    pub(crate) data: DataFolder,
}

/// How to speak TLS, as redis-cli has it.
#[derive(Debug, Default, Args)]
pub(crate) struct TlsChoice {
    /// Speak TLS; taken for granted with any flag below, and for an object with spec.resp.tls.
    #[arg(long)]
    pub(crate) tls: bool,
    /// Authority of the certificate the service shows, as PEM.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) cacert: Option<PathBuf>,
    /// Trust any certificate.
    #[arg(long, conflicts_with = "cacert")]
    pub(crate) insecure: bool,
    /// Name the certificate must have; else the host, and for an object of a cluster its Service -rw.
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// Certificate to show, as PEM.
    #[arg(long, requires = "key", value_hint = ValueHint::FilePath)]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key, as PEM.
    #[arg(long, requires = "cert", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
}

impl TlsChoice {
    /// Whether any of it was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        let named = self.cacert.is_some() || self.sni.is_some() || self.cert.is_some();
        self.tls || self.insecure || named
    }
}
