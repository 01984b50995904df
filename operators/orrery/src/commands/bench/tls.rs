//! TLS to the service, with the flags of redis-cli.
//!
//! Must not: fall back to anything weaker than what was asked for. Names are checked too, which
//! redis-cli does not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};

use crate::cli::bench::TlsChoice;

/// How to speak TLS, and who has to answer.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// `host`: the name that the certificate must have unless the flags give another.
    pub(super) fn new(choice: &TlsChoice, host: &str) -> anyhow::Result<Self> {
        let host = choice.sni.as_deref().unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("{host} is no name that a certificate can have"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &choice.cacert {
            Some(path) => builder.with_root_certificates(authorities(path)?),
            None if choice.insecure => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider }))
            }
            None => bail!(
                "the service speaks TLS: name the authority of its certificate with --cacert, or \
                 trust anybody with --insecure"
            ),
        };
        let config = match (&choice.cert, &choice.key) {
            (Some(chain), Some(key)) => {
                let (chain, key_path) = (certificates(chain)?, key);
                let key = PrivateKeyDer::from_pem_file(key_path)
                    .with_context(|| format!("failed to read a key in {}", key_path.display()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .context("failed to use --cert and --key")?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), name })
    }

    /// Shakes hands.
    pub(super) fn connect(&self, mut stream: TcpStream) -> anyhow::Result<Stream> {
        let mut connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).context("failed to begin TLS")?;
        }
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, stream))))
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let failed = || format!("failed to read certificates in {}", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .with_context(failed)?
        .collect::<Result<_, _>>()
        .with_context(failed)?;
    if found.is_empty() {
        bail!("there is no certificate in {}", path.display())
    }
    Ok(found)
}

fn authorities(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let failed = || format!("failed to use a certificate in {}", path.display());
        roots.add(certificate).with_context(failed)?;
    }
    Ok(roots)
}

/// What bytes go through.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Takes any certificate, as --insecure asks for; whoever shows it must have its key all the same.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
