//! MinIO, a server of buckets, with a folder and a port of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orrery_kit::suite::free_port;

use crate::cache;
use crate::process::{PATIENCE, Process, poll};

/// Environment variable: the program, where it is not the one in the cache.
const PROGRAM: &str = "ORRERY_MINIO";
pub const USER: &str = "orrery-tests";
pub const PASSWORD: &str = "a-key-that-is-never-shown";

/// A server with one bucket. What it has acknowledged is on disk.
#[derive(Debug)]
pub struct Minio {
    program: PathBuf,
    folder: PathBuf,
    bucket: String,
    host: String,
    port: u16,
    process: Process,
}

/// The program, where it is there already: `e2e/cluster` builds it into the cache. An error says how.
pub fn built() -> Result<PathBuf, String> {
    if let Some(program) = std::env::var_os(PROGRAM).filter(|text| !text.is_empty()) {
        return Ok(program.into());
    }
    let names = fs::read_dir(cache::folder("")?).map_err(|error| error.to_string())?;
    let folders = names.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("minio-"))
    };
    let programs = folders.filter(is_it).map(|path| path.join("minio"));
    let newest = programs.filter(|path| path.is_file()).max();
    newest.ok_or_else(|| format!("no minio: make e2e builds it, or set {PROGRAM}"))
}

impl Minio {
    /// One on loopback whose files are in `folder`.
    pub fn start(program: &Path, folder: &Path, bucket: &str) -> Result<Self, String> {
        Self::start_at(program, folder, bucket, "127.0.0.1", |program| Command::new(program))
    }

    /// The same at another address, by commands that are made elsewhere: in a network namespace.
    pub fn start_at(
        program: &Path,
        folder: &Path,
        bucket: &str,
        host: &str,
        command: impl Fn(&OsStr) -> Command,
    ) -> Result<Self, String> {
        // A folder of the only drive is a bucket.
        let made = fs::create_dir_all(folder.join("drive").join(bucket));
        made.map_err(|error| error.to_string())?;
        let port = free_port();
        let process = serve(program, folder, (host, port), command)?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        let (bucket, host) = (bucket.to_owned(), host.to_owned());
        Ok(Self { program, folder, bucket, host, port, process })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// What the Secret of a journal holds, as YAML of one line.
    pub fn journal_secret(&self) -> String {
        format!(
            "{{address: \"s3://{}/journals\", AWS_ACCESS_KEY_ID: {USER}, \
             AWS_SECRET_ACCESS_KEY: {PASSWORD}, AWS_ENDPOINT_URL: \"{}\"}}",
            self.bucket,
            self.endpoint()
        )
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The same server again, after it was killed.
    pub fn again(&mut self) -> Result<(), String> {
        let at = (self.host.as_str(), self.port);
        self.process = serve(&self.program, &self.folder, at, |program| Command::new(program))?;
        Ok(())
    }
}

/// Runs it until its port is open.
fn serve(
    program: &Path,
    folder: &Path,
    (host, port): (&str, u16),
    make: impl Fn(&OsStr) -> Command,
) -> Result<Process, String> {
    let mut command = make(program.as_os_str());
    command.args(["server", "--quiet", "--address", &format!("{host}:{port}")]);
    command.args(["--console-address", "127.0.0.1:0", "--certs-dir"]).arg(folder.join("certs"));
    command.arg(folder.join("drive"));
    command.env("MINIO_ROOT_USER", USER).env("MINIO_ROOT_PASSWORD", PASSWORD);
    command.env("MINIO_UPDATE", "off").env("HOME", folder);
    let mut process = Process::start(command, &folder.join("log"), None)?;
    // From where its clients are.
    let connect = format!("exec 3<>/dev/tcp/{host}/{port}");
    let is_open = poll(PATIENCE, || {
        let mut look = make(OsStr::new("bash"));
        let status = look.args(["-c", &connect]).stderr(Stdio::null()).status();
        let is_over = process.ended().is_some();
        (is_over || status.is_ok_and(|status| status.success())).then_some(!is_over)
    });
    match is_open {
        Some(true) => Ok(process),
        _ => Err(format!("minio does not start: {}", process.log_tail())),
    }
}
