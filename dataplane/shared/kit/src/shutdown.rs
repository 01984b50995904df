//! SIGTERM and SIGINT ask a data plane to drain and stop; a second one is not needed, and
//! SIGKILL loses nothing that was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Set once, seen everywhere.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    asked: Arc<AtomicBool>,
}

impl Shutdown {
    /// Listens for the signals in a thread of its own; `on_signal` wakes whoever has to look.
    pub fn on_signals(on_signal: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let asked = shutdown.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                asked.ask();
                on_signal();
            }
        })?;
        Ok(shutdown)
    }

    /// Asks for the end, as a signal would.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}
