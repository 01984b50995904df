//! Network namespaces. One lives as long as a process in it or a handle on it: nothing is pinned
//! in `/run/netns`, so the kernel removes a namespace, its bridges and its veths with its last user,
//! however the test ends.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use crate::ClusterError;
use crate::process::Place;

/// For a connection inside; a peer that is cut off never answers.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A handle on a network namespace.
#[derive(Debug, Clone)]
pub(crate) struct NetNs {
    file: Arc<OwnedFd>,
}

impl NetNs {
    /// A fresh namespace with nothing but a loopback device that is down.
    pub(crate) fn fresh() -> Result<Self, ClusterError> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let file = made.join().map_err(|_| panicked())?;
        file.map(Self::from).map_err(|cause| {
            ClusterError::Missing(format!("network namespaces cannot be made here: {cause}"))
        })
    }

    /// The namespace that process `pid` is in.
    pub(crate) fn of(pid: u32) -> Result<Self, ClusterError> {
        let path = format!("/proc/{pid}/ns/net");
        File::open(&path).map(Self::from).map_err(ClusterError::file(path))
    }

    /// Lets `command` start inside.
    pub(crate) fn enter(&self, command: &mut Command) {
        let namespaces = vec![(self.file.clone(), CloneFlags::CLONE_NEWNET)];
        Place { namespaces, ..Place::default() }.apply(command);
    }

    /// For children that join more than this.
    pub(crate) fn member(&self) -> (Arc<OwnedFd>, CloneFlags) {
        (self.file.clone(), CloneFlags::CLONE_NEWNET)
    }

    /// Calls `inside` on a thread in the namespace. Sockets made there stay there.
    pub(crate) fn within<T: Send + 'static>(
        &self,
        inside: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let file = self.file.clone();
        let thread = std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            inside()
        });
        thread.join().map_err(|_| std::io::Error::other("a thread in a namespace panicked"))?
    }

    /// A connection to an address inside.
    pub(crate) fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        self.connect_within(address, CONNECT_LIMIT)
    }

    /// [`Self::connect`] with a limit of the caller's.
    pub(crate) fn connect_within(
        &self,
        address: SocketAddr,
        limit: Duration,
    ) -> std::io::Result<TcpStream> {
        self.within(move || TcpStream::connect_timeout(&address, limit))
    }

    /// Sets a value below `/proc/sys/net`, which every namespace has for itself.
    pub(crate) fn set(&self, key: &str, value: &'static str) -> Result<(), ClusterError> {
        let path = Path::new("/proc/sys/net").join(key);
        let file = path.clone();
        self.within(move || std::fs::write(file, value)).map_err(ClusterError::file(path))
    }

    /// Runs a command of a few words, such as `ip link set lo up`, to its end inside.
    pub(crate) fn run(&self, line: &str) -> Result<(), ClusterError> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env("PATH", crate::process::PATH);
        self.enter(&mut command);
        let start = |cause| ClusterError::Start { program: line.to_owned(), cause };
        let output = command.output().map_err(start)?;
        crate::cluster::succeeded(line, &output).map(drop)
    }
}

impl From<File> for NetNs {
    fn from(file: File) -> Self {
        Self { file: Arc::new(file.into()) }
    }
}

fn panicked() -> ClusterError {
    ClusterError::Missing("a thread that makes a network namespace panicked".to_owned())
}
