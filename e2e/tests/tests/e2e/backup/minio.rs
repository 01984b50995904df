//! MinIO, the server of a bucket. It is built from its Go module, which takes minutes: where it is not
//! in the cache yet, only `make e2e` builds it.

use std::path::{Path, PathBuf};
use std::process::Command;

use orrery_e2e_cluster::{is_built, not_run, tool};
use orrery_e2e_tests::process::{Process, free_port, wait_for_port};

const BUILD: &str = "ORRERY_BUILD_MINIO";
pub(crate) const BUCKET: &str = "backups";
pub(crate) const USER: &str = "orrery-tests";
pub(crate) const PASSWORD: &str = "a-key-that-is-never-shown";

/// A server with one bucket. What it has acknowledged is on disk.
pub(crate) struct Minio {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    process: Process,
}

impl Minio {
    /// None where there is no such program; the reason was printed.
    pub(crate) fn start() -> Option<Self> {
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
        let process = process(&program, folder.path(), port);
        Some(Self { program, folder, port, process })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn again(&mut self) {
        self.process = process(&self.program, self.folder.path(), self.port);
    }
}

fn process(program: &Path, folder: &Path, port: u16) -> Process {
    let mut command = Command::new(program);
    command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")]);
    command.args(["--console-address", "127.0.0.1:0", "--certs-dir"]).arg(folder.join("certs"));
    command.arg(folder.join("drive"));
    command.env("MINIO_ROOT_USER", USER).env("MINIO_ROOT_PASSWORD", PASSWORD);
    command.env("MINIO_UPDATE", "off").env("HOME", folder);
    let mut process = Process::start(command, &folder.join("log"), None).expect("it starts");
    let address = ([127, 0, 0, 1], port).into();
    wait_for_port(&mut process, address).unwrap_or_else(|error| panic!("{error}"));
    process
}
