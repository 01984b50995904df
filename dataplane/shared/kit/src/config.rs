//! Reads the one configuration file of a data plane.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// A parsed file, and the hash of the bytes it was parsed from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    pub value: T,
    /// SHA-256 in hex; `ReportResponse::config_hash`.
    pub hash: String,
}

/// Why a configuration cannot be used. The text is meant for the person who wrote the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// The message names line and column.
    #[error("failed to understand {}: {message}", path.display())]
    Parse { path: PathBuf, message: String },
}

/// Larger files are a mistake, not a configuration.
const BYTES_MAX: u64 = 4 << 20;

/// Reads and parses `path`. Unknown fields are refused when `T` says so.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Loaded<T>, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(read)?.len();
    if size > BYTES_MAX {
        let message =
            format!("{size} bytes are more than the {BYTES_MAX} a configuration may have");
        return Err(ConfigError::Parse { path: path.to_owned(), message });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    let value = serde_saphyr::from_str(&text).map_err(|error| ConfigError::Parse {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    Ok(Loaded { value, hash: orrery_operand::set_hash::hex(&Sha256::digest(text.as_bytes())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        databases: i32,
    }

    fn load_text(text: &str) -> Result<Loaded<Sample>, ConfigError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).expect("the folder is writable");
        load(&path)
    }

    #[test]
    fn a_file_becomes_a_value_with_the_hash_of_its_bytes() {
        let one = load_text("databases: 16\n").expect("the file is good");
        let two = load_text("databases: 16 \n").expect("the file is good");
        assert_eq!(one.value, Sample { databases: 16 });
        assert_eq!(one.hash.len(), 64);
        assert_ne!(one.hash, two.hash);
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = load_text("databases: 16\ndatabase: 3\n").expect_err("the field is unknown");
        assert!(error.to_string().contains("database"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Sample>(Path::new("/nonexistent/kv.yaml")).expect_err("no such file");
        assert!(error.to_string().contains("/nonexistent/kv.yaml"), "{error}");
    }
}
