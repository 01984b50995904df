//! A client of server-sent events, as small as one can be: HTTP/1.1 with chunks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::process::Engine;

const DEADLINE: Duration = Duration::from_mins(1);

/// One event; without data it only tells a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Event {
    pub(super) id: String,
    /// Empty for a change.
    pub(super) kind: String,
    pub(super) data: String,
}

/// What a change says.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) position: u64,
    pub(super) database: u64,
    pub(super) key: String,
    pub(super) commands: Vec<Vec<String>>,
}

impl Event {
    pub(super) fn change(&self) -> Change {
        let json: serde_json::Value = serde_json::from_str(&self.data).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let commands = json["commands"].as_array().expect("a list").iter();
        Change {
            position: json["position"].as_u64().expect("a number"),
            database: json["database"].as_u64().expect("a number"),
            key: text(&json["key"]),
            commands: commands
                .map(|words| words.as_array().expect("a list").iter().map(text).collect())
                .collect(),
        }
    }
}

/// Sends a request; gives the connection at the beginning of its answer.
pub(super) fn ask(engine: &Engine, path: &str, headers: &[(&str, &str)]) -> TcpStream {
    let started = std::time::Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", engine.api)) {
            Ok(stream) => break stream,
            Err(error) => assert!(started.elapsed() < DEADLINE, "nobody listens: {error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    stream.write_all((request + "\r\n").as_bytes()).expect("it is taken");
    stream
}

/// The whole of a short answer.
pub(super) fn status(engine: &Engine, path: &str, headers: &[(&str, &str)]) -> String {
    let headers = [headers, &[("Connection", "close")]].concat();
    let mut text = String::new();
    ask(engine, path, &headers).read_to_string(&mut text).expect("an answer that ends");
    text
}

pub(super) struct Watcher {
    lines: BufReader<Chunks>,
}

impl Watcher {
    pub(super) fn open(engine: &Engine, path: &str) -> Self {
        Self::with(engine, path, &[])
    }

    pub(super) fn with(engine: &Engine, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut reader = BufReader::new(ask(engine, path, headers));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut head).expect("an answer");
            assert!(read > 0, "it ends in its head: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        Self { lines: BufReader::new(Chunks { reader, left: 0 }) }
    }

    /// The next event or place.
    pub(super) fn next(&mut self) -> Event {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("a line");
            assert!(read > 0, "the stream ended");
            match line.trim_end().split_once(": ") {
                Some(("id", text)) => text.clone_into(&mut event.id),
                Some(("event", text)) => text.clone_into(&mut event.kind),
                Some(("data", text)) => text.clone_into(&mut event.data),
                _ if line.trim_end().is_empty() && !event.id.is_empty() => return event,
                _ if line.trim_end().is_empty() && !event.kind.is_empty() => return event,
                _ => {}
            }
        }
    }

    /// The next change.
    pub(super) fn change(&mut self) -> Event {
        loop {
            let event = self.next();
            assert_eq!(event.kind, "", "{event:?}");
            if !event.data.is_empty() {
                return event;
            }
        }
    }

    /// Where it is told to be before anything changed.
    pub(super) fn place(&mut self) -> String {
        let event = self.next();
        assert_eq!(event.data, "");
        event.id
    }

    /// Whether nothing comes for a while.
    pub(super) fn is_silent_for(&mut self, time: Duration) -> bool {
        let socket = self.lines.get_ref().reader.get_ref();
        socket.set_read_timeout(Some(time)).expect("a socket");
        let is_silent = self.lines.fill_buf().is_err();
        let socket = self.lines.get_ref().reader.get_ref();
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
        is_silent
    }
}

/// The content of a chunked body.
struct Chunks {
    reader: BufReader<TcpStream>,
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            while line.trim().is_empty() {
                line.clear();
                if self.reader.read_line(&mut line)? == 0 {
                    return Ok(0);
                }
            }
            self.left = usize::from_str_radix(line.trim(), 16).expect("a size");
            if self.left == 0 {
                return Ok(0);
            }
        }
        let wanted = to.len().min(self.left);
        let read = self.reader.read(&mut to[..wanted])?;
        self.left -= read;
        Ok(read)
    }
}
