//! TLS to a server: the connector that tokio-postgres wants.
//!
//! Must not: speak to a server whose certificate was not verified for its name. The connector gives
//! no data for channel binding (RFC 5929), which would take a parser of certificates: it protects the
//! password against someone who has a certificate of a trusted authority for the server's name, and
//! who could as well take the records.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use orrery_kit::tls::{self, ClientCertificate, Roots};

/// How a server is known.
#[derive(Clone, Debug)]
pub struct Tls {
    pub roots: Roots,
    /// The name that the certificate of each server must have; `None`: the name of its host.
    pub server_name: Option<String>,
    /// `pg_hba.conf` may ask for one.
    pub client: Option<ClientCertificate>,
}

/// Why TLS cannot be set up. Says nothing of keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Trust(#[from] tls::TlsError),
    #[error("{0:?} is no name that a certificate can have")]
    Name(String),
}

/// Makes connectors; clones share what was read.
#[derive(Clone)]
pub(crate) struct Connectors {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Connectors {
    pub(crate) fn new(tls: &Tls) -> Result<Self, TlsError> {
        let config = tls::client_config(&tls.roots, tls.client.as_ref())?;
        let name = tls.server_name.as_deref().map(server_name).transpose()?;
        Ok(Self { config, name })
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
}

impl<S> MakeTlsConnect<S> for Connectors
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Connector;
    type Error = TlsError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connector, TlsError> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        Ok(Connector { config: Arc::clone(&self.config), name })
    }
}

/// Connects once.
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl<S> TlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let connector = TlsConnector::from(self.config);
            connector.connect(self.name, stream).await.map(Stream)
        })
    }
}

/// A connection under TLS.
pub(crate) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
