//! MinIO, the server of a bucket. It is built from its Go module, which takes minutes: where it is not
//! in the cache yet, only `make e2e` builds it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orrery_e2e_cluster::{is_built, not_run, tool};
use orrery_e2e_tests::process::{PATIENCE, Process, free_port, poll};

const BUILD: &str = "ORRERY_BUILD_MINIO";
pub(crate) const BUCKET: &str = "backups";
pub(crate) const USER: &str = "orrery-tests";
pub(crate) const PASSWORD: &str = "a-key-that-is-never-shown";

/// A server with one bucket. What it has acknowledged is on disk.
pub(crate) struct Minio {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    host: String,
    process: Process,
}

impl Minio {
    /// One on loopback. None where there is no such program; the reason was printed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_at("127.0.0.1", |program| Command::new(program))
    }

    /// The same at another address, by commands that are made elsewhere: in a network namespace.
    pub(crate) fn start_at(host: &str, command: impl Fn(&OsStr) -> Command) -> Option<Self> {
        if !is_built("minio") && std::env::var_os(BUILD).is_none() {
            not_run("minio is not in the cache; make e2e builds it");
            return None;
        }
        let program = match tool("minio") {
            Ok(program) => program,
            Err(error) => {
                not_run(&format!("no minio: {error}"));
                return None;
            }
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A folder of the only drive is a bucket.
        std::fs::create_dir_all(folder.path().join("drive").join(BUCKET)).expect("writable");
        let port = free_port().expect("a free port");
        let process = process(&program, folder.path(), (host, port), command);
        Some(Self { program, folder, port, host: host.to_owned(), process })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// What the Secret of a journal holds, as YAML of one line.
    pub(crate) fn journal_secret(&self) -> String {
        format!(
            "{{address: \"s3://{BUCKET}/journals\", AWS_ACCESS_KEY_ID: {USER}, \
             AWS_SECRET_ACCESS_KEY: {PASSWORD}, AWS_ENDPOINT_URL: \"{}\"}}",
            self.endpoint()
        )
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn again(&mut self) {
        let at = (self.host.as_str(), self.port);
        self.process =
            process(&self.program, self.folder.path(), at, |program| Command::new(program));
    }
}

fn process(
    program: &Path,
    folder: &Path,
    (host, port): (&str, u16),
    make: impl Fn(&OsStr) -> Command,
) -> Process {
    let mut command = make(program.as_os_str());
    command.args(["server", "--quiet", "--address", &format!("{host}:{port}")]);
    command.args(["--console-address", "127.0.0.1:0", "--certs-dir"]).arg(folder.join("certs"));
    command.arg(folder.join("drive"));
    command.env("MINIO_ROOT_USER", USER).env("MINIO_ROOT_PASSWORD", PASSWORD);
    command.env("MINIO_UPDATE", "off").env("HOME", folder);
    let mut process = Process::start(command, &folder.join("log"), None).expect("it starts");
    let connect = format!("exec 3<>/dev/tcp/{host}/{port}");
    let is_open = poll(PATIENCE, || {
        let mut look = make(OsStr::new("bash"));
        let status = look.args(["-c", &connect]).stderr(Stdio::null()).status();
        let is_over = process.ended().is_some();
        (is_over || status.is_ok_and(|status| status.success())).then_some(!is_over)
    });
    assert_eq!(is_open, Some(true), "{}", process.log_tail());
    process
}
