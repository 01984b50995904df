//! The socket of a link: plain, or with TLS on it. Blocking, and shared by a thread that reads and a
//! thread that writes.
//!
//! Must not: hold the session while the socket waits, or the other direction would wait as well. One
//! clone reads and one writes; what the session has to say by itself leaves with the next write.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use orrery_kit::identity::Identity;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConnection};

/// Ciphertext read at once.
const READ_BYTES: usize = 32 << 10;
/// Encrypted at once.
const WRITE_BYTES: usize = 64 << 10;

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: TcpStream,
    secured: Option<Secured>,
}

/// TLS on a socket, and the buffers of one clone.
#[derive(Debug)]
struct Secured {
    session: Arc<Mutex<Connection>>,
    ciphertext: Vec<u8>,
    /// Decrypted and not read yet.
    plain: Vec<u8>,
    at: usize,
}

impl Secured {
    fn new(session: Arc<Mutex<Connection>>) -> Self {
        Self { session, ciphertext: Vec::new(), plain: Vec::new(), at: 0 }
    }
}

impl Socket {
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self { socket, secured: None }
    }

    /// Of a peer whose handshake is over.
    pub(crate) fn accepted(socket: TcpStream, session: ServerConnection) -> Self {
        Self::over(socket, session.into())
    }

    /// Connects over mutual TLS to another process of the same object.
    pub(crate) fn connect_to_peer(socket: TcpStream, identity: &Identity) -> io::Result<Self> {
        let config = Arc::clone(&identity.current().dial);
        Self::connect(socket, config, identity.name().clone())
    }

    /// Connects over TLS to a server that must show a certificate for `name`. Takes as long as the
    /// socket's time limits allow.
    pub(crate) fn connect(
        mut socket: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let session = ClientConnection::new(config, name);
        let mut session = session.map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self::over(socket, session.into()))
    }

    fn over(socket: TcpStream, mut session: Connection) -> Self {
        // What is given to it is taken out at once.
        session.set_buffer_limit(None);
        Self { socket, secured: Some(Secured::new(Arc::new(Mutex::new(session)))) }
    }

    /// Another handle of the same end, without what this one has buffered.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let secured = self.secured.as_ref();
        let secured = secured.map(|secured| Secured::new(Arc::clone(&secured.session)));
        Ok(Self { socket: self.socket.try_clone()?, secured })
    }

    /// The socket below, for its settings and its end.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.socket
    }
}

impl Read for Socket {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(secured) = &mut self.secured else { return self.socket.read(out) };
        let mut is_ended = false;
        loop {
            let rest = &secured.plain[secured.at..];
            if !rest.is_empty() || is_ended || out.is_empty() {
                let len = rest.len().min(out.len());
                out[..len].copy_from_slice(&rest[..len]);
                secured.at += len;
                return Ok(len);
            }
            secured.plain.clear();
            secured.at = 0;
            // What came with the handshake may be in the session already.
            is_ended = secured.take_plain()?;
            if secured.plain.is_empty() && !is_ended {
                secured.ciphertext.resize(READ_BYTES, 0);
                let read = self.socket.read(&mut secured.ciphertext)?;
                is_ended = secured.decrypt(read)?;
            }
        }
    }
}

impl Secured {
    /// Takes what is decrypted; true when the peer has said that this was all.
    fn take_plain(&mut self) -> io::Result<bool> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        take_plain(&mut session, &mut self.plain)
    }

    /// Decrypts the first `read` bytes of what was read; none are the end of the socket.
    fn decrypt(&mut self, read: usize) -> io::Result<bool> {
        if read == 0 {
            return Ok(true);
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut input = &self.ciphertext[..read];
        let mut is_ended = false;
        while !input.is_empty() && !is_ended {
            if session.read_tls(&mut input)? == 0 {
                break;
            }
            let processed = session.process_new_packets();
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            is_ended = take_plain(&mut session, &mut self.plain)?;
        }
        Ok(is_ended)
    }
}

fn take_plain(session: &mut Connection, plain: &mut Vec<u8>) -> io::Result<bool> {
    let mut reader = session.reader();
    let mut piece = [0; 4096];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(true),
            Ok(read) => plain.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

impl Write for Socket {
    /// What was taken has left for the socket.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(secured) = &mut self.secured else { return self.socket.write(bytes) };
        let taken = &bytes[..bytes.len().min(WRITE_BYTES)];
        secured.ciphertext.clear();
        {
            let mut session = secured.session.lock().unwrap_or_else(PoisonError::into_inner);
            session.writer().write_all(taken)?;
            while session.wants_write() {
                session.write_tls(&mut secured.ciphertext)?;
            }
        }
        self.socket.write_all(&secured.ciphertext)?;
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
