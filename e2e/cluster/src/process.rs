//! Child processes that never outlive the test: each leads a process group of its own, dies with
//! the process that started it, and writes to a file.
#![allow(unsafe_code)] // `pre_exec` and `atexit`, the reasons at each

mod fork;
mod place;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

pub(crate) use fork::Forker;
pub(crate) use place::Place;

use crate::ClusterError;

/// Where programs of the system are, for those that an ordinary user's `PATH` leaves out.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How often an ending process is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// How much of a log is shown when something fails.
const TAIL_LINES: usize = 30;

/// One running child and where it writes.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    pub(crate) fn start(name: &str, command: Command, log: PathBuf) -> Result<Self, ClusterError> {
        let here = Forker::here()
            .map_err(|cause| ClusterError::Start { program: name.to_owned(), cause })?;
        Self::start_by(here, name, command, log)
    }

    /// [`Self::start`] where `forker` is.
    pub(crate) fn start_by(
        forker: &Forker,
        name: &str,
        mut command: Command,
        log: PathBuf,
    ) -> Result<Self, ClusterError> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(ClusterError::file(&log))?;
        let errors = out.try_clone().map_err(ClusterError::file(&log))?;
        command.stdin(Stdio::null()).stdout(out).stderr(errors);
        let child = forker
            .spawn(command)
            .map_err(|cause| ClusterError::Start { program: name.to_owned(), cause })?;
        Ok(Self { name: name.to_owned(), pid: child.id(), log, child: Mutex::new(child) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, or nothing while it runs.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // An error means that somebody else reaped it: it is gone either way.
        child.try_wait().unwrap_or_else(|_| Some(ExitStatus::from_raw(0)))
    }

    /// Signals the process alone; nothing happens when it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.ended().is_none() {
            let _ = signal::kill(pid(self.pid), signal);
        }
    }

    /// Waits until it ended.
    pub(crate) async fn wait(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Asks with SIGTERM, gives it `grace`, then kills it and everything in its group.
    pub(crate) async fn stop(&self, grace: Duration) {
        if !grace.is_zero() {
            self.signal(Signal::SIGTERM);
            let _ = tokio::time::timeout(grace, self.wait()).await;
        }
        self.kill_group();
        self.wait().await;
    }

    /// [`Self::stop`] for several at once, outside any runtime.
    pub(crate) fn stop_all<'a>(all: &(impl Iterator<Item = &'a Self> + Clone), grace: Duration) {
        let deadline = Instant::now() + grace;
        if !grace.is_zero() {
            all.clone().for_each(|process| process.signal(Signal::SIGTERM));
        }
        while all.clone().any(|process| process.ended().is_none()) && Instant::now() < deadline {
            std::thread::sleep(INTERVAL);
        }
        all.clone().for_each(Self::kill_group);
        let deadline = Instant::now() + Duration::from_secs(5); // SIGKILL waits only for the kernel
        while all.clone().any(|process| process.ended().is_none()) && Instant::now() < deadline {
            std::thread::sleep(INTERVAL);
        }
    }

    /// Kills what is left of the group, its leader included.
    pub(crate) fn kill_group(&self) {
        let _ = signal::killpg(pid(self.pid), Signal::SIGKILL);
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        self.ended();
    }
}

/// When the process `id` began, in clock ticks since boot: with the id it names one process for
/// good. Field 22 of `/proc/<pid>/stat` (proc(5)), counted behind the parenthesised name.
pub(crate) fn started_at(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

/// Kills the group led by `id`, if that is still the process that began at `start`.
pub(crate) fn kill_leftover(id: u32, start: u64) {
    if started_at(id) == Some(start) {
        let _ = signal::killpg(pid(id), Signal::SIGKILL);
    }
}

/// The last lines of a log, each on a line of its own.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    format!("--- end of {}\n{}", log.display(), lines[from..].join("\n"))
}

/// Runs `hook` when this process exits in the ordinary way (also when a test failed).
pub(crate) fn at_exit(hook: extern "C" fn()) {
    // SAFETY: `atexit` only stores the pointer of a function that lives for ever. The hook runs on
    // the exiting thread, before the memory of the program is torn down.
    let refused = unsafe { libc::atexit(hook) };
    debug_assert_eq!(refused, 0, "at least 32 hooks are guaranteed");
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("shell", command, folder.join("log")).expect("sh starts")
    }

    #[tokio::test]
    async fn a_process_outlives_the_thread_that_asked_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let process =
            std::thread::spawn(move || shell("sleep 60", &path)).join().expect("no panic");
        assert!(process.ended().is_none());
        process.stop(Duration::ZERO).await;
        assert!(process.ended().is_some());
    }

    #[tokio::test]
    async fn a_stop_reaches_children_that_ignore_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = shell("trap '' TERM; sleep 60 & echo $!; wait; sleep 60", folder.path());
        let child = crate::poll_for("the child's id", Duration::from_secs(10), || async {
            std::fs::read_to_string(folder.path().join("log")).ok()?.trim().parse::<u32>().ok()
        })
        .await
        .expect("the shell prints the id of its child");
        process.stop(Duration::from_millis(50)).await;
        let gone = || async {
            // A killed orphan may stay a zombie when nothing above reaps it.
            std::fs::read_to_string(format!("/proc/{child}/stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        };
        crate::poll("the child gone", Duration::from_secs(10), gone).await.expect("it is killed");
    }

    #[tokio::test]
    async fn a_leftover_is_killed_only_when_it_is_the_same_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = shell("sleep 60", folder.path());
        let start = started_at(process.pid()).expect("it runs");
        kill_leftover(process.pid(), start + 1);
        assert!(process.ended().is_none());
        kill_leftover(process.pid(), start);
        let status = process.wait().await;
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }
}
