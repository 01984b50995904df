//! The key-value engine as what archives its journal sees it.
//!
//! Must not: archive anything itself; `orrery-archiving` does, for every engine.

use std::sync::{Arc, OnceLock};

use orrery_archiving::writer::Engine;
use tokio::sync::oneshot;

use crate::metrics::Shared;
use crate::operand::Loop;
use crate::persistence::snapshots::Target;
use crate::server::requests::{Hearer, Request};

/// One shard.
#[derive(Debug)]
pub(crate) struct Archived {
    pub(crate) shared: Arc<Shared>,
    /// Set once recovery is over.
    pub(crate) event_loop: Arc<OnceLock<Loop>>,
}

impl Engine for Archived {
    fn snapshot_position(&self) -> u64 {
        self.shared.snapshot_position.get()
    }

    fn epoch(&self) -> u64 {
        self.shared.epoch.get()
    }

    fn ask_for_snapshot(&self) {
        let Some(event_loop) = self.event_loop.get() else { return };
        let (answer, _) = oneshot::channel();
        let request = Request::Snapshot { target: Target::Journal, on: Hearer::Nobody, answer };
        if let Err(error) = event_loop.ask(request) {
            tracing::warn!(%error, "failed to ask for a snapshot");
        }
    }
}
