//! The control channel: a Unix socket in the data folder over which other commands talk to a running
//! `orrery up`. One line of JSON each way, then the connection ends.
//!
//! Only the user who runs `orrery up` may connect. Sizes, times and the number of connections are
//! bounded.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::folder::{Folder, FolderError, error, make_folder};
use crate::snapshot::Snapshot;

const REQUEST_BYTES_MAX: u64 = 4 << 10;
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const CONNECTIONS_MAX: usize = 32;
const PATIENCE: Duration = Duration::from_secs(5);
/// For answers under way when everything ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Everything there is to know.
    Get,
    /// Stop all processes and end.
    Down,
}

/// A request with the way back.
#[derive(Debug)]
pub struct Call {
    pub request: Request,
    pub answer: oneshot::Sender<Snapshot>,
}

/// The listening side; dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
    /// One permit for each connection; all of them are free when nobody waits for an answer.
    places: Arc<Semaphore>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Server {
    /// Listens. The caller holds the folder's lock, so a socket that is there already is a leftover.
    pub fn start(folder: &Folder) -> Result<(Self, mpsc::Receiver<Call>), FolderError> {
        let path = folder.socket();
        make_folder(&folder.run())?;
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(error("remove the old socket", &path, source));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path)
            .and_then(|listener| {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
                Ok(listener)
            })
            .map_err(|source| error("listen on", &path, source))?;
        let (calls, inbox) = mpsc::channel(CONNECTIONS_MAX);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let task = tokio::task::spawn_local(accept(listener, calls, Arc::clone(&places)));
        Ok((Self { path, task, places }, inbox))
    }

    /// Takes no more connections and lets the answers under way leave, for a bounded time.
    pub async fn finish(self) {
        self.task.abort();
        let all = self.places.acquire_many(CONNECTIONS_MAX as u32);
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::debug!("a control connection did not take its answer in time");
        }
    }
}

async fn accept(listener: UnixListener, calls: mpsc::Sender<Call>, places: Arc<Semaphore>) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let calls = calls.clone();
                tokio::task::spawn_local(async move {
                    let _place = place;
                    if tokio::time::timeout(PATIENCE, serve(stream, calls)).await.is_err() {
                        tracing::debug!("a control connection took too long");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a control connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, calls: mpsc::Sender<Call>) {
    let same_user = stream.peer_cred().is_ok_and(|peer| peer.uid() == Uid::effective().as_raw());
    if !same_user {
        return;
    }
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(REQUEST_BYTES_MAX));
    if reader.read_line(&mut line).await.is_err() {
        return;
    }
    let Ok(request) = serde_json::from_str(&line) else { return };
    let (answer, answered) = oneshot::channel();
    if calls.send(Call { request, answer }).await.is_err() {
        return;
    }
    if let Ok(snapshot) = answered.await {
        let mut bytes = serde_json::to_vec(&snapshot).unwrap_or_default();
        bytes.push(b'\n');
        // The other side may have gone; nothing depends on it.
        let _ = writer.write_all(&bytes).await;
    }
}

/// Why a running `orrery up` could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "nothing runs on the data folder {}; start it with `orrery up`, or name another folder with --data",
        folder.display()
    )]
    NotRunning { folder: PathBuf },
    #[error("failed to talk to the running orrery: {0}")]
    Io(#[from] std::io::Error),
    #[error(
        "the running orrery gave an answer that is not understood ({0}); is it of another version?"
    )]
    Answer(#[from] serde_json::Error),
}

/// Asks the `orrery up` that runs on a data folder.
pub fn ask(folder: &Folder, request: Request) -> Result<Snapshot, ControlError> {
    let not_running = || ControlError::NotRunning { folder: folder.root().to_owned() };
    let mut stream = match BlockingStream::connect(folder.socket()) {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                    not_running()
                }
                _ => error.into(),
            });
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(not_running());
    }
    Ok(serde_json::from_str(&answer)?)
}

#[cfg(test)]
mod tests;
