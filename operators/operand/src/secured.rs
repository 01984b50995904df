//! Mutual TLS under the management protocol, on both sides.
//!
//! Must not: make or judge certificates. Who is trusted is in the configurations that come in.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tonic::transport::{Channel, Endpoint, Uri};

/// Handshakes that may be under way at once.
const HANDSHAKES_MAX: usize = 64;
/// Longest time a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted, as for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a caller shows and whom it expects.
#[derive(Debug, Clone)]
pub struct Caller {
    pub config: Arc<ClientConfig>,
    /// Name that the certificate of the other side must have.
    pub name: ServerName<'static>,
}

impl Caller {
    /// Whether a connection made with one is as good as one made with the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.name == other.name
    }

    /// A channel that connects when first used.
    pub(crate) fn channel(self, endpoint: &Endpoint, address: &str) -> Channel {
        let address: Arc<str> = address.into();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (caller, address) = (self.clone(), Arc::clone(&address));
            async move {
                let socket = TcpStream::connect(&*address).await?;
                socket.set_nodelay(true)?;
                let connector = TlsConnector::from(caller.config);
                let stream: client::TlsStream<TcpStream> =
                    connector.connect(caller.name, socket).await?;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        }))
    }
}

/// Connections of a listener after their handshakes. `config` is asked for each; a peer that it does
/// not admit is not among them. Ends with the stream that is given back.
pub fn accepted(
    listener: TcpListener,
    config: impl Fn() -> Arc<ServerConfig> + Send + 'static,
) -> ReceiverStream<io::Result<Secured>> {
    let (to, from) = mpsc::channel(HANDSHAKES_MAX);
    tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while !to.is_closed() {
            let place = Arc::clone(&room).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = to.closed() => return,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (acceptor, to) = (TlsAcceptor::from(config()), to.clone());
            tokio::spawn(async move {
                let peer = socket.peer_addr().ok();
                // Small answers must not wait for the peer's acknowledgement.
                _ = socket.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
                    // The receiver is gone when the server is.
                    Ok(Ok(stream)) => _ = to.send(Ok(Secured(stream))).await,
                    Ok(Err(error)) => tracing::warn!(?peer, %error, "a peer was not admitted"),
                    Err(_) => tracing::warn!(?peer, "a peer did not end its handshake"),
                }
                drop(place);
            });
        }
    });
    ReceiverStream::new(from)
}

/// A connection of an admitted peer.
#[derive(Debug)]
pub struct Secured(server::TlsStream<TcpStream>);

impl Connected for Secured {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.0.get_ref().0.connect_info()
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
