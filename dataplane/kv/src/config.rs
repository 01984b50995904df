//! What one engine was told to do: the operator's file, checked once and in the engine's own types.
//!
//! The file itself is [`KvConfig`] of `orrery-api`, which the operator writes. Nothing behind this
//! file reads it again, so what this version cannot carry out is refused here or nowhere.

use std::path::PathBuf;

use orrery_api::kv::config::{
    SNAPSHOT_AFTER_BYTES_DEFAULT, SNAPSHOT_AFTER_BYTES_MAX, SNAPSHOT_AFTER_BYTES_MIN,
    UNIX_SOCKET_BYTES_MAX,
};
use orrery_api::kv::layout::SHARDS_MAX;
use orrery_api::kv::{Class, KvConfig, Layout};
use orrery_archiving::config::{ArchiveConfig, ConfigError, RecoveryConfig};
use orrery_carrying::Carried;

use crate::namespaces::NotYet;

/// A configuration that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Numbered databases of the RESP protocol, at least 1.
    pub(crate) databases: u16,
    /// Class of keys that match no KVNamespace.
    pub(crate) default_class: Class,
    /// Bytes of keys and values; 0 = no limit.
    pub(crate) memory_limit_bytes: u64,
    /// Connections at the same time, at least 1.
    pub(crate) clients_max: usize,
    /// Journal bytes after which a snapshot is written.
    pub(crate) snapshot_after_bytes: u64,
    /// A Unix socket to listen on besides TCP.
    pub(crate) unix_socket: Option<PathBuf>,
    /// Allows the harmless part of `DEBUG`, for test suites.
    pub(crate) debug_commands: bool,
    /// Where the journal is archived.
    pub(crate) archive: Option<ArchiveConfig>,
    /// What an empty data folder is filled from.
    pub(crate) recovery: Option<RecoveryConfig>,
    /// It is one of several and waits to be told its role.
    pub(crate) is_grouped: bool,
    /// What carries the journal, if it is not on this machine alone.
    pub(crate) carried: Option<Carried>,
    /// How the keys are spread over shards, and which of them this process has.
    pub(crate) spread: Option<Spread>,
}

/// The shards of an object, and this process's part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) layout: Layout,
    /// Name of this process.
    pub(crate) pod: String,
    /// The shards that it has, at least one.
    pub(crate) own: Vec<u32>,
}

impl Spread {
    fn of(layout: Layout, pod: &str) -> Result<Self, Unusable> {
        if !layout.is_possible() {
            return Err(Unusable::Layout);
        }
        let number = pod.rsplit('-').next().and_then(|number| number.parse().ok());
        // Where every pod has every shard, one beyond their number is on its way out.
        let own: Vec<u32> = match number {
            _ if layout.copies == layout.pods => (0..layout.shards).collect(),
            Some(number) if number < layout.pods => layout.shards_of(number),
            _ => return Err(Unusable::Pod { pod: pod.to_owned(), pods: layout.pods }),
        };
        if own.is_empty() {
            return Err(Unusable::Layout);
        }
        Ok(Self { layout, pod: pod.to_owned(), own })
    }
}

impl Config {
    /// The shards that this process has, by id.
    pub(crate) fn shards(&self) -> Vec<u32> {
        self.spread.as_ref().map_or_else(|| vec![0], |spread| spread.own.clone())
    }

    /// Whether the object has several shards.
    pub(crate) fn has_several(&self) -> bool {
        self.spread.as_ref().is_some_and(|spread| spread.layout.shards > 1)
    }

    /// Bytes of keys and values of one shard; 0 = no limit.
    pub(crate) fn memory_of_shard(&self) -> u64 {
        let shards = self.shards().len() as u64;
        // Rounded up, so that a limit stays one.
        self.memory_limit_bytes.div_ceil(shards)
    }
}

