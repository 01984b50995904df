//! Disks that are full, files that may not grow, syncs that fail, under the engines themselves.
//!
//! Goal: the group that failed is `Unknown`, everything after it `Unavailable`, reads go on, and
//! opened again with the cause gone the store has everything it acknowledged. Method: a child whose
//! own system calls fail.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use orrery_store::suite::books::{WRITERS, assert_kept, assert_whole, round_commit};
use orrery_store::suite::fresh_seed;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use tempfile::TempDir;

use crate::child;
use crate::engines::Engine;

/// What is wrong with the disk of a child.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing of its own: the file system it writes to is small.
    Full,
    /// No file is written behind so many bytes (`RLIMIT_FSIZE`): a write fails, maybe in its middle.
    Short(u64),
    /// `fsync` and `fdatasync` answer `EIO` once the store is open.
    Sync,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Short(bytes) => write!(f, "{bytes}"),
            Self::Sync => f.write_str("sync"),
        }
    }
}

impl Fault {
    pub fn parse(text: &str) -> Self {
        match text {
            "full" => Self::Full,
            "sync" => Self::Sync,
            bytes => Self::Short(bytes.parse().unwrap()),
        }
    }

    /// For whatever fault, before the store is opened.
    pub fn prepare() {
        // A write behind the limit is to fail, not to kill. Threads inherit this.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGXFSZ);
        blocked.thread_block().unwrap();
    }

    /// Once the store is open.
    pub fn begin(self) {
        match self {
            Self::Full => {}
            Self::Short(bytes) => setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes).unwrap(),
            Self::Sync => fail_syncs(),
        }
    }
}

/// Lets syncs of all threads fail from now on.
fn fail_syncs() {
    let calls = [nix::libc::SYS_fsync, nix::libc::SYS_fdatasync];
    let rules: BTreeMap<i64, _> = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let fails = SeccompAction::Errno(Errno::EIO as u32);
    let here = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, fails, here).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

/// A file system in memory of a size of its own.
struct Small(TempDir);

impl Small {
    /// `None` says why a test is not run.
    fn mount(mebibytes: u64) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            println!("not run: this user may not mount a file system of its own");
            return None;
        }
        Some(Self(folder))
    }

    fn grow(&self, mebibytes: u64) {
        let size = format!("remount,size={mebibytes}m");
        let status = Command::new("mount").args(["-o", &size]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// Runs a child until its disk fails, and gives it another try without the fault.
fn fails_and_recovers(engine: Engine, folder: &Path, fault: Fault, cure: impl FnOnce()) {
    let mut child = child::start(engine, folder, 1, Some(fault));
    let said = child::listen(child.stdout.take().unwrap(), || {});
    let status = child.wait().unwrap();
    assert!(status.success() && said.ended, "the child: {status}, {said:?}");
    assert!(said.unknown > 0, "a group fails: {said:?}");
    assert_eq!(said.unknown + said.unavailable, WRITERS, "each writer is told: {said:?}");
    cure();
    let store = engine.open(folder, 2);
    let kept = assert_kept(&store, &said.acknowledged);
    drop(store);
    // It is as good as another: what it acknowledges now is kept as well.
    let store = engine.open(folder, 3);
    for (writer, (round, _)) in kept.iter().enumerate() {
        store.commit(round_commit(writer, round + 1)).wait().unwrap();
    }
    drop(store);
    let found = assert_whole(&engine.open(folder, 4));
    assert!(found.iter().zip(kept).all(|(found, (round, _))| *found == round + 1));
}

fn a_full_disk(engine: Engine, mebibytes: u64) {
    let Some(small) = Small::mount(mebibytes) else { return };
    fails_and_recovers(engine, small.0.path(), Fault::Full, || small.grow(4 * mebibytes));
}

fn files_that_may_not_grow(engine: Engine, bytes_min: u64) {
    let folder = TempDir::new().unwrap();
    let bytes = bytes_min + fresh_seed() % (512 << 10);
    fails_and_recovers(engine, folder.path(), Fault::Short(bytes), || {});
}

fn failing_syncs(engine: Engine) {
    let folder = TempDir::new().unwrap();
    fails_and_recovers(engine, folder.path(), Fault::Sync, || {});
}

#[test]
fn fjall_ends_at_a_full_disk_and_keeps_what_it_acknowledged() {
    a_full_disk(Engine::Fjall, 4);
}

#[test]
fn fjall_ends_at_a_short_write_and_keeps_what_it_acknowledged() {
    files_that_may_not_grow(Engine::Fjall, 64 << 10);
}

#[test]
fn fjall_ends_at_a_failed_sync_and_keeps_what_it_acknowledged() {
    failing_syncs(Engine::Fjall);
}

#[cfg(feature = "redb")]
mod redb {
    use super::*;

    #[test]
    fn redb_ends_at_a_full_disk_and_keeps_what_it_acknowledged() {
        a_full_disk(Engine::Redb, 8);
    }

    #[test]
    fn redb_ends_at_a_short_write_and_keeps_what_it_acknowledged() {
        files_that_may_not_grow(Engine::Redb, 4 << 20);
    }

    #[test]
    fn redb_ends_at_a_failed_sync_and_keeps_what_it_acknowledged() {
        failing_syncs(Engine::Redb);
    }
}
