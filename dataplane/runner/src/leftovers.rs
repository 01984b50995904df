//! Processes that a command left behind: in its group, or away from it.
//!
//! Children of a process that ended become those of the runner, which is the first process of its
//! container or asks to be treated as such. Dead ones are reaped, so that a pod which lives for months
//! does not run out of process numbers; living ones end with the last run.
//!
//! Must not: touch a process that a run began with, whose end its run waits for.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Has orphans of commands become children of this process.
pub(crate) fn adopt() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "processes that commands leave behind are not ended here");
    }
}

/// Sends a signal to what is in the group of a command. Without any process there, nothing happens.
pub(crate) fn signal_group(leader: u32, signal: Signal) {
    let Ok(group) = i32::try_from(leader) else { return };
    match killpg(Pid::from_raw(group), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(%error, group, %signal, "failed to signal a command"),
    }
}

/// Reaps dead children that are not `own`; with `end`, living ones are killed.
pub(crate) fn clean(own: &[u32], end: bool) {
    for (pid, is_dead) in children(std::process::id()) {
        let Ok(number) = i32::try_from(pid) else { continue };
        if own.contains(&pid) {
            continue;
        }
        let process = Pid::from_raw(number);
        if end && !is_dead {
            tracing::info!(pid, "ended a process that a command left behind");
            // Its own children become ours, and end the next time.
            _ = kill(process, Signal::SIGKILL);
        }
        _ = waitpid(process, Some(WaitPidFlag::WNOHANG));
    }
}

/// The children of a process, and whether each is dead and not reaped.
fn children(parent: u32) -> Vec<(u32, bool)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, of) = standing(&stat)?;
        (of == parent).then_some((pid, state == "Z"))
    })
    .collect()
}

/// State and parent of a line of `/proc/<pid>/stat` (proc_pid_stat(5)). The name before them, in
/// parentheses, may have anything in it.
fn standing(stat: &str) -> Option<(&str, u32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    Some((words.next()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_a_state() {
        assert_eq!(standing("7 (sh) S 3 7 7 0"), Some(("S", 3)));
        assert_eq!(standing("7 (a) Z 1 (b) R 12 7"), Some(("R", 12)));
        assert_eq!(standing("7 (sh"), None);
        assert_eq!(standing(""), None);
    }
}
