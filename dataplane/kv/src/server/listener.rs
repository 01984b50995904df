//! The sockets clients connect to.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use orrery_kit::identity::Identity;
use socket2::{Domain, Protocol, Socket, Type};

use super::certificates::Certificates;
use super::stream::Stream;
use super::stream::tls::{Tally, TlsStream};

/// Pending connections the kernel keeps; the value of Redis' `tcp-backlog`.
const BACKLOG: i32 = 511;

/// Failed to listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("failed to listen on {address}: {source}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("failed to listen on {}: {source}", path.display())]
    Unix { path: PathBuf, source: io::Error },
}

/// One listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(mio::net::TcpListener),
    Tls {
        listener: mio::net::TcpListener,
        certificates: Box<Certificates>,
    },
    /// For followers, which show a certificate of this process's object.
    Peers {
        listener: mio::net::TcpListener,
        identity: Arc<Identity>,
        tally: Arc<Tally>,
    },
    Unix {
        listener: mio::net::UnixListener,
        path: PathBuf,
    },
}

impl Listener {
    /// Listens on a TCP address. `shared`: several shards listen on the same address and the
    /// kernel spreads connections over them.
    pub(crate) fn tcp(address: SocketAddr, shared: bool) -> Result<Self, ListenError> {
        open(address, shared).map(Self::Tcp)
    }

    /// The same, and every connection must speak TLS.
    pub(crate) fn tls(
        address: SocketAddr,
        certificates: Certificates,
    ) -> Result<Self, ListenError> {
        let listener = open(address, false)?;
        Ok(Self::Tls { listener, certificates: Box::new(certificates) })
    }

    /// Listens for followers: every connection must be mutual TLS.
    pub(crate) fn peers(address: SocketAddr, identity: Arc<Identity>) -> Result<Self, ListenError> {
        let listener = open(address, false)?;
        Ok(Self::Peers { listener, identity, tally: Arc::default() })
    }

    /// Takes new certificates over if there are some.
    pub(crate) fn look_after(&mut self, now_ms: u64) {
        if let Self::Tls { certificates, .. } = self {
            certificates.look(now_ms);
        }
    }

    /// Listens on a Unix socket; a socket file left by a dead process is replaced.
    pub(crate) fn unix(path: &Path) -> Result<Self, ListenError> {
        let open = || -> io::Result<mio::net::UnixListener> {
            if std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                std::fs::remove_file(path)?;
            }
            mio::net::UnixListener::bind(path)
        };
        open()
            .map(|listener| Self::Unix { listener, path: path.to_owned() })
            .map_err(|source| ListenError::Unix { path: path.to_owned(), source })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) | Self::Tls { listener, .. } | Self::Peers { listener, .. } => {
                listener.register(registry, token, Interest::READABLE)
            }
            Self::Unix { listener, .. } => listener.register(registry, token, Interest::READABLE),
        }
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(listener) | Self::Tls { listener, .. } | Self::Peers { listener, .. } => {
                listener.deregister(registry)
            }
            Self::Unix { listener, .. } => listener.deregister(registry),
        }
    }

    /// Asks to be told again of connections that are waiting.
    pub(crate) fn reregister(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) | Self::Tls { listener, .. } | Self::Peers { listener, .. } => {
                listener.reregister(registry, token, Interest::READABLE)
            }
            Self::Unix { listener, .. } => listener.reregister(registry, token, Interest::READABLE),
        }
    }

    /// The next connection; `None` when there is none right now.
    pub(crate) fn accept(&self) -> io::Result<Option<Stream>> {
        let accepted = match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Self::Tls { listener, certificates } => listener
                .accept()
                .and_then(|(socket, _)| certificates.accept(socket))
                .map(|stream| Stream::Tls(Box::new(stream))),
            Self::Peers { listener, identity, tally } => listener
                .accept()
                .and_then(|(socket, _)| {
                    let config = Arc::clone(&identity.current().peers);
                    TlsStream::accept(socket, config, Arc::clone(tally))
                })
                .map(|stream| Stream::Tls(Box::new(stream))),
            Self::Unix { listener, .. } => listener.accept().map(|(s, _)| Stream::Unix(s)),
        };
        match accepted {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where clients can reach it, with the port the kernel chose.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls { listener, .. } | Self::Peers { listener, .. } => {
                listener.local_addr().ok()
            }
            Self::Unix { .. } => None,
        }
    }

    pub(crate) fn unix_path(&self) -> &str {
        match self {
            Self::Tcp(_) | Self::Tls { .. } | Self::Peers { .. } => "",
            Self::Unix { path, .. } => path.to_str().unwrap_or(""),
        }
    }
}

fn open(address: SocketAddr, shared: bool) -> Result<mio::net::TcpListener, ListenError> {
    let open = || -> io::Result<mio::net::TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(mio::net::TcpListener::from_std(socket.into()))
    };
    open().map_err(|source| ListenError::Tcp { address, source })
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self {
            // Another process may have taken the file away already; there is nothing to repair.
            let _ = std::fs::remove_file(path);
        }
    }
}
