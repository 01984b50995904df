//! A PostgreSQL server of its own: a folder, a port, processes that end with it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Pid, User, geteuid};
use orrery_kit::suite::free_port;
use tempfile::TempDir;

use crate::{Address, Host};

/// The user of the database that may do everything.
pub const ADMIN: &str = "admin";
/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Server of several tests, as long as one of them runs.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
/// An empty cluster to copy, as long as one of its copies is there: making one takes seconds.
static EMPTY: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());

#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    /// What its data are a copy of.
    empty: Option<Arc<TempDir>>,
    programs: PathBuf,
    pub port: u16,
    process: Mutex<Option<Child>>,
    settings: Mutex<Vec<String>>,
}

/// A folder for a server: in memory where there is plenty, because processes are killed here and not
/// machines, and a sync that takes no time leaves more of it for kills.
fn folder() -> TempDir {
    const BYTES_MIN: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let free = statvfs(memory).map_or(0, |found| found.blocks_available() * found.fragment_size());
    let made = if free < BYTES_MIN { None } else { tempfile::tempdir_in(memory).ok() };
    let folder = made.unwrap_or_else(|| tempfile::tempdir().unwrap());
    hand_over(folder.path());
    folder
}

/// The newest folder of server programs; `None` says why a test is not run.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|version| number(&version.path())).max();
    let Some(newest) = newest.filter(|newest| *newest >= 15) else {
        println!("not run: there is no PostgreSQL 15 or newer below /usr/lib/postgresql");
        return None;
    };
    Some(format!("/usr/lib/postgresql/{newest}/bin").into())
}

