//! Where a child lives besides its thread: namespaces it enters and cgroups it joins between fork
//! and exec, so that nothing of it is ever anywhere else.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use nix::sched::{CloneFlags, setns, unshare};

/// Everything a child enters before it becomes its program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// Joined in this order.
    pub(crate) namespaces: Vec<(Arc<OwnedFd>, CloneFlags)>,
    /// Opened `cgroup.procs` files.
    pub(crate) cgroups: Arc<Vec<File>>,
    /// Namespaces made for the child alone.
    pub(crate) fresh: Option<CloneFlags>,
}

impl Place {
    /// Lets `command` start here.
    pub(crate) fn apply(&self, command: &mut Command) {
        let Self { namespaces, cgroups, fresh } = self.clone();
        // SAFETY: between fork and exec only system calls are made: `write` to files opened
        // before, `setns`, `unshare`; nothing is allocated and no lock is taken.
        unsafe {
            command.pre_exec(move || {
                for mut tasks in cgroups.iter() {
                    tasks.write_all(b"0")?; // the writer itself
                }
                for (namespace, kind) in &namespaces {
                    setns(namespace, *kind)?;
                }
                if let Some(fresh) = fresh {
                    unshare(fresh)?;
                }
                Ok(())
            });
        }
    }
}
