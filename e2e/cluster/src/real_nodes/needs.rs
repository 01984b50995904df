//! What real nodes need of the machine: root, a few programs, CNI plugins. Nothing is installed
//! here (`scripts/need` does); what is missing is "not run" with the names of Debian's packages.

use std::path::{Path, PathBuf};

use crate::ClusterError;
use crate::process::PATH;

/// Programs, and the Debian packages they come with.
const PROGRAMS: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("mountpoint", "util-linux"),
    ("sh", "dash"),
];

const PLUGINS_PACKAGE: &str = "containernetworking-plugins";

/// Debian's place, and where everybody else puts them.
const PLUGIN_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

const PLUGINS: [&str; 4] = ["ptp", "host-local", "portmap", "loopback"];

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    /// The folder of CNI plugins.
    pub(super) plugins: PathBuf,
}

/// Says what the machine lacks.
pub(super) fn check() -> Result<Needs, ClusterError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(ClusterError::Missing("real nodes need root".to_owned()));
    }
    let missing = missing();
    match plugins() {
        Some(plugins) if missing.is_empty() => Ok(Needs { plugins }),
        _ => {
            let packages = missing.join(", ");
            Err(ClusterError::Missing(format!("real nodes need the packages {packages}")))
        }
    }
}

fn missing() -> Vec<&'static str> {
    let found =
        |program: &str| PATH.split(':').any(|folder| Path::new(folder).join(program).exists());
    let mut packages: Vec<_> =
        PROGRAMS.iter().filter(|(name, _)| !found(name)).map(|(_, package)| *package).collect();
    if plugins().is_none() {
        packages.push(PLUGINS_PACKAGE);
    }
    packages.dedup();
    packages
}

fn plugins() -> Option<PathBuf> {
    let whole = |folder: &&Path| PLUGINS.iter().all(|plugin| folder.join(plugin).exists());
    PLUGIN_FOLDERS.iter().map(Path::new).find(whole).map(Path::to_owned)
}
