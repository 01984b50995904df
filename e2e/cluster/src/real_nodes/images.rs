//! Images go to nodes as OCI archives: nothing here reaches a registry, so pods ask with
//! `imagePullPolicy: IfNotPresent` or `Never`.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::config::CONTAINERD_SOCKET;
use super::node::Life;
use crate::ClusterError;
use crate::cluster::succeeded;

/// For the kubelet's view of images to follow an import.
const KNOWN_LIMIT: Duration = Duration::from_secs(30);

/// Put by containerd onto an image once pods can use it.
const KNOWN: &str = "io.cri-containerd.image=managed";

/// Imports an archive into one node and waits until pods can use it. Blocks.
pub(super) fn load(node: &Life, archive: &Path) -> Result<(), ClusterError> {
    let mut command = ctr();
    // As standard input: not every path of the machine means the same on the node.
    command.args(["images", "import", "-"]);
    command.stdin(File::open(archive).map_err(ClusterError::file(archive))?);
    succeeded("ctr images import", &node.output(command)?)?;
    let deadline = Instant::now() + KNOWN_LIMIT;
    loop {
        let mut command = ctr();
        command.args(["images", "list"]);
        let list = succeeded("ctr images list", &node.output(command)?)?;
        if list.lines().skip(1).all(|line| line.contains(KNOWN)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let what = format!("containerd know the images of {}", archive.display());
            return Err(ClusterError::Late { what, seconds: KNOWN_LIMIT.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn ctr() -> Command {
    let mut command = Command::new("ctr");
    command.args(["--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"]);
    command
}
