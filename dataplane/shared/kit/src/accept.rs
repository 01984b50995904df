//! Accepting connections: no more than a number at the same time, and on after a failure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Pause before the next connection is accepted when there was no descriptor for one.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections for ever and serves each in a task of its own, `most` of them at the same time;
/// those behind wait to be accepted.
pub async fn each<F>(
    listener: TcpListener,
    most: usize,
    mut serve: impl FnMut(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(most));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Answers are small and wanted at once.
        _ = stream.set_nodelay(true);
        let served = serve(stream, peer);
        tokio::spawn(async move {
            served.await;
            drop(place);
        });
    }
}
