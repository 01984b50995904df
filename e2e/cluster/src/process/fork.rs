//! Where children are forked. The kernel's "signal me when my parent dies" follows the *thread*
//! that forked, and test threads end early: so threads that do nothing else fork all of them.
//!
//! A thread may first enter namespaces; what it forks then lives there.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::Signal;

type Order = (Command, Sender<std::io::Result<Child>>);

/// A thread that forks. When it is dropped the thread ends, and with it all that it forked.
#[derive(Debug)]
pub(crate) struct Forker {
    orders: Mutex<Sender<Order>>,
}

impl Forker {
    /// Starts a thread that calls `prepare` before it forks anything.
    pub(crate) fn start(
        prepare: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let (done, prepared) = mpsc::channel();
        std::thread::Builder::new().name("fork".to_owned()).spawn(move || {
            let outcome = prepare();
            let failed = outcome.is_err();
            let _ = done.send(outcome);
            if failed {
                return;
            }
            for (command, answer) in inbox {
                let _ = answer.send(fork_here(command));
            }
        })?;
        prepared.recv().map_err(std::io::Error::other)??;
        Ok(Self { orders: Mutex::new(orders) })
    }

    /// The one for children that live where this process does.
    pub(super) fn here() -> std::io::Result<&'static Self> {
        static HERE: OnceLock<Forker> = OnceLock::new();
        if let Some(here) = HERE.get() {
            return Ok(here);
        }
        let forker = Self::start(|| Ok(()))?;
        Ok(HERE.get_or_init(|| forker))
    }

    /// Forks on this thread.
    pub(crate) fn spawn(&self, command: Command) -> std::io::Result<Child> {
        let (answer, child) = mpsc::channel();
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.send((command, answer)).map_err(std::io::Error::other)?;
        drop(orders);
        child.recv().map_err(std::io::Error::other)?
    }
}

fn fork_here(mut command: Command) -> std::io::Result<Child> {
    let parent = std::process::id();
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are made: `prctl` and `getppid`;
    // nothing is allocated and no lock is taken.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above; then nobody would signal. Seen
            // from another process namespace every parent outside it is 0.
            match nix::unistd::getppid().as_raw() as u32 {
                now if now == parent || now == 0 => Ok(()),
                _ => Err(std::io::Error::from_raw_os_error(libc::ESRCH)),
            }
        });
    }
    command.spawn()
}
