//! A partition that decides nothing: its journal takes no records, or the spec says so.
//!
//! Must not: append. What is asked for is refused, looks are answered, and the rest waits in its order.

use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::requests::{Request, Unavailable};
use super::thread::{Partition, Poisoned};

/// How often it is looked whether the spec still says so.
const FENCE_LOOK: Duration = Duration::from_millis(200);

impl Partition {
    /// While nothing can be written down: changes are refused, looks answered, and the rest
    /// kept in its order.
    pub(super) fn refuse_all(&mut self) {
        while let Ok(request) = self.mailbox.receiver.try_recv() {
            match request {
                Request::Act { refuse, .. } => {
                    self.mailbox.waiting.fetch_sub(1, Ordering::AcqRel);
                    refuse(Unavailable::Full);
                }
                Request::Look(look) => {
                    self.mailbox.waiting.fetch_sub(1, Ordering::AcqRel);
                    look(&self.recovered.state, &self.recovered.ledger.view());
                }
                Request::Wake => self.mailbox.awake.store(false, Ordering::Release),
                Request::Newest { snapshot, answer } => self.say_newest(snapshot, answer),
                other @ (Request::Outcome { .. } | Request::Link(_) | Request::End(_)) => {
                    self.kept.push_back(other);
                }
            }
        }
    }

    /// From its start on nothing is decided and nothing handed over, while the spec says so.
    pub(super) fn stand_still(&mut self) -> Result<(), Poisoned> {
        let mut kept = vec![];
        while self.crew.shared.is_fenced() && self.ends_at.is_none() {
            match self.mailbox.receiver.recv_timeout(FENCE_LOOK) {
                Ok(Request::Act { refuse, .. }) => {
                    self.mailbox.waiting.fetch_sub(1, Ordering::AcqRel);
                    refuse(Unavailable::Fenced);
                }
                Ok(Request::Look(look)) => {
                    self.mailbox.waiting.fetch_sub(1, Ordering::AcqRel);
                    look(&self.recovered.state, &self.recovered.ledger.view());
                }
                Ok(Request::Wake) => self.mailbox.awake.store(false, Ordering::Release),
                Ok(Request::Newest { snapshot, answer }) => self.say_newest(snapshot, answer),
                Ok(Request::End(_)) | Err(RecvTimeoutError::Disconnected) => {
                    self.ends_at = Some(Instant::now());
                }
                Ok(other) => kept.push(other),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tend_snapshot();
            if let Some(error) = self.recovered.journal.failed() {
                return Err(error.into());
            }
        }
        self.kept.extend(kept);
        Ok(())
    }
}
