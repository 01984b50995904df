//! The end of a process: one signal, or one shard that cannot go on, ends all of its shards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use orrery_kit::shutdown::Shutdown;

use super::course::Member;
use crate::operand::Loop;
use crate::server::requests::Request;

/// Who is to be told, and whether they were.
#[derive(Debug)]
pub(super) struct Ending {
    asked: Arc<AtomicBool>,
    loops: Vec<Arc<OnceLock<Loop>>>,
    signals: Mutex<Option<Shutdown>>,
}

impl Ending {
    pub(super) fn of(members: &[Member]) -> Self {
        let loops = members.iter().map(|member| Arc::clone(&member.event_loop)).collect();
        Self { asked: Arc::default(), loops, signals: Mutex::default() }
    }

    /// A shard serves. Until the first one does, a signal ends the process at once.
    pub(super) fn is_up(&self, to_loop: &Loop) -> std::io::Result<()> {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        if signals.is_none() {
            let (asked, loops) = (Arc::clone(&self.asked), self.loops.clone());
            *signals = Some(Shutdown::on_signals(move || ask(&asked, &loops))?);
        }
        drop(signals);
        // Whoever asked before this shard was there did not reach it.
        if self.asked.load(Ordering::Acquire) {
            _ = to_loop.ask(Request::Shutdown);
        }
        Ok(())
    }

    /// Asks all shards to end in order.
    pub(super) fn ask(&self) {
        ask(&self.asked, &self.loops);
    }
}

fn ask(asked: &AtomicBool, loops: &[Arc<OnceLock<Loop>>]) {
    asked.store(true, Ordering::Release);
    for to_loop in loops.iter().filter_map(|known| known.get()) {
        // A loop that is gone has nothing left to drain.
        _ = to_loop.ask(Request::Shutdown);
    }
}
