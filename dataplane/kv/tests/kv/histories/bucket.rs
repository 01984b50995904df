//! MinIO, a server of buckets, where the end-to-end tests have built it (`make e2e`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use orrery_e2e_tests::cache;
use orrery_e2e_tests::process::{Process, free_port, wait_for_port};

pub(crate) const BUCKET: &str = "journals";
pub(crate) const USER: &str = "orrery-tests";
pub(crate) const PASSWORD: &str = "a-key-that-is-never-shown";

/// A server with one bucket. What it has acknowledged is in its files.
pub(crate) struct Bucket {
    program: PathBuf,
    folder: PathBuf,
    pub(crate) port: u16,
    process: Process,
}

impl Bucket {
    /// Keeps its files in `folder`. An error is why it cannot run here.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        let program = program().ok_or("no minio: make e2e builds it")?;
        // A folder of the only drive is a bucket.
        let bucket = folder.join("drive").join(BUCKET);
        fs::create_dir_all(bucket).map_err(|error| error.to_string())?;
        let port = free_port()?;
        let process = process(&program, folder, port)?;
        Ok(Self { program, folder: folder.to_owned(), port, process })
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn again(&mut self) -> Result<(), String> {
        self.process = process(&self.program, &self.folder, self.port)?;
        Ok(())
    }
}

fn process(program: &Path, folder: &Path, port: u16) -> Result<Process, String> {
    let mut command = Command::new(program);
    command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")]);
    command.args(["--console-address", "127.0.0.1:0", "--certs-dir"]).arg(folder.join("certs"));
    command.arg(folder.join("drive"));
    command.env("MINIO_ROOT_USER", USER).env("MINIO_ROOT_PASSWORD", PASSWORD);
    command.env("MINIO_UPDATE", "off").env("HOME", folder);
    let mut process = Process::start(command, &folder.join("log"), None)?;
    wait_for_port(&mut process, ([127, 0, 0, 1], port).into())?;
    Ok(process)
}

/// Where `e2e/cluster` keeps what it has built.
fn program() -> Option<PathBuf> {
    let cache = cache::folder("").ok()?;
    let folders = fs::read_dir(cache).ok()?.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("minio-"))
    };
    folders.filter(is_it).map(|path| path.join("minio")).filter(|path| path.is_file()).max()
}
