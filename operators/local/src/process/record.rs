//! Records of running processes, so that the next `orrery up` finds what a crashed one left behind
//! and ends it before it opens the same data.
//!
//! A pid alone is not enough, since pids are used again: the start time belongs to it. A process
//! that does not match its record is somebody else's and is left alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::folder::{Folder, FolderError, error, read_file, write_file};

/// A process as it was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub process: String,
    pub pid: u32,
    /// When the kernel says it started; opaque, compared for equality.
    pub started: String,
}

/// The file of a record; removed when the process has ended.
#[derive(Debug)]
pub struct Recorded {
    path: PathBuf,
}

impl Recorded {
    /// Writes the record of a process that was just started. None where it has ended already.
    pub fn write(folder: &Folder, name: &str, pid: u32) -> Result<Option<Self>, FolderError> {
        let Some(started) = start_time(pid) else { return Ok(None) };
        let record = Record { process: name.to_owned(), pid, started };
        let path = folder.run().join(format!("{}.json", name.replace('/', "_")));
        write_file(&path, &serde_json::to_vec(&record).unwrap_or_default())?;
        Ok(Some(Self { path }))
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Time an orphan gets to end by itself. Its clients are gone from its parent's view anyway.
const GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Ends every process that a record in this folder is about and that still runs. Returns those that
/// were ended. Only to be called while the folder's lock is held.
pub fn end_orphans(folder: &Folder) -> Result<Vec<Record>, FolderError> {
    let run = folder.run();
    let mut ended = Vec::new();
    let entries = match std::fs::read_dir(&run) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(ended),
        Err(source) => return Err(error("list", &run, source)),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // A record that cannot be read was half written: the process it is about was never let go.
        let record: Option<Record> =
            read_file(&path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(record) = record.filter(is_running) {
            end(&record);
            ended.push(record);
        }
        remove(&path)?;
    }
    Ok(ended)
}

fn remove(path: &Path) -> Result<(), FolderError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(error("remove", path, source))
        }
        _ => Ok(()),
    }
}

fn is_running(record: &Record) -> bool {
    start_time(record.pid).is_some_and(|started| started == record.started)
}

fn end(record: &Record) {
    let pid = Pid::from_raw(record.pid.cast_signed());
    for (signal, patience) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, GRACE)] {
        if kill(pid, signal) == Err(Errno::ESRCH) {
            return;
        }
        let deadline = Instant::now() + patience;
        while is_running(record) && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}

/// When a running process started; none when there is no such process (or only its exit code).
pub fn start_time(pid: u32) -> Option<String> {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => start_ticks(&stat),
        Err(_) if Path::new("/proc/self/stat").exists() => None,
        Err(_) => start_time_by_ps(pid),
    }
}

/// Field 22 of `/proc/<pid>/stat`, counted behind the command name, which may hold anything. A
/// zombie has ended.
fn start_ticks(stat: &str) -> Option<String> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

fn start_time_by_ps(pid: u32) -> Option<String> {
    let mut command = std::process::Command::new("ps");
    let output = command.args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().expect("sleep is on every machine")
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(temporary.path()).unwrap();
        (temporary, folder)
    }

    #[test]
    fn the_start_time_is_found_behind_any_command_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_ticks(&format!("7 (a) b) S {rest}")).as_deref(), Some("4711"));
        assert_eq!(start_ticks(&format!("7 (a) Z {rest}")), None);
    }

    #[test]
    fn an_orphan_is_ended_and_its_record_removed() {
        let (_keep, folder) = folder();
        let mut child = sleeper();
        let recorded = Recorded::write(&folder, "ns/a-0", child.id()).unwrap().unwrap();
        std::mem::forget(recorded);
        // The sleeper is a child of this test, so somebody has to collect it.
        let collector = std::thread::spawn(move || child.wait().map(|status| status.success()));
        let ended = end_orphans(&folder).unwrap();
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].process, "ns/a-0");
        assert!(!collector.join().unwrap().unwrap(), "it ended by a signal");
        assert!(end_orphans(&folder).unwrap().is_empty());
    }

    #[test]
    fn a_process_that_got_an_old_pid_is_left_alone() {
        let (_keep, folder) = folder();
        let mut child = sleeper();
        let record = Record { process: "a".into(), pid: child.id(), started: "1".into() };
        let path = folder.run().join("a.json");
        write_file(&path, &serde_json::to_vec(&record).unwrap()).unwrap();
        assert!(end_orphans(&folder).unwrap().is_empty());
        assert!(child.try_wait().unwrap().is_none(), "it still runs");
        assert!(!path.exists());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
