//! A client of HTTP/1.1 that sends what it is told, one request a connection.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// A request.
pub(crate) struct Call {
    address: SocketAddr,
    head: String,
    has_host: bool,
    body: Vec<u8>,
    /// What is said of the length; the truth where it is none.
    length: Option<usize>,
}

impl Call {
    pub(crate) fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        let head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        Self { address, head, has_host: false, body: vec![], length: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.has_host |= name.eq_ignore_ascii_case("host");
        write!(self.head, "{name}: {value}\r\n").unwrap();
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, body: &str) -> Self {
        self.header("Content-Type", "application/json").body(body)
    }

    pub(crate) fn ndjson(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("Content-Type", "application/x-ndjson").body(body)
    }

    /// Says that the body is so long, and sends what there is.
    pub(crate) fn length(mut self, bytes: usize) -> Self {
        self.length = Some(bytes);
        self
    }

    pub(crate) fn send(mut self) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if !self.has_host {
            write!(self.head, "Host: {}\r\n", self.address).unwrap();
        }
        let length = self.length.unwrap_or(self.body.len());
        write!(self.head, "Content-Length: {length}\r\n\r\n").unwrap();
        stream.write_all(self.head.as_bytes()).unwrap();
        // Whoever refuses the head may not read the body.
        _ = stream.write_all(&self.body);
        let mut bytes = vec![];
        stream.read_to_end(&mut bytes).unwrap();
        Answer::read(&bytes)
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        });
        let mut answer = Self { status, headers: headers.collect(), body: vec![] };
        let body = &bytes[end + 4..];
        answer.body = match answer.header("transfer-encoding") {
            Some("chunked") => dechunked(body),
            _ => body.to_vec(),
        };
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Status and body.
    pub(crate) fn into_parts(self) -> (u16, String) {
        (self.status, String::from_utf8_lossy(&self.body).into_owned())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {} {:?}", self.status, self.text()),
        }
    }

    /// The lines of an answer of NDJSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// That it succeeded, with this status; gives its JSON.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// That it is a problem with this status and reason; gives its JSON.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, reason: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["title"], reason, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:orrery:problem:{reason}"));
        problem
    }
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = vec![];
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("the head of a chunk");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
}
