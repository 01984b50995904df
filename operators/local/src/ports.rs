//! The port book: each named port of each pod gets a port of this machine once and keeps it.
//!
//! A port is *proven* when a process served on it. An unproven port that turns out to be taken is
//! chosen anew; a proven one is kept, because clients know it, and the process waits for it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

use crate::folder::{Folder, FolderError, read_file, write_file};

/// `<namespace>/<pod>/<port name>`.
pub type PortKey = String;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Chosen {
    port: u16,
    proven: bool,
}

/// All ports of a data folder.
#[derive(Debug)]
pub struct PortBook {
    folder: Folder,
    chosen: BTreeMap<PortKey, Chosen>,
}

/// Why no port could be given.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error(
        "port {port} of {key} is taken by another program; stop it, or remove the entry from {book}"
    )]
    Taken { key: PortKey, port: u16, book: String },
    #[error("failed to find a free port: {0}")]
    None(std::io::Error),
    #[error("failed to understand {book}: {message}; remove it to choose ports anew")]
    Broken { book: String, message: String },
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl PortBook {
    /// Reads the book of a data folder.
    pub fn open(folder: &Folder) -> Result<Self, PortError> {
        let path = folder.ports();
        let chosen = match read_file(&path)? {
            None => BTreeMap::new(),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| PortError::Broken {
                book: path.display().to_string(),
                message: error.to_string(),
            })?,
        };
        Ok(Self { folder: folder.clone(), chosen })
    }

    /// The port of `key` that can be listened on right now; `declared` is tried first when it is
    /// chosen for the first time.
    pub fn port(&mut self, key: &str, declared: u16) -> Result<u16, PortError> {
        if let Some(chosen) = self.chosen.get(key) {
            if is_free(chosen.port) {
                return Ok(chosen.port);
            }
            if chosen.proven {
                let book = self.folder.ports().display().to_string();
                return Err(PortError::Taken { key: key.to_owned(), port: chosen.port, book });
            }
        }
        let others = |port| self.chosen.iter().any(|(k, c)| c.port == port && k != key);
        let port = if declared != 0 && !others(declared) && is_free(declared) {
            declared
        } else {
            free_port(others).map_err(PortError::None)?
        };
        self.chosen.insert(key.to_owned(), Chosen { port, proven: false });
        self.save()?;
        Ok(port)
    }

    /// Remembers that a process served on its ports.
    pub fn prove<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>) -> Result<(), PortError> {
        let mut changed = false;
        for key in keys {
            if let Some(chosen) = self.chosen.get_mut(key).filter(|chosen| !chosen.proven) {
                chosen.proven = true;
                changed = true;
            }
        }
        if changed { self.save() } else { Ok(()) }
    }

    fn save(&self) -> Result<(), PortError> {
        let text = serde_json::to_vec_pretty(&self.chosen).unwrap_or_default();
        Ok(write_file(&self.folder.ports(), &text)?)
    }
}

/// Whether a server could listen on this loopback port now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Attempts until the kernel offers a port that the book has not given away.
const ATTEMPTS_MAX: usize = 64;

fn free_port(given_away: impl Fn(u16) -> bool) -> std::io::Result<u16> {
    let mut held = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        if !given_away(port) {
            return Ok(port);
        }
        // Kept open so that the kernel offers another one.
        held.push(listener);
    }
    Err(std::io::Error::other("every port offered is given away already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(temporary.path()).unwrap();
        (temporary, folder)
    }

    fn busy() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_port_is_chosen_once_and_kept_over_restarts() {
        let (_keep, folder) = folder();
        let mut book = PortBook::open(&folder).unwrap();
        let port = book.port("ns/a-0/resp", 0).unwrap();
        assert_eq!(book.port("ns/a-0/resp", 0).unwrap(), port);
        let mut again = PortBook::open(&folder).unwrap();
        assert_eq!(again.port("ns/a-0/resp", 0).unwrap(), port);
        assert_ne!(again.port("ns/b-0/resp", port).unwrap(), port, "it is given away");
    }

    #[test]
    fn the_declared_port_is_tried_first() {
        let (_keep, folder) = folder();
        let mut book = PortBook::open(&folder).unwrap();
        let (listener, port) = busy();
        assert_ne!(book.port("ns/a-0/resp", port).unwrap(), port, "it is taken");
        drop(listener);
        assert_eq!(book.port("ns/b-0/resp", port).unwrap(), port);
    }

    #[test]
    fn a_proven_port_that_is_taken_is_waited_for_and_an_unproven_one_is_not() {
        let (_keep, folder) = folder();
        let mut book = PortBook::open(&folder).unwrap();
        let (listener, port) = busy();
        drop(listener);
        assert_eq!(book.port("ns/a-0/resp", port).unwrap(), port);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let other = book.port("ns/a-0/resp", port).unwrap();
        assert_ne!(other, port, "nobody knows the first choice yet");
        book.prove(["ns/a-0/resp"]).unwrap();
        let _also = TcpListener::bind((Ipv4Addr::LOCALHOST, other)).unwrap();
        let error = PortBook::open(&folder).unwrap().port("ns/a-0/resp", port).unwrap_err();
        assert!(error.to_string().contains(&format!("port {other} ")), "{error}");
        drop(taken);
    }
}
