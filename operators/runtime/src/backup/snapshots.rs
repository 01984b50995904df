//! The snapshots that are being taken: each is a call that may last for hours, so it runs beside
//! the rounds, and rounds look at it.
//!
//! Must not: outlive the process. A fresh operator finds nothing here and takes the snapshot again,
//! which costs time and harms nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;
use orrery_operand::progress::Finished;
use tokio::task::AbortHandle;

/// What a process understands as the archive of its configuration.
const INTO_ARCHIVE: &str = "archive:";
/// Snapshots at once; more wait for their turn.
const AT_ONCE_MAX: usize = 64;

/// How far a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is being taken.
    UnderWay { percent: u32, step: String },
    /// It is over.
    Ended(Result<Finished, OperandError>),
}

/// Another snapshot of the same object is being taken, or too many are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

#[derive(Debug)]
struct Running {
    /// UID of the engine object.
    of: String,
    look: Arc<Mutex<Look>>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// See the module. By the UID of whoever asked.
#[derive(Debug, Default)]
pub struct Snapshots {
    running: Mutex<HashMap<String, Running>>,
}

impl Snapshots {
    /// How far the snapshot of this asker is; none when none was started.
    pub fn look(&self, asker: &str) -> Option<Look> {
        let running = self.lock();
        let look = &running.get(asker)?.look;
        Some(look.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Starts a snapshot of the engine object with the UID `of`. `wake` is called when it is over.
    pub fn start(
        &self,
        asker: &str,
        of: &str,
        client: OperandClient,
        wake: impl FnOnce() + Send + 'static,
    ) -> Result<(), Busy> {
        let mut running = self.lock();
        let is_live = |other: &Running| !other.task.is_finished();
        let taken = running.values().any(|other| other.of == of && is_live(other));
        if taken || running.values().filter(|other| is_live(other)).count() >= AT_ONCE_MAX {
            return Err(Busy);
        }
        let first = Look::UnderWay { percent: 0, step: String::new() };
        let look = Arc::new(Mutex::new(first));
        let shown = Arc::clone(&look);
        let set = move |new: Look| {
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = new;
        };
        let task = tokio::spawn(async move {
            let on_step = |step: &orrery_operand::v1::Progress| {
                set(Look::UnderWay { percent: step.percent, step: step.step.clone() });
            };
            let ended = client.snapshot(INTO_ARCHIVE, on_step).await;
            set(Look::Ended(ended));
            wake();
        });
        let (of, task) = (of.to_owned(), task.abort_handle());
        running.insert(asker.to_owned(), Running { of, look, task });
        Ok(())
    }

    /// Gives up what is under way, or forgets how it ended.
    pub fn forget(&self, asker: &str) {
        self.lock().remove(asker);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
