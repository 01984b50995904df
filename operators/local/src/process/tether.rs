//! The child's side of supervision: a data plane started by `orrery up` ends when that one does,
//! however it ends.
//!
//! The kernel sends the signal when the *thread* that started the child ends, so `orrery up` starts
//! children from its main thread only.

use nix::unistd::Pid;

/// Set by the supervisor to its own pid.
pub const VARIABLE: &str = "ORRERY_PARENT_PID";

/// The parent ended before the child could be tethered.
#[derive(Debug, thiserror::Error)]
pub enum TetherError {
    #[error("the process that started this one has ended")]
    ParentGone,
    #[error("failed to ask for a signal when the parent ends: {0}")]
    Refused(nix::errno::Errno),
}

/// To be called first thing in the child. Without [`VARIABLE`] it does nothing.
pub fn tether() -> Result<(), TetherError> {
    let Some(parent) = std::env::var(VARIABLE).ok().and_then(|pid| pid.parse::<i32>().ok()) else {
        return Ok(());
    };
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(TetherError::Refused)?;
    // It may have ended between the start of this process and the request above.
    if Pid::parent() == Pid::from_raw(parent) { Ok(()) } else { Err(TetherError::ParentGone) }
}