/// Whom a server runs as: it refuses root.
fn unprivileged() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let found = ["postgres", "nobody"].map(|name| User::from_name(name).ok().flatten());
    found.into_iter().flatten().next()
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = unprivileged() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Gives a file to the user of servers.
fn hand_over(path: &Path) {
    if let Some(user) = unprivileged() {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

impl Server {
    /// The server that tests share. `None` if this machine has none.
    pub fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// A server with settings of its own.
    pub fn start(settings: &[&str]) -> Option<Self> {
        let mut server = Self::made(programs()?, settings);
        let empty = server.empty();
        let copy = command(Path::new("cp"))
            .arg("-r")
            .arg(empty.path().join("data"))
            .arg(server.data())
            .status();
        assert!(copy.unwrap().success(), "the empty cluster cannot be copied");
        server.empty = Some(empty);
        server.begin();
        server.sql("CREATE DATABASE orrery");
        Some(server)
    }

    fn empty(&self) -> Arc<TempDir> {
        let mut shared = EMPTY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(empty) = shared.upgrade() {
            return empty;
        }
        let empty = Arc::new(folder());
        self.run("initdb", |command| {
            command.arg("-D").arg(empty.path().join("data")).args(["-U", ADMIN, "-E", "UTF8"]);
            command.args(["-A", "trust", "--no-locale", "--no-sync", "--no-instructions"]);
            command.arg("--wal-segsize=4");
        });
        *shared = Arc::downgrade(&empty);
        empty
    }

    /// A server whose commits wait for a standby that follows it, and that standby.
    pub fn pair() -> Option<(Self, Self)> {
        let primary = Self::start(&[])?;
        let standby = primary.standby("one", &[]);
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'one'");
        primary.sql("SELECT pg_reload_conf()");
        let in_step = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        primary.await_sql(in_step, "1");
        Some((primary, standby))
    }

    /// A standby of this server that streams as `name`, with settings of its own.
    #[must_use]
    pub fn standby(&self, name: &str, settings: &[&str]) -> Self {
        let standby = Self::made(self.programs.clone(), settings);
        standby.run("pg_basebackup", |command| {
            command.arg("-D").arg(standby.data()).args(["-U", ADMIN, "-R", "-c", "fast", "-N"]);
            let source = format!("host=127.0.0.1 port={} application_name={name}", self.port);
            command.args(["-d", &source]);
        });
        standby.begin();
        standby
    }

    fn made(programs: PathBuf, settings: &[&str]) -> Self {
        let folder = folder();
        let settings = Mutex::new(settings.iter().map(|&text| text.to_owned()).collect());
        Self {
            folder,
            empty: None,
            programs,
            port: free_port(),
            process: Mutex::new(None),
            settings,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a program of the package to its end, which must be a good one.
    fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) {
        let mut command = command(&self.programs.join(program));
        arguments(&mut command);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {text}");
    }

    /// Starts it, and waits until it lets somebody in.
    pub fn begin(&self) {
        let started = Instant::now();
        loop {
            self.spawn();
            while self.is_running() && started.elapsed() < PATIENCE {
                if self.try_sql("SELECT 1").is_ok() {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
            // Processes of a killed one hold its memory for a moment.
            assert!(started.elapsed() < PATIENCE, "it does not start: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn spawn(&self) {
        let log = self.folder.path().join("log");
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = command(&self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).args(["-h", "127.0.0.1"]).stderr(log);
        command.args(["-p", &self.port.to_string()]).arg("-k").arg(self.folder.path());
        let mut set = |setting: &str| {
            command.args(["-c", setting]);
        };
        set("max_connections=120");
        set("shared_buffers=32MB");
        set("wal_receiver_status_interval=1s");
        set("wal_retrieve_retry_interval=100ms");
        self.settings.lock().unwrap().iter().for_each(|setting| set(setting));
        *self.process.lock().unwrap() = Some(command.spawn().unwrap());
    }

    fn is_running(&self) -> bool {
        let mut process = self.process.lock().unwrap();
        process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Changes the settings of the next start.
    pub fn set(&self, settings: &[&str]) {
        *self.settings.lock().unwrap() = settings.iter().map(|&text| text.to_owned()).collect();
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(process) = self.process.lock().unwrap().as_ref() {
            let _ = kill(Pid::from_raw(process.id() as i32), signal);
        }
    }

    /// Ends it as a crash would: `SIGKILL` of the first process, or `SIGQUIT`, which ends all.
    pub fn crash(&self, signal: Signal) {
        self.signal(signal);
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.wait().unwrap();
        }
    }

    /// Lets a standby become a primary.
    pub fn promote(&self) {
        self.run("pg_ctl", |command| {
            command.args(["promote", "-w", "-D"]).arg(self.data());
        });
    }

    /// What statements answer, one line a row.
    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        self.sql_as(ADMIN, "postgres", sql)
    }

    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap()
    }

    /// In the database that is made for tests.
    pub fn sql_there(&self, sql: &str) -> String {
        self.sql_as(ADMIN, "orrery", sql).unwrap()
    }

    fn sql_as(&self, user: &str, database: &str, sql: &str) -> Result<String, String> {
        let mut command = command(&self.programs.join("psql"));
        command.arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string()]);
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database]);
        command.env("PGCONNECT_TIMEOUT", "3").args(["-c", sql]);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Waits until a statement answers as wanted.
    pub fn await_sql(&self, sql: &str, wanted: &str) {
        let started = Instant::now();
        loop {
            let found = self.try_sql(sql);
            if found.as_deref() == Ok(wanted) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{sql}: {found:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes a file for the server beside its data.
    pub fn file(&self, name: impl AsRef<OsStr>, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(Path::new(name.as_ref()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        hand_over(&path);
        path
    }

    pub fn host(&self) -> Host {
        Host { name: "127.0.0.1".to_owned(), port: self.port }
    }

    /// The database that is made for tests, as its most powerful user.
    pub fn address(&self) -> Address {
        let (database, user) = ("orrery".to_owned(), ADMIN.to_owned());
        Address { hosts: vec![self.host()], database, user, tls: None }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        self.crash(Signal::SIGQUIT);
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().rev().take(20).collect();
            println!("the last lines of the server, newest first:\n{}", lines.join("\n"));
        }
    }
}
