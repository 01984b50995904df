//! The folder of one run: logs, certificates, volumes and a list of the processes it started.
//! What a dead run left behind is found here and removed by the next one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::cluster::background;
use crate::process::{self, Process};
use crate::{ClusterError, cgroup};

/// Held by a run as long as its process lives; the kernel lets go of it at any kind of death.
const OWNER: &str = "owner";

/// One line per started process: id and start time.
const PROCESSES: &str = "processes";

/// Set to keep the folders of runs for a look at them.
pub(crate) const KEEP: &str = "ORRERY_TEST_KEEP";

/// Runs of this process that the exit hook ends.
static LIVE: Mutex<Vec<Weak<Run>>> = Mutex::new(Vec::new());

/// One run. Dropping it kills its processes and removes its folder.
#[derive(Debug)]
pub(crate) struct Run {
    id: String,
    folder: PathBuf,
    _owner: File,
    list: Mutex<File>,
    /// Whoever started a process holds it; a dropped one is killed.
    processes: Mutex<Vec<Weak<Process>>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Run {
    /// Removes what dead runs left, then opens a folder for a new one.
    pub(crate) fn open() -> Result<Arc<Self>, ClusterError> {
        let run = Arc::new(Self::open_in(&root())?);
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        if live.is_empty() {
            process::at_exit(end_all);
        }
        live.push(Arc::downgrade(&run));
        Ok(run)
    }

    fn open_in(root: &Path) -> Result<Self, ClusterError> {
        let _gate = gate(root)?;
        sweep(root);

        let id = format!("{:08x}", rand::random::<u32>());
        let folder = root.join(&id);
        let inside = |name: &str| {
            let path = folder.join(name);
            File::create_new(&path).map_err(ClusterError::file(path))
        };
        fs::create_dir(&folder).map_err(ClusterError::file(&folder))?;
        let owner = inside(OWNER)?;
        owner.lock().map_err(ClusterError::file(&folder))?;
        let list = Mutex::new(inside(PROCESSES)?);
        Ok(Self {
            id,
            folder,
            _owner: owner,
            list,
            processes: Mutex::default(),
            tasks: Mutex::default(),
        })
    }

    /// Eight hexadecimal digits, fresh for every run.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// A folder inside the run, created.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, ClusterError> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(ClusterError::file(&folder))?;
        Ok(folder)
    }

    /// Starts a process that ends with this run at the latest; it logs to `log`.
    pub(crate) fn start(
        &self,
        name: &str,
        command: Command,
        log: PathBuf,
    ) -> Result<Arc<Process>, ClusterError> {
        self.keep(Process::start(name, command, log)?)
    }

    /// Sees to it that a process ends with this run at the latest.
    pub(crate) fn keep(&self, process: Process) -> Result<Arc<Process>, ClusterError> {
        let process = Arc::new(process);
        if let Some(start) = process::started_at(process.pid()) {
            let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(list, "{} {start}", process.pid())
                .map_err(ClusterError::file(&self.folder))?;
        }
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.retain(|known| known.strong_count() > 0);
        processes.push(Arc::downgrade(&process));
        Ok(process)
    }

    /// Runs a task beside all tests, until it ends or this run does.
    pub(crate) fn task(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let handle = background().spawn(task).abort_handle();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|known| !known.is_finished());
        tasks.push(handle.clone());
        handle
    }

    /// Kills all that still runs. Nothing of a run is worth a clean shutdown: its state is thrown
    /// away and its address is not used again.
    pub(crate) fn end(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(AbortHandle::abort);
        let processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        let processes: Vec<_> = processes.iter().filter_map(Weak::upgrade).collect();
        Process::stop_all(&processes.iter().map(Arc::as_ref), Duration::ZERO);
        cgroup::remove(&self.id);
        if std::env::var_os(KEEP).is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end();
    }
}

extern "C" fn end_all() {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.iter().filter_map(Weak::upgrade).for_each(|run| run.end());
}

/// Removes what runs left whose process was killed: processes, mounts, network, groups, folders.
/// Every start does the same; this is for those who start nothing more.
///
/// # Errors
/// When the folder of runs cannot be used.
pub fn clean() -> Result<(), ClusterError> {
    let root = root();
    let _gate = gate(&root)?;
    sweep(&root);
    Ok(())
}

/// The folder of all runs of this user.
fn root() -> PathBuf {
    let user = nix::unistd::getuid();
    std::env::temp_dir().join(format!("orrery-e2e-{user}"))
}

/// One at a time: a folder whose owner has not locked it yet must not look dead.
fn gate(root: &Path) -> Result<File, ClusterError> {
    fs::create_dir_all(root).map_err(ClusterError::file(root))?;
    let gate = File::create(root.join("gate")).map_err(ClusterError::file(root))?;
    gate.lock().map_err(ClusterError::file(root))?;
    Ok(gate)
}

/// Kills the processes and removes the folders of runs whose owner is gone.
fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for folder in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let Ok(owner) = File::open(folder.join(OWNER)) else { continue };
        if owner.try_lock().is_err() {
            continue;
        }
        for line in fs::read_to_string(folder.join(PROCESSES)).unwrap_or_default().lines() {
            let mut words = line.split(' ').map(str::parse::<u64>);
            if let (Some(Ok(id)), Some(Ok(start))) = (words.next(), words.next()) {
                process::kill_leftover(id as u32, start);
            }
        }
        if let Some(id) = folder.file_name() {
            cgroup::remove(&id.to_string_lossy());
        }
        if std::env::var_os(KEEP).is_none() {
            let _ = fs::remove_dir_all(&folder);
        }
    }
    let left = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    let runs: Vec<_> = left.map(|run| run.file_name().to_string_lossy().into_owned()).collect();
    cgroup::remove_abandoned(&runs);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_run_is_swept_and_a_living_one_is_not() {
        let root = tempfile::tempdir().expect("a folder");
        let living = Run::open_in(root.path()).expect("a run");
        let dead = root.path().join("dead");
        fs::create_dir(&dead).expect("a folder");
        fs::write(dead.join(OWNER), "").expect("a file");
        let mut command = Command::new("sleep");
        command.arg("60");
        let orphan = Process::start("orphan", command, root.path().join("log")).expect("it starts");
        let start = process::started_at(orphan.pid()).expect("it runs");
        fs::write(dead.join(PROCESSES), format!("{} {start}\n", orphan.pid())).expect("a file");

        let next = Run::open_in(root.path()).expect("a run");

        assert!(!dead.exists(), "the dead run's folder is removed");
        while orphan.ended().is_none() {
            std::thread::yield_now();
        }
        assert!(living.folder.exists() && next.folder.exists());
    }

    #[test]
    fn a_dropped_run_leaves_no_process_and_no_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let run = Run::open_in(root.path()).expect("a run");
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = run.start("sleep", command, root.path().join("log")).expect("it starts");
        let folder = run.folder.clone();
        drop(run);
        assert!(process.ended().is_some() && !folder.exists());
    }
}
