//! TLS to a server: what to trust, what to show, and the connector that tokio-postgres wants.
//!
//! Must not: speak to a server whose certificate was not verified for its name. There is no way to
//! switch that off. The connector gives no data for channel binding (RFC 5929), which would take a
//! parser of certificates: it protects the password against someone who has a certificate of a
//! trusted authority for the server's name, and who could as well take the records.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use orrery_kit::secrets::Secret;

/// Which authorities certificates of servers may come from.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those of this text, one or several certificates in PEM.
    Pem(String),
    /// Those of the machine.
    System,
}

/// A certificate that is shown to the server: `pg_hba.conf` may ask for one.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate and those between it and its authority, in PEM.
    pub chain: String,
    /// Its private key, in PEM.
    pub key: Secret,
}

/// How a server is known.
#[derive(Clone, Debug)]
pub struct Tls {
    pub roots: Roots,
    /// The name that the certificate of each server must have; `None`: the name of its host.
    pub server_name: Option<String>,
    pub client: Option<ClientCertificate>,
}

/// Why TLS cannot be set up. Says nothing of keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("failed to read the certificates of the authority as PEM: {0}")]
    RootsPem(#[source] pem::Error),
    #[error("failed to find a certificate of an authority")]
    NoRoots,
    #[error("failed to read the client certificate as PEM: {0}")]
    ChainPem(#[source] pem::Error),
    #[error("failed to read the key of the client certificate as PEM")]
    KeyPem,
    #[error("failed to set TLS up: {0}")]
    Setup(#[from] rustls::Error),
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
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(&tls.roots)?);
        let config = match &tls.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let key = PrivateKeyDer::from_pem_slice(client.key.reveal().as_bytes());
                let key = key.map_err(|_| TlsError::KeyPem)?;
                let chain = certificates(&client.chain).map_err(TlsError::ChainPem)?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        let name = tls.server_name.as_deref().map(server_name).transpose()?;
        Ok(Self { config: Arc::new(config), name })
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect()
}

fn roots(from: &Roots) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match from {
        Roots::Pem(pem) => {
            for certificate in certificates(pem).map_err(TlsError::RootsPem)? {
                roots.add(certificate)?;
            }
        }
        Roots::System => {
            // A machine may have some that cannot be read, beside those that matter.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(pem: &str) -> Tls {
        Tls { roots: Roots::Pem(pem.to_owned()), server_name: None, client: None }
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        assert!(matches!(Connectors::new(&tls("")), Err(TlsError::NoRoots)));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA";
        assert!(Connectors::new(&tls(cut)).is_err());
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_shown() {
        let signed = rcgen::generate_simple_self_signed(["db".to_owned()]).expect("a certificate");
        let mut tls = tls(&signed.cert.pem());
        Connectors::new(&tls).expect("it is whole");
        let key = Secret::new("-----BEGIN PRIVATE KEY-----\nhunter2");
        tls.client = Some(ClientCertificate { chain: signed.cert.pem(), key });
        let error = Connectors::new(&tls).err().expect("the key is none").to_string();
        assert!(!error.contains("hunter2") && !format!("{tls:?}").contains("hunter2"), "{error}");
    }
}
