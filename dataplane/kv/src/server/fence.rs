//! Whether the owner of the object wants no writes.
//!
//! Must not: change a role or an epoch. A process that is fenced so keeps its place in its group, and
//! reads, management, metrics and replication go on.

use std::path::Path;

use orrery_api::kv::config::FENCED_FILE;
use orrery_kit::fence::Fence;

use super::Shard;

/// The fence of a process with this folder of what is read again when it changes.
pub(crate) fn of(live: &Path) -> Fence {
    Fence::new(live.join(FENCED_FILE))
}

impl Shard {
    /// Whether its owner wants no writes, whatever its role.
    pub(crate) fn is_fenced_by_owner(&self) -> bool {
        self.fence.as_ref().is_some_and(Fence::is_up)
    }

    /// Takes over what the owner wants.
    pub(crate) fn look_after_fence(&mut self) {
        let now_ms = self.clock.mono_ms;
        if self.fence.as_mut().is_some_and(|fence| fence.look(now_ms)) {
            let is_fenced = self.is_fenced_by_owner();
            tracing::info!(is_fenced, "spec.operation has changed");
            self.set_bar();
            self.publish();
        }
    }
}
