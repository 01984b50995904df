//! The binary as a process of its own, and its API.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orrery_kit::suite::free_port;

const PATIENCE: Duration = Duration::from_mins(5);

pub(super) struct Engine {
    pub(super) child: Child,
    api: u16,
    /// From the start of the process to the first answer that it is ready.
    pub(super) ready_after: Duration,
}

impl Engine {
    pub(super) fn start(folder: &Path) -> Result<Self, String> {
        let config = folder.join("scheduler.yaml");
        std::fs::write(&config, "partitions: 4\n").map_err(|error| error.to_string())?;
        let api = free_port();
        let begun = Instant::now();
        let child = Command::new(orrery_e2e_tests::orrery_binary()?)
            .args(["serve", "scheduler", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(folder.join("data"))
            .env("ORRERY_LISTEN_API", format!("127.0.0.1:{api}"))
            .env("ORRERY_LISTEN_HTTP", "127.0.0.1:0")
            .env("ORRERY_LISTEN_MANAGEMENT", "127.0.0.1:0")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("the engine does not start: {error}"))?;
        let mut engine = Self { child, api, ready_after: Duration::ZERO };
        while !matches!(engine.ask("GET", "/healthz", "", b""), Ok((200, _))) {
            if begun.elapsed() > PATIENCE {
                return Err("the engine does not get ready".to_owned());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        engine.ready_after = begun.elapsed();
        Ok(engine)
    }

    /// One request on a connection of its own: status and body.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<(u16, String), String> {
        self.exchange(method, path, kind, body).map_err(|error| error.to_string())
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.api))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut rest = String::new();
        reader.read_to_string(&mut rest)?;
        Ok((status, rest.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())))
    }

    /// Resident memory, in bytes.
    pub(super) fn resident_bytes(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Ok(pages.ok_or("statm has no second number")? * 4096)
    }

    /// CPU that the process has used.
    pub(super) fn cpu(&self) -> Result<Duration, String> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        let both = ticks(12).zip(ticks(13)).ok_or("stat has too few fields")?;
        Ok(Duration::from_millis((both.0 + both.1) * 10))
    }

    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
