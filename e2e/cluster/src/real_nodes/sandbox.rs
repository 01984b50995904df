//! The namespaces of one node. To what runs inside, the node is a machine: its own processes,
//! network, host name, mounts, `/run` and `/var`. A first process holds them all; when it dies the
//! kernel kills everything else inside and takes mounts and devices with it. It dies with the test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use super::plan::{BRIDGE_ADDRESS, Plan};
use crate::cgroup::Cgroup;
use crate::netns::NetNs;
use crate::process::{Forker, PATH, Place, Process};
use crate::run::Run;
use crate::wait::poll_for;
use crate::{ClusterError, tool};

/// For a few mounts.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// Settings of the whole machine that a kubelet writes; a node gets files in their place.
/// The last is what a reboot changes.
const SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/random/boot_id", ""),
];

/// Lets clients of the API server open another connection some seconds after theirs broke without
/// a word, instead of three quarters of a minute.
const NOTICE_A_CUT: [(&str, &str); 2] =
    [("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "4"), ("HTTP2_PING_TIMEOUT_SECONDS", "3")];

/// Arguments: the node's folder, its name, the first process.
const INIT: &str = r#"set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$1/var" /var
# Names are those of the cluster; the file may be a link to one in /run.
names=$(readlink -m /etc/resolv.conf)
mkdir -p "$(dirname "$names")"
[ -e "$names" ] || touch "$names"
mount --bind "$1/resolv.conf" "$names"
cd "$1/settings"
find . -type f | while read -r file; do mount --bind "$file" "/proc/sys/$file"; done
cd /
mount --make-rshared /
echo "$2" > /proc/sys/kernel/hostname
ip link set lo up
touch /run/open
exec "$3"
"#;

/// A running first process and the way to others beside it.
#[derive(Debug)]
pub(super) struct Sandbox {
    forker: Forker,
    init: Arc<Process>,
    place: Place,
    pub(super) netns: NetNs,
}

impl Sandbox {
    /// Opens the namespaces; `folder` becomes the node's disk.
    pub(super) async fn open(
        run: &Run,
        plan: &Plan,
        folder: &Path,
        cgroup: &Cgroup,
    ) -> Result<Self, ClusterError> {
        lay_out(folder)?;
        let start = |cause| ClusterError::Start { program: plan.name.clone(), cause };
        // The thread stays outside; what it forks is inside, the first child as process 1.
        let forker = Forker::start(|| Ok(unshare(CloneFlags::CLONE_NEWPID)?)).map_err(start)?;
        let mut place = Place { cgroups: Arc::new(cgroup.tasks()?), ..Place::default() };
        let fresh = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC;
        let mut command = Command::new("sh");
        command.args(["-c", INIT, "init"]).arg(folder).arg(&plan.name).arg(tool("pause")?);
        command.env("PATH", PATH);
        Place { fresh: Some(fresh), ..place.clone() }.apply(&mut command);
        let log = folder.join("init.log");
        let init = run.keep(Process::start_by(&forker, &plan.name, command, log)?)?;

        let opened = inside(init.pid(), Path::new("/run/open"));
        let outcome = poll_for(&plan.name, OPEN_LIMIT, || async {
            let ended = init.ended().map(|_| Err(init.tail()));
            ended.or_else(|| opened.exists().then_some(Ok(())))
        });
        outcome.await?.map_err(|logs| {
            let reason = "its namespaces cannot be set up".to_owned();
            ClusterError::NotReady { part: plan.name.clone(), reason, logs }
        })?;
        let netns = NetNs::of(init.pid())?;
        place.namespaces = members(init.pid(), &netns)?;
        Ok(Self { forker, init, place, netns })
    }

    /// Starts a daemon inside; it ends with the node.
    pub(super) fn start(
        &self,
        run: &Run,
        name: &str,
        mut command: Command,
        log: PathBuf,
    ) -> Result<Arc<Process>, ClusterError> {
        command.env("PATH", PATH).current_dir("/");
        command.envs(NOTICE_A_CUT);
        self.place.apply(&mut command);
        run.keep(Process::start_by(&self.forker, name, command, log)?)
    }

    /// Runs a command inside to its end. Blocks.
    pub(super) fn output(&self, mut command: Command) -> Result<Output, ClusterError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.env("PATH", PATH).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.place.apply(&mut command);
        let child = self.forker.spawn(command).and_then(std::process::Child::wait_with_output);
        child.map_err(|cause| ClusterError::Start { program, cause })
    }

    /// Where a path of the node is for those outside.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        inside(self.init.pid(), Path::new(path))
    }

    /// The first process, as the machine counts.
    pub(super) fn pid(&self) -> u32 {
        self.init.pid()
    }

    /// Ends everything inside without a word, as a power cut does.
    pub(super) fn kill(&self) {
        self.init.kill_group();
    }

    /// Waits until nothing inside is left.
    pub(super) async fn dead(&self) {
        self.init.wait().await;
    }
}

fn inside(pid: u32, path: &Path) -> PathBuf {
    Path::new("/proc")
        .join(pid.to_string())
        .join("root")
        .join(path.strip_prefix("/").unwrap_or(path))
}

/// What later processes of the node join. Mounts come last: they change what paths mean.
fn members(
    pid: u32,
    netns: &NetNs,
) -> Result<Vec<(Arc<std::os::fd::OwnedFd>, CloneFlags)>, ClusterError> {
    let mut members = vec![netns.member()];
    let kinds = [
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    for (name, kind) in kinds {
        let path = format!("/proc/{pid}/ns/{name}");
        let file = std::fs::File::open(&path).map_err(ClusterError::file(path))?;
        members.push((Arc::new(file.into()), kind));
    }
    Ok(members)
}

/// The node's disk, as its last start left it, and settings as after a boot.
fn lay_out(folder: &Path) -> Result<(), ClusterError> {
    for name in ["var/lib", "var/log", "var/tmp", "settings"] {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).map_err(ClusterError::file(path))?;
    }
    let run = folder.join("var/run");
    if !run.is_symlink() {
        std::os::unix::fs::symlink("/run", &run).map_err(ClusterError::file(run))?;
    }
    let names = folder.join("resolv.conf");
    std::fs::write(&names, format!("nameserver {BRIDGE_ADDRESS}\n"))
        .map_err(ClusterError::file(names))?;
    for (setting, value) in SETTINGS {
        if !Path::new("/proc/sys").join(setting).exists() {
            continue;
        }
        let value = match value {
            "" => format!("{:032x}", rand::random::<u128>()),
            value => value.to_owned(),
        };
        let path = folder.join("settings").join(setting);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(ClusterError::file(parent))?;
        std::fs::write(&path, value + "\n").map_err(ClusterError::file(path))?;
    }
    Ok(())
}
