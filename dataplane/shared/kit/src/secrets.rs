//! A folder of secret files, as Kubernetes mounts a Secret: one file per key.

use std::path::{Path, PathBuf};

/// A secret text. It has no `Display`, and `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that compares or sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Why a secret cannot be read. Never says anything of its content.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the secret file {}: {source}", path.display())]
pub struct SecretError {
    path: PathBuf,
    source: std::io::Error,
}

/// The secrets of this process.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    folder: Option<PathBuf>,
}

impl Secrets {
    /// `None` = no secrets at all, as on a laptop.
    pub fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_owned) }
    }

    /// The secret called `key`; `None` when there is no such file. A trailing line end is not part
    /// of it. An empty or unreadable file is an error, not an absent secret.
    pub fn get(&self, key: &str) -> Result<Option<Secret>, SecretError> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let path = folder.join(key);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() {
                    let source = std::io::Error::other("it is empty");
                    return Err(SecretError { path, source });
                }
                Ok(Some(Secret::new(text)))
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SecretError { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_without_its_line_end_and_never_shown() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("password"), "hunter2\n").expect("writable");
        let secrets = Secrets::new(Some(folder.path()));
        let secret = secrets.get("password").expect("readable").expect("present");
        assert_eq!(secret.reveal(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(secrets.get("token").expect("absence is no error").is_none());
    }

    #[test]
    fn an_empty_secret_is_an_error_and_not_an_open_door() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("password"), "\n").expect("writable");
        Secrets::new(Some(folder.path())).get("password").expect_err("it is empty");
    }
}
