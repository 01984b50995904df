//! A client's TCP socket with TLS between it and the parser, non-blocking as the plain ones.
//!
//! Must not: wait, or hold buffers that grow. Bytes of the peer are taken from the socket only as
//! far as the reader has room for them; bytes for the peer are encrypted only as far as the socket
//! took the ones before. What a peer can make this hold is one record, or one handshake message of
//! at most 64 KiB.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rustls::{ServerConfig, ServerConnection};

use crate::server::limits::HANDSHAKES_MAX;

/// The longest record on the wire (RFC 5246, section 6.2.3): what may be half received, and so come
/// on top of what is read now.
const RECORD_BYTES_MAX: usize = 5 + (16 << 10) + (2 << 10);
/// Encrypted at once. What the socket does not take of it stays in memory.
const WRITE_BYTES: usize = 64 << 10;

thread_local! {
    /// Bytes just read and not decrypted yet: one buffer serves all connections of a thread.
    static CIPHERTEXT: RefCell<Vec<u8>> = RefCell::new(vec![0; super::super::limits::READ_BYTES]);
}

/// What is counted of all TLS connections, and shown in `INFO` and in metrics.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) in_progress: AtomicU64,
    pub(crate) completed: AtomicU64,
    /// Handshakes that ended in anything but a connection.
    pub(crate) failed: AtomicU64,
    /// Certificates taken over, the one of the start included.
    pub(crate) loaded: AtomicU64,
    /// Certificates found in the folder that could not be used.
    pub(crate) unusable: AtomicU64,
    /// End of the certificate in use, in seconds since 1970; 0 = unknown or no TLS.
    pub(crate) expires_s: AtomicI64,
}

/// The state of TLS; gone once the connection was given away.
#[derive(Debug)]
struct Session(Option<ServerConnection>);

impl std::ops::Deref for Session {
    type Target = ServerConnection;

    fn deref(&self) -> &ServerConnection {
        self.0.as_ref().expect("a connection that was given away is not used again")
    }
}

impl std::ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut ServerConnection {
        self.0.as_mut().expect("a connection that was given away is not used again")
    }
}

/// One TLS connection.
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: mio::net::TcpStream,
    session: Session,
    tally: Arc<Tally>,
    /// The handshake has not ended, and is counted as being in progress.
    is_handshaking: bool,
    /// The last read took everything that was there.
    is_emptied: bool,
    /// The peer has sent its last byte.
    is_ended: bool,
}

impl TlsStream {
    /// A connection whose handshake begins; `ConnectionRefused` when too many have begun.
    pub(crate) fn accept(
        socket: mio::net::TcpStream,
        config: Arc<ServerConfig>,
        tally: Arc<Tally>,
    ) -> io::Result<Self> {
        if tally.in_progress.load(Ordering::Relaxed) >= HANDSHAKES_MAX {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(WRITE_BYTES));
        tally.in_progress.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            socket,
            session: Session(Some(session)),
            tally,
            is_handshaking: true,
            is_emptied: false,
            is_ended: false,
        })
    }

    pub(crate) fn socket(&self) -> &mio::net::TcpStream {
        &self.socket
    }

    pub(crate) fn socket_mut(&mut self) -> &mut mio::net::TcpStream {
        &mut self.socket
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.is_handshaking
    }

    /// Whether the last read left nothing behind.
    pub(crate) fn is_emptied(&self) -> bool {
        self.is_emptied && !self.is_ended
    }

    /// Encrypted bytes wait for the socket.
    pub(crate) fn owes_bytes(&self) -> bool {
        self.session.0.as_ref().is_some_and(|session| session.wants_write())
    }

    /// Gives the state of TLS away: from now on the connection can only be dropped. None before the
    /// handshake has ended.
    pub(crate) fn take_session(&mut self) -> Option<ServerConnection> {
        if self.is_handshaking { None } else { self.session.0.take() }
    }

    /// Takes decrypted bytes, as many as there are and fit.
    fn take_plain(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < out.len() {
            match self.session.reader().read(&mut out[filled..]) {
                Ok(0) => {
                    self.is_ended = true;
                    break;
                }
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Without a goodbye: every Redis client ends its connection so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.is_ended = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Decrypts `input` and takes what comes out of it.
    fn decrypt(&mut self, mut input: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while !input.is_empty() && !self.is_ended {
            if self.session.read_tls(&mut input)? == 0 {
                break;
            }
            if let Err(error) = self.session.process_new_packets() {
                // The alert that says why; a peer that does not take it is closed all the same.
                let _ = self.flush();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            filled += self.take_plain(&mut out[filled..])?;
        }
        Ok(filled)
    }

    /// Reads the socket until it is empty or `out` might not hold what comes next.
    fn receive(&mut self, out: &mut [u8], ciphertext: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while !self.is_ended {
            let room = (out.len() - filled).saturating_sub(RECORD_BYTES_MAX).min(ciphertext.len());
            if room == 0 {
                break;
            }
            match self.socket.read(&mut ciphertext[..room]) {
                Ok(0) => self.is_ended = true,
                Ok(len) => {
                    filled += self.decrypt(&ciphertext[..len], &mut out[filled..])?;
                    if len < room {
                        self.is_emptied = true;
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_emptied = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Read for TlsStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.is_emptied = false;
        let mut filled = self.take_plain(out)?;
        filled += CIPHERTEXT
            .with_borrow_mut(|ciphertext| self.receive(&mut out[filled..], ciphertext))?;
        // Parts of the handshake, and whatever else the protocol answers by itself.
        self.flush()?;
        if self.is_handshaking && !self.session.is_handshaking() {
            self.is_handshaking = false;
            self.tally.in_progress.fetch_sub(1, Ordering::Relaxed);
            self.tally.completed.fetch_add(1, Ordering::Relaxed);
        }
        if filled == 0 && !self.is_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(filled)
    }
}

impl Write for TlsStream {
    /// Fewer bytes than given are taken only when the socket takes no more.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            self.flush()?;
            if self.owes_bytes() || self.is_handshaking || taken == bytes.len() {
                break;
            }
            let end = bytes.len().min(taken + WRITE_BYTES);
            let len = self.session.writer().write(&bytes[taken..end])?;
            if len == 0 {
                break;
            }
            taken += len;
        }
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Hands encrypted bytes to the socket, as many as it takes now.
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        if self.is_handshaking {
            self.tally.in_progress.fetch_sub(1, Ordering::Relaxed);
            self.tally.failed.fetch_add(1, Ordering::Relaxed);
        } else if self.session.0.is_some() {
            self.session.send_close_notify();
            // The goodbye is a courtesy: the peer may be gone, or its socket full.
            let _ = self.flush();
        }
    }
}