/// Refused a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{field} is {value}, allowed is {low} to {high}")]
    OutOfRange { field: &'static str, value: i64, low: i64, high: i64 },
    #[error("journal {0} needs group: true, as several processes may want to write it")]
    CarriedAlone(&'static str),
    #[error("journal {0} cannot be archived or recovered by this version")]
    CarriedArchive(&'static str),
    #[error("defaultClass: {0}")]
    Class(#[from] NotYet),
    #[error(transparent)]
    Archive(#[from] ConfigError),
    #[error("archive.owner is needed in a group: its members share the archive")]
    NoOwner,
    #[error("recovery.member is needed in a group: one member is filled, the others copy from it")]
    NoMember,
    #[error("cluster is impossible: 1 to {SHARDS_MAX} shards, and at most as many copies as pods")]
    Layout,
    #[error("{pod:?} is none of the {pods} pods of the cluster, which end in their number")]
    Pod { pod: String, pods: u32 },
    #[error("a journal of several shards cannot be archived or recovered by this version")]
    ClusterArchive,
    #[error("unixSocket has {bytes} bytes, at most {UNIX_SOCKET_BYTES_MAX} are possible")]
    SocketPath { bytes: usize },
}

/// `value` if it is within its bounds.
pub(crate) fn within(
    field: &'static str,
    value: i64,
    low: i64,
    high: i64,
) -> Result<i64, Unusable> {
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    Err(Unusable::OutOfRange { field, value, low, high })
}

impl Config {
    /// What the process called `pod` has of the file.
    pub(crate) fn of(file: KvConfig, pod: &str) -> Result<Self, Unusable> {
        let spread = file.cluster.map(|layout| Spread::of(layout, pod)).transpose()?;
        within("shards", file.shards.into(), 1, 1)?;
        let databases = within("databases", file.databases.into(), 1, u16::MAX.into())?;
        let clients = within("maxClients", file.max_clients.into(), 1, i32::MAX.into())?;
        let memory = within("memoryLimitBytes", file.memory_limit_bytes, 0, i64::MAX)?;
        let snapshot_after = within(
            "snapshotAfterBytes",
            file.snapshot_after_bytes.unwrap_or(SNAPSHOT_AFTER_BYTES_DEFAULT),
            SNAPSHOT_AFTER_BYTES_MIN,
            SNAPSHOT_AFTER_BYTES_MAX,
        )?;
        let unix_socket = file.unix_socket.filter(|path| !path.is_empty());
        match &unix_socket {
            Some(path) if path.len() > UNIX_SOCKET_BYTES_MAX => {
                return Err(Unusable::SocketPath { bytes: path.len() });
            }
            _ => {}
        }
        let is_grouped = file.group.unwrap_or(false);
        let object = format!("{}/{}", file.object.namespace, file.object.name);
        let carried = file
            .journal
            .caps()
            .carried
            .then(|| Carried { backend: file.journal, object: object.clone() });
        if carried.is_some() && !is_grouped {
            return Err(Unusable::CarriedAlone(file.journal.as_str()));
        }
        if carried.is_some() && (file.archive.is_some() || file.recovery.is_some()) {
            return Err(Unusable::CarriedArchive(file.journal.as_str()));
        }
        let archive = file
            .archive
            .map(|archive| ArchiveConfig::of(archive, object, snapshot_after as u64))
            .transpose()?;
        if is_grouped && archive.as_ref().is_some_and(|archive| archive.owner.is_none()) {
            return Err(Unusable::NoOwner);
        }
        let recovery = file.recovery.map(RecoveryConfig::of).transpose()?;
        if is_grouped && recovery.as_ref().is_some_and(|recovery| recovery.member.is_none()) {
            return Err(Unusable::NoMember);
        }
        let has_several = spread.as_ref().is_some_and(|spread| spread.layout.shards > 1);
        if has_several && (archive.is_some() || recovery.is_some()) {
            return Err(Unusable::ClusterArchive);
        }
        Ok(Self {
            spread,
            archive,
            recovery,
            databases: databases as u16,
            default_class: NotYet::check(file.default_class)?,
            memory_limit_bytes: memory as u64,
            clients_max: clients as usize,
            snapshot_after_bytes: snapshot_after as u64,
            unix_socket: unix_socket.map(PathBuf::from),
            debug_commands: file.debug_commands.unwrap_or(false),
            is_grouped,
            carried,
        })
    }
}

#[cfg(test)]
mod tests {
    use orrery_api::kv::config::{ArchiveFile, RecoveryFile};

    use super::*;

    fn refusal(file: KvConfig) -> String {
        Config::of(file, "a-kv-0").expect_err("it cannot be carried out").to_string()
    }

    #[test]
    fn an_empty_file_is_a_working_engine() {
        let config = Config::of(KvConfig::default(), "").expect("it can be carried out");
        assert_eq!((config.databases, config.default_class), (16, Class::Store));
        assert_eq!(config.snapshot_after_bytes, 256 << 20);
        assert!(config.unix_socket.is_none() && !config.debug_commands);
    }

    #[test]
    fn an_empty_path_is_no_socket() {
        let file = KvConfig { unix_socket: Some(String::new()), ..KvConfig::default() };
        assert_eq!(Config::of(file, "").expect("it is fine").unix_socket, None);
    }

    #[test]
    fn a_process_has_the_shards_of_its_pod() {
        let of = |layout: (u32, u32, u32), pod: &str| {
            let (shards, pods, copies) = layout;
            let cluster = Some(Layout { shards, pods, copies });
            let file = KvConfig { cluster, memory_limit_bytes: 100, ..KvConfig::default() };
            Config::of(file, pod).map_err(|error| error.to_string())
        };
        let own = |layout, pod| of(layout, pod).map(|config| config.shards());
        assert_eq!(own((6, 3, 1), "a-kv-2"), Ok(vec![2, 5]));
        assert_eq!(own((6, 3, 2), "a-kv-2"), Ok(vec![1, 2, 3, 5]));
        assert_eq!(own((2, 3, 3), "a-kv-7"), Ok(vec![0, 1]), "on its way out");
        assert_eq!(own((2, 1, 1), ""), Ok(vec![0, 1]), "without a name where there is one process");
        assert_eq!(of((3, 1, 1), "").map(|config| config.memory_of_shard()), Ok(34));
        for pod in ["a-kv-3", "a", ""] {
            assert!(own((6, 3, 1), pod).is_err_and(|why| why.contains("none of the 3 pods")));
        }
        for layout in [(0, 1, 1), (65, 1, 1), (1, 1, 2), (1, 0, 0)] {
            assert!(own(layout, "a-kv-0").is_err_and(|why| why.contains("impossible")));
        }
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_with_its_field() {
        let base = KvConfig::default;
        assert!(refusal(KvConfig { shards: 2, ..base() }).contains("shards is 2"));
        assert!(refusal(KvConfig { databases: 0, ..base() }).contains("databases is 0"));
        assert!(refusal(KvConfig { databases: 65_536, ..base() }).contains("1 to 65535"));
        assert!(refusal(KvConfig { max_clients: 0, ..base() }).contains("maxClients"));
        assert!(refusal(KvConfig { memory_limit_bytes: -1, ..base() }).contains("memoryLimit"));
        let seldom = KvConfig { snapshot_after_bytes: Some(1), ..base() };
        assert!(refusal(seldom).contains("snapshotAfterBytes is 1"));
        let long = KvConfig { unix_socket: Some("x".repeat(108)), ..base() };
        assert!(refusal(long).contains("108 bytes"));
        assert!(refusal(KvConfig { default_class: Class::Flag, ..base() }).contains("Flag"));
        let archive = Some(ArchiveFile { to: "file:///archive".into(), ..ArchiveFile::default() });
        let of_group = KvConfig { group: Some(true), archive, ..base() };
        assert!(refusal(of_group).contains("archive.owner"));
        let recovery = RecoveryFile { from: "file:///archive".into(), ..RecoveryFile::default() };
        let of_group = KvConfig { group: Some(true), recovery: Some(recovery), ..base() };
        assert!(refusal(of_group).contains("recovery.member"));
    }
}
