//! The thread that reads the journal for one watcher, at the pace of its client.
//!
//! What waits is bounded by [`CHUNK_BYTES`] and one record; a client that takes nothing is left. The
//! journal keeps what a reader still needs, within its own bound: one that falls further behind hears
//! that its place is gone.

use std::time::{Duration, Instant};

use bytes::Bytes;
use orrery_journal::{JournalError, Tail};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::event::Source;
use super::{Lens, Mark, Watch};
use crate::persistence::kind;

/// Events are gathered up to this size before they are sent.
const CHUNK_BYTES: usize = 64 << 10;
/// Something is sent at least so often, with the place in the stream: proxies close what is silent,
/// and a watcher of rare changes must not fall behind.
const BEAT: Duration = Duration::from_secs(10);
/// Longest wait for a record before it is looked whether the watcher is over.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is looked whether a record is safe from failovers.
const SAFE_LOOK: Duration = Duration::from_millis(5);
/// A client that takes nothing for so long is left.
const STUCK: Duration = Duration::from_secs(30);

/// Everything a watcher needs, moved into its thread.
pub(super) struct Stream {
    pub(super) tail: Tail,
    pub(super) lens: Lens,
    pub(super) watch: Watch,
    /// Epoch of the last record seen.
    pub(super) epoch: u64,
    /// Changes of the next record that were seen before.
    pub(super) skip: u32,
    pub(super) client: Client,
    /// One of those that may watch at once.
    pub(super) _place: OwnedSemaphorePermit,
}

/// The way to the client.
pub(super) struct Client {
    pub(super) to: mpsc::Sender<Bytes>,
    pub(super) runtime: Handle,
}

impl Client {
    /// False when nobody takes it.
    fn send(&self, text: String) -> bool {
        if text.is_empty() {
            return !self.to.is_closed();
        }
        let sent = self.to.send_timeout(Bytes::from(text), STUCK);
        self.runtime.block_on(sent).is_ok()
    }
}

/// Why a stream ended.
enum End {
    /// The client is gone or stuck: there is nobody to tell.
    Client,
    Told(&'static str),
}

impl Stream {
    pub(super) fn run(mut self) {
        let end = self.serve();
        if let End::Told(event) = end {
            // The client may be gone.
            _ = self.client.send(format!("event: {event}\ndata: {{}}\n\n"));
        }
    }

    fn serve(&mut self) -> End {
        let mut beat = Instant::now() + BEAT;
        // At once, so that a client knows its place before anything has changed.
        let mut events = self.place();
        loop {
            let is_quiet = match self.read(events.is_empty(), &mut events) {
                Ok(is_quiet) => is_quiet,
                Err(end) => return end,
            };
            if is_quiet && events.is_empty() && Instant::now() >= beat {
                events = self.place();
            }
            if !events.is_empty() && (is_quiet || events.len() >= CHUNK_BYTES) {
                if !self.client.send(std::mem::take(&mut events)) {
                    return End::Client;
                }
                beat = Instant::now() + BEAT;
            }
        }
    }

    /// Appends the changes of the next record; true when there is none now.
    fn read(&mut self, may_wait: bool, events: &mut String) -> Result<bool, End> {
        if self.client.to.is_closed() {
            return Err(End::Client);
        }
        if self.watch.is_over() {
            return Err(End::Told("moved"));
        }
        let until = Instant::now() + if may_wait { LOOK } else { Duration::ZERO };
        let entry = match self.tail.next(until) {
            Ok(None) => return Ok(true),
            Ok(Some(entry)) => entry,
            Err(JournalError::Trimmed { .. }) => return Err(End::Told("gone")),
            Err(error) => {
                tracing::info!(%error, "a watcher ends with its journal");
                return Err(End::Told("moved"));
            }
        };
        while entry.position.0 > self.watch.safe() {
            if self.watch.is_over() {
                return Err(End::Told("moved"));
            }
            if !self.client.send(std::mem::take(events)) {
                return Err(End::Client);
            }
            std::thread::sleep(SAFE_LOOK);
        }
        self.epoch = entry.epoch.0;
        let skip = std::mem::take(&mut self.skip);
        if entry.kind == kind::EFFECTS {
            let (position, epoch, time_us) = (entry.position.0, entry.epoch.0, entry.time_us);
            let source = Source { position, epoch, time_us, effects: entry.body };
            if let Err(error) = self.lens.put(&source, skip, events) {
                tracing::error!(%error, position, "failed to read a record for a watcher");
                return Err(End::Told("gone"));
            }
        }
        Ok(false)
    }

    /// Where it is, for clients that have nothing to read there: an id without data is no event.
    fn place(&self) -> String {
        let place = Mark::behind(self.epoch, self.tail.last().0);
        if self.skip > 0 { ":\n\n".to_owned() } else { format!("id: {place}\n\n") }
    }
}
