//! Where an archive is and how it is reached: the operator's words, checked once.

use std::path::PathBuf;
use std::time::Duration;

use orrery_api::kv::config::{
    ARCHIVE_INTERVAL_SECONDS_DEFAULT, ARCHIVE_INTERVAL_SECONDS_MAX, ARCHIVE_RETENTION_SECONDS_MAX,
    ARCHIVE_SECRET, ArchiveFile, RECOVERY_SECRET, RecoveryFile,
};
use orrery_archive::Target;
use orrery_blob::{Access, Address, BlobError};

/// Longest address of a server, in bytes.
const ENDPOINT_BYTES_MAX: usize = 1024;

/// Refused where an archive is to be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{field} is {value}, allowed is {low} to {high}")]
    OutOfRange { field: &'static str, value: i64, low: i64, high: i64 },
    #[error("{field}: {source}")]
    Store { field: &'static str, source: BlobError },
    #[error("{field} is no http:// or https:// address of a server")]
    Endpoint { field: &'static str },
    #[error("recovery has both targetTimeUs and targetPosition: one of them is possible")]
    TwoTargets,
}

/// `value` if it is within its bounds.
fn within(field: &'static str, value: i64, low: i64, high: i64) -> Result<i64, ConfigError> {
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::OutOfRange { field, value, low, high })
}

/// Where and how often the journal is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveConfig {
    pub to: Address,
    pub access: Access,
    /// The object it belongs to, as `namespace/name`.
    pub object: String,
    /// What this object has and no other: its owner in the archive.
    pub owner: Option<String>,
    /// Longest time a record waits for its group to be put.
    pub interval: Duration,
    /// How far back every moment is kept; `None` = for ever.
    pub retention: Option<Duration>,
    /// Bytes of records after which a snapshot is worth its room.
    pub snapshot_after_bytes: u64,
    /// What the engine says of itself in the archive, once and for ever.
    pub engine: Option<String>,
}

/// What an empty data folder is filled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryConfig {
    pub from: Address,
    pub access: Access,
    pub target: Target,
    /// The line to follow; `None` = the newest.
    pub line: Option<u64>,
    /// The one member of a group that is filled.
    pub member: Option<String>,
}

impl ArchiveConfig {
    /// Credentials come from the folder that the environment names.
    pub fn of(
        file: ArchiveFile,
        object: String,
        snapshot_after_bytes: u64,
    ) -> Result<Self, ConfigError> {
        let interval = within(
            "archive.intervalSeconds",
            file.interval_seconds.unwrap_or(ARCHIVE_INTERVAL_SECONDS_DEFAULT),
            1,
            ARCHIVE_INTERVAL_SECONDS_MAX,
        )?;
        let retention = file.retention_seconds.map(|seconds| {
            within("archive.retentionSeconds", seconds, 1, ARCHIVE_RETENTION_SECONDS_MAX)
        });
        Ok(Self {
            to: address("archive.to", &file.to)?,
            access: access(ARCHIVE_SECRET, "archive.endpoint", file.endpoint, file.region)?,
            object,
            owner: file.owner.filter(|owner| !owner.is_empty()),
            interval: Duration::from_secs(interval as u64),
            retention: retention.transpose()?.map(|seconds| Duration::from_secs(seconds as u64)),
            snapshot_after_bytes,
            engine: None,
        })
    }
}

impl RecoveryConfig {
    /// Credentials come from the folder that the environment names.
    pub fn of(file: RecoveryFile) -> Result<Self, ConfigError> {
        let target = match (file.target_time_us, file.target_position) {
            (None, None) => Target::Newest,
            (Some(time_us), None) => Target::Time(time_us),
            (None, Some(position)) => Target::Position(position),
            (Some(_), Some(_)) => return Err(ConfigError::TwoTargets),
        };
        let member = file.member.filter(|member| !member.is_empty());
        Ok(Self {
            line: file.target_epoch,
            member,
            from: address("recovery.from", &file.from)?,
            access: access(RECOVERY_SECRET, "recovery.endpoint", file.endpoint, file.region)?,
            target,
        })
    }
}

fn address(field: &'static str, text: &str) -> Result<Address, ConfigError> {
    text.parse().map_err(|source| ConfigError::Store { field, source })
}

fn access(
    secret: &str,
    field: &'static str,
    endpoint: Option<String>,
    region: Option<String>,
) -> Result<Access, ConfigError> {
    let endpoint = endpoint.filter(|url| !url.is_empty());
    if let Some(url) = &endpoint {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '@';
        if url.len() > ENDPOINT_BYTES_MAX
            || host.is_none_or(|host| host.is_empty() || !host.chars().all(is_plain))
        {
            return Err(ConfigError::Endpoint { field });
        }
    }
    Ok(Access {
        secret: std::env::var_os(secret).map(PathBuf::from),
        endpoint,
        region: region.filter(|region| !region.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> ArchiveFile {
        ArchiveFile { to: "s3://backups/kv".into(), ..ArchiveFile::default() }
    }

    fn refusal(file: ArchiveFile) -> String {
        ArchiveConfig::of(file, "default/kv".into(), 1).expect_err("refused").to_string()
    }

    #[test]
    fn an_address_is_enough() {
        let config = ArchiveConfig::of(archive(), "default/kv".into(), 1).expect("it is fine");
        assert_eq!((config.interval, config.retention), (Duration::from_secs(10), None));
        assert_eq!(config.access, Access::default());
        let file = RecoveryFile { from: "file:///archive".into(), ..RecoveryFile::default() };
        assert_eq!(RecoveryConfig::of(file).expect("it is fine").target, Target::Newest);
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_with_its_field() {
        let to = ArchiveFile { to: "https://host".into(), ..archive() };
        assert!(refusal(to).contains("archive.to"));
        let interval = ArchiveFile { interval_seconds: Some(0), ..archive() };
        assert!(refusal(interval).contains("archive.intervalSeconds is 0"));
        let retention = ArchiveFile { retention_seconds: Some(0), ..archive() };
        assert!(refusal(retention).contains("archive.retentionSeconds is 0"));
        for endpoint in ["minio:9000", "http://", "http://user:secret@minio", "http://a b"] {
            let file = ArchiveFile { endpoint: Some(endpoint.into()), ..archive() };
            let text = refusal(file);
            assert!(text.contains("archive.endpoint") && !text.contains("secret"), "{text}");
        }
        let both = RecoveryFile {
            from: "file:///archive".into(),
            target_time_us: Some(1),
            target_position: Some(1),
            ..RecoveryFile::default()
        };
        let text = RecoveryConfig::of(both).expect_err("two targets").to_string();
        assert!(text.contains("targetPosition"), "{text}");
    }
}
