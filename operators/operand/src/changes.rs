//! The stream that says when declared objects fare otherwise than before, on both sides.
//!
//! Invariants: one message at once, further ones a second apart at least, and a sign of life within
//! [`SILENCE`]; a change is never lost, two of them may become one message.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::error::OperandError;
use crate::v1::WatchResponse;

/// Least time between two messages.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Longest time between two messages.
const ALIVE: Duration = Duration::from_secs(20);
/// After so long without a message the other side is taken for lost.
pub const SILENCE: Duration = Duration::from_secs(50);

/// Tells each new count until the receiver or the process is gone.
pub(crate) fn told(
    mut changes: watch::Receiver<u64>,
) -> ReceiverStream<Result<WatchResponse, Status>> {
    let (to, from) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let count = *changes.borrow_and_update();
            if to.send(Ok(WatchResponse { changes: count })).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = to.closed() => return,
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(ALIVE) => {}
                () = to.closed() => return,
            }
        }
    });
    ReceiverStream::new(from)
}

/// What a process tells of its changes.
#[derive(Debug)]
pub struct Changes {
    stream: Streaming<WatchResponse>,
    last: Option<u64>,
}

impl Changes {
    pub(crate) fn new(stream: Streaming<WatchResponse>) -> Self {
        Self { stream, last: None }
    }

    /// Waits for the next count that is another than the last; the first comes at once. Ends with an
    /// error when the process is gone or silent.
    pub async fn next(&mut self) -> Result<u64, OperandError> {
        loop {
            let message = tokio::time::timeout(SILENCE, self.stream.next()).await;
            let message = message.map_err(|_| {
                OperandError::Unavailable(format!("silent for {} s", SILENCE.as_secs()))
            })?;
            let message = message.ok_or_else(|| {
                OperandError::Unavailable("the process ended the stream".into())
            })??;
            if self.last != Some(message.changes) {
                self.last = Some(message.changes);
                return Ok(message.changes);
            }
        }
    }
}
