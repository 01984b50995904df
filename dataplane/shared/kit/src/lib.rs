//! What every data plane starts with, so that each begins with its own job.
//!
//! | module | gives |
//! |---|---|
//! | [`accept`] | connections, a bounded number at the same time |
//! | [`certificates`] | a folder with a certificate, its key and perhaps an authority, for TLS |
//! | [`identity`] | the certificate of this process towards its operator and its own kind |
//! | [`config`] | one YAML file into a typed struct, with the hash the operator compares |
//! | [`env`] | the seam for clock and randomness; tests and simulations bring their own |
//! | [`listen`] | addresses from `ORRERY_LISTEN_<PORT>` |
//! | [`secrets`] | a folder of secret files, never shown |
//! | [`tls`] | what servers of somebody else are trusted by, and what they are shown |
//! | [`logs`] | text or JSON lines on standard error |
//! | [`mix`] | even bits from uneven numbers |
//! | [`health`] | alive and ready, as the probes and the operator ask |
//! | [`management`] | the thread that serves the management protocol, metrics and probes |
//! | [`process`] | what the system knows about this process: memory, room on a volume, limits |
//! | [`volume`] | says early that a volume fills up |
//! | [`vitals`] | the figures that the metrics of every data plane have |
//! | [`shutdown`] | SIGTERM and SIGINT as a flag with a callback |
//!
//! It must not know any system, nor Kubernetes.

pub mod accept;
pub mod certificates;
pub mod config;
pub mod env;
pub mod fence;
pub mod health;
pub mod identity;
pub mod listen;
pub mod logs;
pub mod management;
pub mod mix;
pub mod process;
pub mod secrets;
pub mod shutdown;
#[cfg(feature = "suite")]
pub mod suite;
pub mod tls;
pub mod vitals;
pub mod volume;

/// Exit code of a process whose journal failed: restart and recover, do not repair.
pub const EXIT_POISONED: u8 = 70;
