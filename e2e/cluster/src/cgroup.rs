//! One cgroup per real node, on machines with cgroup v1 (a folder in every hierarchy) and v2 (one
//! folder). Its name carries the run's id, so that what a dead run left is found by name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ClusterError;

const MOUNT: &str = "/sys/fs/cgroup";

/// Of the names of all groups made here.
const PREFIX: &str = "orrery-e2e-";

/// Present in the root of a v2 hierarchy only.
const CONTROLLERS: &str = "cgroup.controllers";

/// A v1 group without these takes no tasks.
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Below the node's group: kubelet and containerd themselves. In v2 a group that has groups may
/// have no processes.
const DAEMONS: &str = "daemons";

/// For killed processes to leave their groups.
const EMPTY_LIMIT: Duration = Duration::from_secs(10);

/// The group of one node.
#[derive(Debug)]
pub(crate) struct Cgroup {
    name: String,
    hierarchies: Vec<PathBuf>,
}

impl Cgroup {
    /// As kubelet's `cgroupRoot` names the group of a node.
    pub(crate) fn name_of(run: &str, node: &str) -> String {
        format!("/{}{node}", prefix(run))
    }

    /// Makes `orrery-e2e-<run>-<node>` in every hierarchy, empty.
    pub(crate) fn make(run: &str, node: &str) -> Result<Self, ClusterError> {
        let group = Self { name: prefix(run) + node, hierarchies: hierarchies(Path::new(MOUNT)) };
        if group.hierarchies.is_empty() {
            return Err(ClusterError::Missing(format!("no cgroups are mounted at {MOUNT}")));
        }
        for hierarchy in &group.hierarchies {
            let folder = hierarchy.join(&group.name);
            clear(&folder);
            prepare(&folder)?;
            lacking(&folder)?;
            prepare(&folder.join(DAEMONS))?;
        }
        Ok(group)
    }

    /// What a daemon writes itself into to belong to the node.
    pub(crate) fn tasks(&self) -> Result<Vec<File>, ClusterError> {
        let open = |hierarchy: &PathBuf| {
            let path = hierarchy.join(&self.name).join(DAEMONS).join("cgroup.procs");
            File::options().write(true).open(&path).map_err(ClusterError::file(path))
        };
        self.hierarchies.iter().map(open).collect()
    }
}

/// What a kubelet cannot do without on version 2.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];

/// Removes groups that no process is in and whose run is not among `runs`.
pub(crate) fn remove_abandoned(runs: &[String]) {
    let root = Path::new(MOUNT);
    for group in hierarchies(root).iter().flat_map(|hierarchy| below(hierarchy)) {
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) && !runs.iter().any(|run| name.starts_with(&prefix(run))) {
            // Groups with processes stay: they may be of somebody with another temporary folder.
            remove_empty(&group);
        }
    }
}

/// Kills what is left in the groups of a run and removes them.
pub(crate) fn remove(run: &str) {
    for hierarchy in hierarchies(Path::new(MOUNT)) {
        let Ok(entries) = fs::read_dir(&hierarchy) else { continue };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(&prefix(run)) {
                clear(&entry.path());
            }
        }
    }
}

fn prefix(run: &str) -> String {
    format!("{PREFIX}{run}-")
}

/// Every v1 hierarchy and the v2 one, wherever they are mounted below `mount`.
fn hierarchies(mount: &Path) -> Vec<PathBuf> {
    if mount.join(CONTROLLERS).exists() {
        return vec![mount.to_owned()];
    }
    let Ok(entries) = fs::read_dir(mount) else { return Vec::new() };
    let folders = entries.filter_map(Result::ok).map(|entry| entry.path());
    // `cpu` may be a link to `cpu,cpuacct`.
    folders.filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists()).collect()
}

/// Says what a group of version 2 was not given: another manager may keep it for itself.
fn lacking(folder: &Path) -> Result<(), ClusterError> {
    let Ok(given) = fs::read_to_string(folder.join(CONTROLLERS)) else { return Ok(()) };
    // Beside version 1 the hierarchy of version 2 has none, and needs none.
    if !Path::new(MOUNT).join(CONTROLLERS).exists() {
        return Ok(());
    }
    let has = |name: &&str| given.split_whitespace().any(|given| given == *name);
    let lacks: Vec<&str> = NEEDED.into_iter().filter(|name| !has(name)).collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let lacks = lacks.join(", ");
    Err(ClusterError::Missing(format!("real nodes need the cgroup controllers {lacks}")))
}

/// Creates a group that takes tasks and whose parent hands its controllers down.
fn prepare(folder: &Path) -> Result<(), ClusterError> {
    let Some(parent) = folder.parent() else { return Ok(()) };
    if let Ok(controllers) = fs::read_to_string(parent.join(CONTROLLERS)) {
        for controller in controllers.split_whitespace() {
            // One that cannot be handed down (`cpu` beside real-time tasks) the kubelet names.
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    fs::create_dir_all(folder).map_err(ClusterError::file(folder))?;
    if parent.join(CONTROLLERS).exists() {
        return Ok(());
    }
    for name in CPUSET {
        if let Ok(value) = fs::read_to_string(parent.join(name)) {
            let path = folder.join(name);
            fs::write(&path, value.trim()).map_err(ClusterError::file(path))?;
        }
    }
    Ok(())
}

/// Removes a group from its leaves up, killing its processes first.
fn clear(folder: &Path) {
    let deadline = Instant::now() + EMPTY_LIMIT;
    loop {
        kill_members(folder);
        if remove_empty(folder) || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn kill_members(folder: &Path) {
    for child in below(folder) {
        kill_members(&child);
    }
    let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process that this one cannot see.
    for pid in members.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn remove_empty(folder: &Path) -> bool {
    let children = below(folder);
    let emptied = children.iter().all(|child| remove_empty(child));
    emptied && (fs::remove_dir(folder).is_ok() || !folder.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        root
    }

    #[test]
    fn every_hierarchy_of_version_1_is_found() {
        let root = tree(&[("cpu/cgroup.procs", ""), ("memory/cgroup.procs", ""), ("x/y", "")]);
        let mut found = hierarchies(root.path());
        found.sort();
        assert_eq!(found, [root.path().join("cpu"), root.path().join("memory")]);
    }

    #[test]
    fn version_2_has_one_and_hands_its_controllers_down() {
        let root = tree(&[(CONTROLLERS, "cpu memory\n"), ("cgroup.procs", "")]);
        assert_eq!(hierarchies(root.path()), [root.path().to_owned()]);
        prepare(&root.path().join("node")).expect("it is made");
        let handed = fs::read_to_string(root.path().join("cgroup.subtree_control"));
        assert_eq!(handed.expect("a file"), "+memory", "each is written, the last stays here");
    }

    #[test]
    fn a_group_of_version_1_gets_the_processors_of_its_parent() {
        let root = tree(&[("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n")]);
        let node = root.path().join("node");
        prepare(&node).expect("it is made");
        let cpus = fs::read_to_string(node.join("cpuset.cpus"));
        assert_eq!(cpus.expect("a file"), "0-1");
    }
}
