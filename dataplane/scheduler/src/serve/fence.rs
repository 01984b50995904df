//! Follows what the spec says of launches and changes.
//!
//! A process that is fenced while it launches ends in order, and the next one begins fenced: so what is
//! under way is brought to its end in one way only.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use orrery_api::kv::config::FENCED_FILE;
use orrery_kit::fence::Fence;

use crate::engine::Shared;
use crate::partition::Handle;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks now, and then as long as the process lives.
pub(super) fn watch(live: &Path, shared: &Arc<Shared>, handles: &[Handle]) -> std::io::Result<()> {
    let mut fence = Fence::new(live.join(FENCED_FILE));
    shared.set_fenced(fence.is_up());
    let (shared, handles, started) = (Arc::clone(shared), handles.to_vec(), Instant::now());
    let follow = move || {
        loop {
            thread::sleep(PAUSE);
            if !fence.look(started.elapsed().as_millis() as u64) {
                continue;
            }
            tracing::info!(is_fenced = fence.is_up(), "spec.operation has changed");
            shared.set_fenced(fence.is_up());
            if !fence.is_up() {
                continue;
            }
            if shared.standing.is_grouped() {
                if shared.standing.is_owner() {
                    shared.standing.end();
                }
            } else {
                handles.iter().for_each(Handle::end);
            }
        }
    };
    thread::Builder::new().name("fence".into()).spawn(follow)?;
    Ok(())
}
