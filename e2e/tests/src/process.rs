//! Child processes of a test: started with a log file, asked to stop, killed by their own id.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop.
pub const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A running child; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs in `log`. `cpu` pins it to one core.
    pub fn start(command: Command, log: &Path, cpu: Option<usize>) -> Result<Self, String> {
        let mut command = match cpu {
            Some(cpu) => pinned(&command, cpu),
            None => command,
        };
        let mut spawn = || -> std::io::Result<Child> {
            let file = File::options().create(true).append(true).open(log)?;
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
            command.spawn()
        };
        match spawn() {
            Ok(child) => Ok(Self { child, log: log.to_owned() }),
            Err(error) => Err(format!("failed to start {command:?}: {error}")),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, as a crash of the machine's software would look like to the data.
    pub fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then a bounded wait; `None` when it had to be killed.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.signal("TERM");
        let status = poll(PATIENCE, || self.ended());
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// Sends a signal by name: TERM, INT, STOP, CONT.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args([&format!("-{name}"), &id]).status();
    }

    /// The last lines of its log, for a failure message.
    pub fn log_tail(&self) -> String {
        const TAIL_BYTES: u64 = 4096;
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    /// CPU time used so far, user and system together, from `/proc/<pid>/schedstat` summed over
    /// its threads (nanosecond resolution).
    pub fn cpu(&self) -> Duration {
        cpu_of(self.id())
    }

    /// The same together with its children that still run: of a server with a process for each
    /// connection.
    pub fn cpu_with_children(&self) -> Duration {
        let listed = format!("/proc/{0}/task/{0}/children", self.id());
        let children = std::fs::read_to_string(listed).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        children.map(cpu_of).fold(self.cpu(), |sum, used| sum + used)
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.id())
    }
}

/// Resident memory of a process in bytes; 0 when there is none.
pub fn resident_bytes(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn cpu_of(id: u32) -> Duration {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else {
        return Duration::ZERO;
    };
    let used = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(used.sum())
}

/// The same command under `taskset -c CPU`.
pub fn pinned(command: &Command, cpu: usize) -> Command {
    let mut outer = Command::new("taskset");
    outer.args(["-c", &cpu.to_string()]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(key, value),
            None => outer.env_remove(key),
        };
    }
    outer
}

/// Calls `ready` until it gives a value or the deadline passes.
pub fn poll<T>(patience: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Waits until something accepts connections there, or the process ends.
pub fn wait_for_port(process: &mut Process, address: SocketAddr) -> Result<(), String> {
    let up = poll(PATIENCE, || {
        if let Some(status) = process.ended() {
            return Some(Err(format!("it ended with {status}")));
        }
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok().map(|_| Ok(()))
    });
    up.unwrap_or_else(|| Err("it did not listen in time".to_owned()))
        .map_err(|what| format!("{address}: {what}\n{}", process.log_tail()))
}
