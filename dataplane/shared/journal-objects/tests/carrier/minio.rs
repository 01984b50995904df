//! A real server of buckets, where the program is there: `ORRERY_MINIO`, or the one that the
//! end-to-end tests have built into their cache (`make e2e`).

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orrery_blob::{Access, Address};

const PROGRAM: &str = "ORRERY_MINIO";
const BUCKET: &str = "journals";
const USER: &str = "orrery-tests";
const PASSWORD: &str = "a-key-that-is-never-shown";
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with one bucket; ends with this value.
pub(super) struct Minio {
    program: PathBuf,
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Minio {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Minio {
    /// None where there is no such program; the reason was printed.
    pub(super) fn start() -> Option<Self> {
        let Some(program) = program() else {
            println!("not run: no minio; make e2e builds it, or set {PROGRAM}");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // A folder of the only drive is a bucket.
        std::fs::create_dir_all(folder.path().join("drive").join(BUCKET)).unwrap();
        let secret = folder.path().join("secret");
        std::fs::create_dir(&secret).unwrap();
        std::fs::write(secret.join("ACCESS_KEY_ID"), USER).unwrap();
        std::fs::write(secret.join("SECRET_ACCESS_KEY"), PASSWORD).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = start(&program, folder.path(), port);
        let mut minio = Self { program, child, folder, port };
        minio.wait();
        Some(minio)
    }

    fn wait(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "minio ended");
            assert!(started.elapsed() < PATIENCE, "minio does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same server again, after it was killed.
    #[allow(dead_code, reason = "the example does not kill it")]
    pub(super) fn again(&mut self) {
        self.child = start(&self.program, self.folder.path(), self.port);
        self.wait();
    }

    pub(super) fn access(&self) -> Access {
        Access {
            secret: Some(self.folder.path().join("secret")),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            region: None,
        }
    }

    pub(super) fn address(prefix: &str) -> Address {
        Address::Bucket { bucket: BUCKET.to_owned(), prefix: prefix.to_owned() }
    }
}

fn start(program: &Path, folder: &Path, port: u16) -> Child {
    let mut command = Command::new(program);
    command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")]);
    command.args(["--console-address", "127.0.0.1:0", "--certs-dir"]).arg(folder.join("certs"));
    command.arg(folder.join("drive"));
    command.env("MINIO_ROOT_USER", USER).env("MINIO_ROOT_PASSWORD", PASSWORD);
    command.env("MINIO_UPDATE", "off").env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Looks where `e2e/cluster` keeps what it has built.
fn program() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(program) = set(PROGRAM) {
        return Some(program);
    }
    let cache = set("ORRERY_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("orrery")))
        .or_else(|| Some(set("HOME")?.join(".cache/orrery")))?;
    let folders = std::fs::read_dir(cache).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let programs = folders
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("minio-"))
        })
        .map(|path| path.join("minio"));
    programs.filter(|program| program.is_file()).max()
}
