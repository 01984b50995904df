//! Where everything of one `orrery up` lies: its data folder.
//!
//! ```text
//! .orrery/
//!   lock            held as long as the process lives; its text is the pid
//!   ports.json      ports chosen once
//!   state.json      objects as they were last accepted
//!   run/            socket of the control channel, records of running processes
//!   logs/           one file per process, rotated
//!   volumes/        one folder per volume claim: the data
//!   mounts/         config maps, secrets and scratch folders as the processes see them
//! ```
//!
//! Must not: delete anything under `volumes/`.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Longest path a Unix socket may have everywhere, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Reading or writing the data folder failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} {}: {source}", path.display())]
pub struct FolderError {
    pub doing: &'static str,
    pub path: PathBuf,
    pub source: std::io::Error,
}

/// A data folder; the paths in it are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Creates the folder where it is missing; nobody but the user may look into it.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        make_folder(path)?;
        Self::at(path)
    }

    /// The folder at `path`, which must exist.
    pub fn at(path: &Path) -> Result<Self, FolderError> {
        let root = path.canonicalize();
        let root = root.map_err(|source| error("open the data folder", path, source))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn ports(&self) -> PathBuf {
        self.root.join("ports.json")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// Records of running processes.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Log file of a process.
    pub fn log(&self, namespace: &str, process: &str) -> PathBuf {
        self.logs().join(namespace).join(format!("{process}.log"))
    }

    /// The data of a volume claim.
    pub fn volume(&self, namespace: &str, claim: &str) -> PathBuf {
        self.root.join("volumes").join(namespace).join(claim)
    }

    /// A volume of a pod that is not a claim.
    pub fn mount(&self, namespace: &str, pod: &str, volume: &str) -> PathBuf {
        self.root.join("mounts").join(namespace).join(pod).join(volume)
    }

    /// The control channel. Where the path would be too long for a socket, a name made from it in
    /// the folder for temporary files; who connects is checked by user id either way.
    pub fn socket(&self) -> PathBuf {
        let path = self.run().join("orrery.sock");
        if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return path;
        }
        let digest = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let name =
            digest.iter().take(10).fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
        PathBuf::from(format!("/tmp/orrery-{name}.sock"))
    }
}

/// Creates a folder and those above it, for this user alone.
pub fn make_folder(path: &Path) -> Result<(), FolderError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| error("create", path, source))
}

/// Replaces a file as a whole: a crash leaves the old or the new content.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(|source| error("write", path, source))
}

/// The content of a file; none where there is no such file.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(error("read", path, source)),
    }
}

pub(crate) fn error(doing: &'static str, path: &Path, source: std::io::Error) -> FolderError {
    FolderError { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b.json");
        assert_eq!(read_file(&path).unwrap(), None);
        write_file(&path, b"1").unwrap();
        write_file(&path, b"2").unwrap();
        assert_eq!(read_file(&path).unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_long_folder_still_has_a_socket_path_that_fits() {
        let temporary = tempfile::tempdir().unwrap();
        let deep = temporary.path().join("x".repeat(120));
        let folder = Folder::create(&deep).unwrap();
        assert!(folder.socket().as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
        assert_eq!(folder.socket(), Folder::at(&deep).unwrap().socket());
        let short = Folder::create(temporary.path()).unwrap();
        assert!(short.socket().starts_with(short.root()));
    }
}
