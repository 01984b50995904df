//! A plain blocking RESP client, written apart from the server's codec so that one cannot hide the
//! mistakes of the other. RESP2 and RESP3 after the Redis documentation ("Redis serialization
//! protocol specification").

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One reply, as it stood on the wire.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    NullArray,
    Array(Vec<Reply>),
    Map(Vec<Reply>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Double(String),
    Boolean(bool),
    BigNumber(String),
    Verbatim(Vec<u8>),
}

impl Reply {
    /// The bytes of a bulk or simple string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) | Self::Verbatim(bytes) => Some(bytes),
            Self::Simple(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The text of a bulk or simple string; lossy.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes().unwrap_or_default()).into_owned()
    }

    /// The elements of any aggregate.
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::Array(items) | Self::Map(items) | Self::Set(items) | Self::Push(items) => items,
            _ => &[],
        }
    }
}

/// A connection with a read deadline.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
    out: Vec<u8>,
}

/// No reply takes longer than this in any test.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, Duration::from_secs(5))?)
    }

    /// A client over a connection that somebody made.
    pub fn over(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, stream), out: Vec::new() })
    }

    /// Sends one command and reads its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> std::io::Result<Reply> {
        self.queue(args);
        self.flush()?;
        self.read()
    }

    /// Adds a command to the next flush.
    pub fn queue<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        encode(args, &mut self.out);
    }

    /// Sends everything queued.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.reader.get_mut().write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    pub fn read(&mut self) -> std::io::Result<Reply> {
        read_reply(&mut self.reader)
    }

    /// The socket itself, for tests of half-closed and silent connections.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }
}

/// A command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned())
}

fn read_line(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    const LINE_BYTES_MAX: usize = 1 << 20;
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        reader.read_exact(&mut byte)?;
        line.push(byte[0]);
        if line.len() > LINE_BYTES_MAX {
            return Err(bad("a line without an end"));
        }
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn read_blob(reader: &mut impl Read, length: i64) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| bad("a negative length"))?;
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    if !bytes.ends_with(b"\r\n") {
        return Err(bad("a blob without its line end"));
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn read_reply(reader: &mut impl Read) -> std::io::Result<Reply> {
    let line = read_line(reader)?;
    let (&kind, rest) = line.split_first().ok_or_else(|| bad("an empty line"))?;
    let text = String::from_utf8_lossy(rest).into_owned();
    let number = || text.parse::<i64>().map_err(|_| bad(&format!("{text:?} is no number")));
    Ok(match kind {
        b'+' => Reply::Simple(text),
        b'-' => Reply::Error(text),
        b':' => Reply::Integer(number()?),
        b'_' => Reply::Null,
        b'#' => Reply::Boolean(text == "t"),
        b',' => Reply::Double(text),
        b'(' => Reply::BigNumber(text),
        b'$' if text == "-1" => Reply::Null,
        b'*' if text == "-1" => Reply::NullArray,
        b'$' => Reply::Bulk(read_blob(reader, number()?)?),
        b'=' => Reply::Verbatim(read_blob(reader, number()?)?),
        b'*' => Reply::Array(read_items(reader, number()?)?),
        b'%' => Reply::Map(read_items(reader, number()? * 2)?),
        b'~' => Reply::Set(read_items(reader, number()?)?),
        b'>' => Reply::Push(read_items(reader, number()?)?),
        b'|' => {
            // Attributes precede the reply they belong to; these clients do not look at them.
            read_items(reader, number()? * 2)?;
            read_reply(reader)?
        }
        other => return Err(bad(&format!("unknown reply type {:?}", char::from(other)))),
    })
}

fn read_items(reader: &mut impl Read, count: i64) -> std::io::Result<Vec<Reply>> {
    (0..count).map(|_| read_reply(reader)).collect()
}
