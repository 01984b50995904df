//! A client's socket: TCP, TLS over TCP, or Unix; non-blocking.

pub(crate) mod tls;

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use self::tls::TlsStream;

/// The kinds of socket behave the same after they are accepted.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(mio::net::TcpStream),
    Tls(Box<TlsStream>),
    Unix(mio::net::UnixStream),
}

impl Stream {
    /// Registers for both directions once, edge-triggered: no further system call per request.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, both),
            Self::Tls(stream) => stream.socket_mut().register(registry, token, both),
            Self::Unix(stream) => stream.register(registry, token, both),
        }
    }

    /// The peer's and our own address, as `CLIENT LIST` shows them.
    pub(crate) fn addresses(&self, unix_path: &str) -> (String, String) {
        let text = |address: io::Result<std::net::SocketAddr>| {
            address.map_or_else(|_| "?:0".to_owned(), |a| a.to_string())
        };
        match self.tcp() {
            Some(stream) => (text(stream.peer_addr()), text(stream.local_addr())),
            None => (format!("{unix_path}:0"), format!("{unix_path}:0")),
        }
    }

    /// Small replies must not wait for the peer's acknowledgement, and a peer that is gone without
    /// a word is noticed after `keepalive_seconds` (0 = never).
    pub(crate) fn set_options(&self, keepalive_seconds: i64) -> io::Result<()> {
        let Some(stream) = self.tcp() else { return Ok(()) };
        stream.set_nodelay(true)?;
        if keepalive_seconds > 0 {
            let keepalive = socket2::TcpKeepalive::new()
                .with_time(Duration::from_secs(keepalive_seconds as u64))
                .with_interval(Duration::from_secs((keepalive_seconds as u64 / 3).max(1)))
                .with_retries(3);
            socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
        }
        Ok(())
    }

    /// Whether the peer is a process of this machine that came by TCP.
    pub(crate) fn is_from_loopback(&self) -> bool {
        let Some(stream) = self.tcp() else { return false };
        stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
    }

    /// The TCP socket, with or without TLS on it.
    fn tcp(&self) -> Option<&mio::net::TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.socket()),
            Self::Unix(_) => None,
        }
    }

    /// Whether a read that gave `len` bytes of `asked` has emptied the socket, so that the next
    /// bytes will be announced by another event.
    #[inline]
    pub(crate) fn is_emptied(&self, len: usize, asked: usize) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => len < asked,
            Self::Tls(stream) => stream.is_emptied(),
        }
    }

    /// Bytes that were taken by a write wait for the socket.
    #[inline]
    pub(crate) fn owes_bytes(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream.owes_bytes(),
        }
    }

    /// Whether no byte of a request can have come yet.
    #[inline]
    pub(crate) fn is_handshaking(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream.is_handshaking(),
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// The number of its file descriptor.
    pub(crate) fn descriptor(&self) -> i32 {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Tls(stream) => stream.socket().as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
