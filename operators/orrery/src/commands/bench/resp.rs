//! The client side of the Redis protocol, as far as load needs it.
//!
//! Replies are told apart and otherwise skipped. Everything read is bounded.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::tls::{Stream, Tls};

/// Longest wait for a connection, and for a reply.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest line of a reply: nothing that is asked for here has longer ones.
const LINE_BYTES_MAX: u64 = 4096;

/// A connection that has logged in.
#[derive(Debug)]
pub(super) struct Connection {
    reader: BufReader<Stream>,
}

/// What a reply was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Fine,
    Error(String),
}

impl Connection {
    pub(super) fn open(
        address: SocketAddr,
        tls: Option<&Tls>,
        login: Option<&(String, String)>,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)
            .with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let stream = match tls {
            Some(tls) => tls.connect(stream)?,
            None => Stream::Plain(stream),
        };
        let mut connection = Self { reader: BufReader::with_capacity(64 << 10, stream) };
        if let Some((user, password)) = login {
            let said = connection.call(&[b"AUTH", user.as_bytes(), password.as_bytes()])?;
            if said != "+OK" {
                bail!("the service does not let {user} in: {said}")
            }
        }
        Ok(connection)
    }

    /// Sends one command and gives the first line of its reply.
    pub(super) fn call(&mut self, args: &[&[u8]]) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        encode(args, &mut bytes);
        let answered = self.send(&bytes).and_then(|()| self.line());
        let line = answered.context("the service does not answer; does it speak TLS?")?;
        if let Some(error) = line.strip_prefix("-NOAUTH") {
            bail!("the service asks for a password: set ORRERY_PASSWORD ({})", error.trim())
        }
        Ok(line)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let stream = self.reader.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Reads one reply of a kind that has no others in it.
    pub(super) fn read(&mut self) -> std::io::Result<Reply> {
        let line = self.line()?;
        match line.as_bytes().first() {
            Some(b'-') => Ok(Reply::Error(line[1..].to_owned())),
            Some(b'$') => {
                if let Ok(length) = line[1..].parse::<u64>() {
                    let wanted = length + 2;
                    let mut rest = self.reader.by_ref().take(wanted);
                    if std::io::copy(&mut rest, &mut std::io::sink())? != wanted {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Ok(Reply::Fine)
            }
            _ => Ok(Reply::Fine),
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }
}

/// Writes a command.
pub(super) fn encode(args: &[&[u8]], out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "*{}\r\n", args.len());
    for arg in args {
        let _ = write!(out, "${}\r\n", arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}
