//! Logs of nodes and pods, copied out of the run before it is removed.

use std::fs;
use std::path::{Path, PathBuf};

use super::{RealNodes, Shared};
use crate::ClusterError;
use crate::say::say;

/// Where logs of failed tests go; `e2e-logs` in the folder of build outputs when not set.
const FOLDER: &str = "ORRERY_TEST_LOGS";

/// What a look at the cluster begins with.
const OBJECTS: [&str; 2] = ["get", "nodes,pods,persistentvolumes,persistentvolumeclaims,events"];

/// How deep logs of pods are: `<pod>/<container>/<restart>.log`.
const DEPTH_MAX: usize = 4;

/// Collects the logs when it is dropped by a failing test.
#[derive(Debug)]
pub struct LogsIfFailed {
    nodes: RealNodes,
    test: String,
}

impl RealNodes {
    /// Copies the logs of the control plane, of every node's parts and of all pods into `folder`,
    /// with a list of objects. Blocks.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn collect_logs(&self, folder: &Path) -> Result<(), ClusterError> {
        let Shared { run, nodes, .. } = &*self.shared;
        fs::create_dir_all(folder).map_err(ClusterError::file(folder))?;
        let mut command = self.command(crate::tool("kubectl")?);
        command.args(OBJECTS).args(["--all-namespaces", "--output=wide", "--request-timeout=20s"]);
        // A control plane that is gone has logs that say why.
        if let Ok(output) = command.output() {
            let path = folder.join("objects.txt");
            fs::write(&path, output.stdout).map_err(ClusterError::file(path))?;
        }
        copy_logs(&run.folder("control-plane")?, &folder.join("control-plane"), 1)?;
        copy_logs(&run.folder("dns")?, &folder.join("control-plane"), 1)?;
        for node in nodes {
            let to = folder.join(&node.plan.name);
            copy_logs(&node.folder, &to, 1)?;
            copy_logs(&node.disk("/var/log/pods"), &to.join("pods"), DEPTH_MAX)?;
        }
        Ok(())
    }

    /// Collects the logs if the test that holds the guard panics, and says where they are:
    /// `target/e2e-logs/<test>`, or below `ORRERY_TEST_LOGS`. Those of an earlier failure go.
    #[must_use = "it acts when it is dropped"]
    pub fn logs_if_failed(&self, test: &str) -> LogsIfFailed {
        LogsIfFailed { nodes: self.clone(), test: test.to_owned() }
    }
}

impl Drop for LogsIfFailed {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let set = std::env::var_os(FOLDER).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set.unwrap_or_else(|| target().join("e2e-logs")).join(&self.test);
        let _ = fs::remove_dir_all(&folder);
        match self.nodes.collect_logs(&folder) {
            Ok(()) => say(&format!("logs of {} are in {}", self.test, folder.display())),
            Err(cause) => say(&format!("logs of {} are lost: {cause}", self.test)),
        }
    }
}

/// The folder of build outputs.
fn target() -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    set.map_or_else(usual, PathBuf::from)
}

/// Copies the files `*.log` of a folder and of those below it.
fn copy_logs(from: &Path, to: &Path, depth: usize) -> Result<(), ClusterError> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let Some(name) = path.file_name() else { continue };
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        if is_log && path.is_file() {
            fs::create_dir_all(to).map_err(ClusterError::file(to))?;
            fs::copy(&path, to.join(name)).map_err(ClusterError::file(&path))?;
        } else if path.is_dir() && depth > 1 {
            copy_logs(&path, &to.join(name), depth - 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_found_where_kubelets_put_them() {
        let (from, to) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
        let to = to.expect("a folder");
        let pod = from.path().join("ns_web-0_uid/main");
        fs::create_dir_all(&pod).expect("a folder");
        fs::write(pod.join("0.log"), "line").expect("a file");
        fs::write(pod.join("data"), "not a log").expect("a file");
        copy_logs(from.path(), to.path(), DEPTH_MAX).expect("it is copied");
        let copied = to.path().join("ns_web-0_uid/main");
        assert!(copied.join("0.log").exists() && !copied.join("data").exists());
    }
}
