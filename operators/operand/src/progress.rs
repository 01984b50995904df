//! Progress of long work, from the data plane to whoever waits for it.

use tokio::sync::mpsc;
use tonic::Status;

use crate::v1::Progress;

/// Where a long call reports how far it is. Never blocks: a slow reader sees fewer steps, and the
/// last message is always delivered.
#[derive(Debug, Clone)]
pub struct ProgressSender {
    to: mpsc::Sender<Result<Progress, Status>>,
}

impl ProgressSender {
    pub(crate) fn new(to: mpsc::Sender<Result<Progress, Status>>) -> Self {
        Self { to }
    }

    /// `done_units` of `total_units` (bytes, keys, requests …) of the step that runs now.
    pub fn step(&self, step: &str, done_units: u64, total_units: u64) {
        let percent = (done_units.min(total_units) * 100).checked_div(total_units).unwrap_or(0);
        let message = Progress {
            percent: percent.min(99) as u32,
            step: step.to_owned(),
            done_units,
            total_units,
            ..Progress::default()
        };
        // A full queue means that nobody reads fast enough: this step is skipped, not waited for.
        let _ = self.to.try_send(Ok(message));
    }

    /// Whether nobody waits for the result any more.
    pub fn is_abandoned(&self) -> bool {
        self.to.is_closed()
    }
}

/// What a finished long call has to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    /// Journal position the result is consistent at.
    pub position: u64,
    /// Where the result is; empty when it has no place of its own.
    pub location: String,
    /// Amount of work done, in the units of the steps.
    pub units: u64,
    /// Epoch under which its writer put the result into an archive; 0 without one.
    pub epoch: u64,
}

impl From<Finished> for Progress {
    fn from(finished: Finished) -> Self {
        Self {
            percent: 100,
            step: "done".to_owned(),
            done_units: finished.units,
            total_units: finished.units,
            done: true,
            position: finished.position,
            location: finished.location,
            epoch: finished.epoch,
        }
    }
}
