//! Addresses: `file:///folder` or `s3://bucket/prefix`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::BlobError;

/// Longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 1024;

/// Where a store lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A folder of this machine, mostly the mount of a volume.
    Folder(PathBuf),
    /// Objects of a bucket whose names begin with `prefix` (which may be empty).
    Bucket { bucket: String, prefix: String },
}

impl Address {
    /// The address of something below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => {
                Self::Bucket { bucket: bucket.clone(), prefix: name.to_owned() }
            }
            Self::Bucket { bucket, prefix } => {
                Self::Bucket { bucket: bucket.clone(), prefix: format!("{prefix}/{name}") }
            }
        }
    }
}

impl FromStr for Address {
    type Err = BlobError;

    fn from_str(address: &str) -> Result<Self, BlobError> {
        let refused = |reason| BlobError::Address { address: address.to_owned(), reason };
        if address.len() > ADDRESS_BYTES_MAX {
            return Err(BlobError::Address { address: String::new(), reason: "it is too long" });
        }
        if address.chars().any(char::is_control) {
            return Err(refused("it holds control characters"));
        }
        if let Some(folder) = address.strip_prefix("file://") {
            if !folder.starts_with('/') {
                return Err(refused("the folder is no absolute path"));
            }
            if folder.split('/').any(|part| part == "..") {
                return Err(refused("the folder climbs with `..`"));
            }
            return Ok(Self::Folder(PathBuf::from(folder)));
        }
        let Some(rest) = address.strip_prefix("s3://") else {
            return Err(refused("it begins with neither file:// nor s3://"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || !bucket.chars().all(is_plain) {
            return Err(refused("it has no usable name of a bucket"));
        }
        let prefix = prefix.trim_end_matches('/');
        let is_odd = |part: &str| matches!(part, "" | "." | "..");
        if !prefix.is_empty() && prefix.split('/').any(is_odd) {
            return Err(refused("the prefix has an empty or relative part"));
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "file://{}", folder.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_read_and_shown_again() {
        for address in ["file:///backups/kv", "s3://backups", "s3://backups/team/kv"] {
            let read: Address = address.parse().expect("it is an address");
            assert_eq!(read.to_string(), address);
        }
        let bucket: Address = "s3://backups/".parse().expect("a bucket");
        assert_eq!(bucket.join("kv").to_string(), "s3://backups/kv");
        assert_eq!(bucket.join("kv").join("a").to_string(), "s3://backups/kv/a");
        let folder: Address = "file:///backups".parse().expect("a folder");
        assert_eq!(folder.join("kv").to_string(), "file:///backups/kv");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (address, reason) in [
            ("", "neither"),
            ("/backups", "neither"),
            ("https://host/bucket", "neither"),
            ("file://backups", "absolute"),
            ("file:///backups/../etc", "climbs"),
            ("s3://", "bucket"),
            ("s3://user:secret@host", "bucket"),
            ("s3://backups//kv", "prefix"),
            ("s3://backups/../kv", "prefix"),
            ("s3://backups/a\nb", "control"),
        ] {
            let error = address.parse::<Address>().expect_err(address).to_string();
            assert!(error.contains(reason), "{address}: {error}");
        }
        assert!("s3://".to_owned().repeat(1000).parse::<Address>().is_err());
    }
}
