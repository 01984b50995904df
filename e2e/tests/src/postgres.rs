//! A PostgreSQL server of the system's package, with a folder and a port of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use orrery_kit::suite::free_port;

use crate::process::{PATIENCE, Process, poll};

const VERSIONS: &str = "/usr/lib/postgresql";
/// The oldest version that carries journals.
const VERSION_LEAST: u32 = 15;
/// The user of the database, who asks for a password.
pub const USER: &str = "orrery";
pub const PASSWORD: &str = "a-password-that-is-never-shown";
pub const DATABASE: &str = "journals";

/// A running server. What it has acknowledged is on disk.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    host: String,
    port: u16,
    /// What is set beyond the defaults of the package, as `name=value`.
    settings: Vec<String>,
    process: Option<Process>,
}

/// Little memory: a test has little to keep.
const SMALL: &[&str] = &["shared_buffers=32MB", "max_connections=100"];

/// The newest server programs; an error says how to install some.
fn programs() -> Result<PathBuf, String> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|version| number(&version.path())).max();
    newest
        .filter(|newest| *newest >= VERSION_LEAST)
        .map(|newest| Path::new(VERSIONS).join(newest.to_string()).join("bin"))
        .ok_or_else(|| "there is no PostgreSQL 15: apt-get install postgresql-15".to_owned())
}

/// A command of whoever may run a server, which root may not: of the package's user then.
fn unprivileged(command: impl Fn(&OsStr) -> Command, program: &Path) -> Command {
    if !is_root() {
        return command(program.as_os_str());
    }
    let mut outer = command(OsStr::new("setpriv"));
    outer.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]);
    outer.arg(program).current_dir("/");
    outer
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.and_then(|line| line.split_whitespace().nth(1)).is_some_and(|uid| uid == "0")
}

/// Runs a program to its end, which must be a good one.
fn run(mut command: Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

impl Postgres {
    /// Starts a server on loopback whose files are in `folder`, an empty one.
    pub fn start(folder: &Path) -> Result<Self, String> {
        Self::start_at(folder, "127.0.0.1", |program| Command::new(program))
    }

    /// The same with these settings and the package's defaults otherwise.
    pub fn start_with(folder: &Path, settings: &[&str]) -> Result<Self, String> {
        Self::begin_new(folder, "127.0.0.1", settings, |program| Command::new(program))
    }

    /// The same at another address, by commands that are made elsewhere: in a network namespace.
    pub fn start_at(
        folder: &Path,
        host: &str,
        command: impl Fn(&OsStr) -> Command,
    ) -> Result<Self, String> {
        Self::begin_new(folder, host, SMALL, command)
    }

    fn begin_new(
        folder: &Path,
        host: &str,
        settings: &[&str],
        command: impl Fn(&OsStr) -> Command,
    ) -> Result<Self, String> {
        let programs = programs()?;
        let word = folder.join("password");
        fs::write(&word, PASSWORD).map_err(|error| error.to_string())?;
        if is_root() {
            let mut chown = Command::new("chown");
            chown.args(["-R", "postgres:postgres"]).arg(folder);
            run(chown)?;
        }
        let mut initdb = unprivileged(|program| Command::new(program), &programs.join("initdb"));
        initdb.arg("-D").arg(folder.join("data")).args(["-U", USER, "-A", "scram-sha-256"]);
        initdb.arg("--pwfile").arg(&word).args(["-E", "UTF8", "--no-locale", "--no-sync"]);
        run(initdb)?;
        let access = "host all all 0.0.0.0/0 scram-sha-256\nlocal all all trust\n";
        fs::write(folder.join("data/pg_hba.conf"), access).map_err(|error| error.to_string())?;
        let (folder, host) = (folder.to_owned(), host.to_owned());
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let port = free_port();
        let mut server = Self { programs, folder, host, port, settings, process: None };
        server.begin(command)?;
        server.run_sql(&format!("CREATE DATABASE {DATABASE}"))?;
        Ok(server)
    }

    /// Starts it again after [`Self::crash`].
    pub fn again(&mut self) -> Result<(), String> {
        self.begin(|program| Command::new(program))
    }

    fn begin(&mut self, command: impl Fn(&OsStr) -> Command) -> Result<(), String> {
        let mut server = unprivileged(command, &self.programs.join("postgres"));
        server.arg("-D").arg(self.folder.join("data")).args(["-h", &self.host]);
        server.args(["-p", &self.port.to_string()]).arg("-k").arg(&self.folder);
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        let mut process = Process::start(server, &self.folder.join("log"), None)?;
        let ready = poll(PATIENCE, || {
            let answer = self.run_sql("SELECT 1");
            (process.ended().is_some() || answer.is_ok()).then_some(())
        });
        if ready.is_none() || process.ended().is_some() {
            return Err(format!("PostgreSQL does not start: {}", process.log_tail()));
        }
        self.process = Some(process);
        Ok(())
    }

    /// Carries out a statement by the server's socket, which needs no password.
    pub fn run_sql(&self, statement: &str) -> Result<(), String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-U", USER]);
        psql.args(["-d", "postgres", "-X", "-q", "-c", statement]);
        run(psql)
    }

    /// Ends it as a crash does: its other processes are killed by the first one, which writes nothing
    /// any more.
    pub fn crash(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.signal("QUIT");
        let _ = poll(PATIENCE, || process.ended());
    }

    /// The folder of its socket, and the port that the socket is named after.
    pub fn socket(&self) -> (&Path, u16) {
        (&self.folder, self.port)
    }

    /// CPU time of the server used so far, all its processes together that still run.
    pub fn cpu(&self) -> Duration {
        self.process.as_ref().map_or(Duration::ZERO, Process::cpu_with_children)
    }

    /// The same without a word to any of them: the first one and all its children are killed.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let first = process.id();
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
        process.kill();
        for child in children.unwrap_or_default().split_whitespace() {
            // It may be gone by now.
            let _ = Command::new("kill").args(["-KILL", child]).stderr(Stdio::null()).status();
        }
    }

    /// Where it listens, on loopback unless it was started elsewhere.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the Secret of a journal holds, as YAML of one line.
    pub fn secret(&self) -> String {
        format!(
            "{{host: \"{}\", port: \"{}\", dbname: {DATABASE}, username: {USER}, \
             password: {PASSWORD}, sslmode: disable}}",
            self.host, self.port
        )
    }
}
