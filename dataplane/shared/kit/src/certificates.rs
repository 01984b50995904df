//! A folder with a certificate chain, its key and perhaps an authority: `tls.crt`, `tls.key`,
//! `ca.crt`, as Kubernetes mounts a Secret of type `kubernetes.io/tls`.
//!
//! Must not: keep or show a key outside of the TLS library's own types. The content of such a folder
//! changes while the process runs; [`Folder::stamp`] says so at the price of three looks at the
//! file system.

mod validity;
mod watched;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub use watched::Watched;

/// The certificate and those between it and its authority.
pub const CHAIN: &str = "tls.crt";
/// Its private key.
pub const KEY: &str = "tls.key";
/// Authorities that peers must show a certificate of.
pub const AUTHORITY: &str = "ca.crt";
/// More than a Secret can hold: what is longer is not a certificate.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the files cannot be used. Never says anything of their content.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("failed to read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to read {}: it is empty or longer than 1 MiB", path.display())]
    Length { path: PathBuf },
    #[error("failed to read {} as PEM: {source}", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("failed to find a certificate in {}", path.display())]
    NoCertificate { path: PathBuf },
    #[error("failed to use the certificate with its key: {0}")]
    Pair(#[source] rustls::Error),
    #[error("failed to use the authority for certificates of peers: {0}")]
    Authority(#[from] VerifierBuilderError),
    #[error("{name:?} is no name that a certificate can have")]
    Name { name: String },
}

/// What the files looked like: another value means that they were written or exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp([Option<(u64, i64, i64, u64)>; 3]);

/// What a listener needs to speak TLS, made from one state of the folder.
#[derive(Debug, Clone)]
pub struct Server {
    pub config: Arc<ServerConfig>,
    /// End of the certificate in seconds since 1970; `None` when it cannot be read from it.
    pub expires_s: Option<i64>,
    /// Whether peers must show a certificate of the authority.
    pub asks_peers: bool,
}

/// A certificate chain and its key.
pub(crate) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The folder; nothing is read before it is asked for.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What the files look like now; a missing one is part of it.
    pub fn stamp(&self) -> Stamp {
        Stamp([CHAIN, KEY, AUTHORITY].map(|file| {
            let seen = std::fs::metadata(self.path.join(file)).ok()?;
            Some((seen.ino(), seen.mtime(), seen.mtime_nsec(), seen.len()))
        }))
    }

    /// Reads everything for a listener. With an authority in the folder, peers must show a
    /// certificate of it.
    pub fn server(&self) -> Result<Server, CertificateError> {
        let (chain, key) = self.pair()?;
        let expires_s = expires_s(&chain);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Pair)?;
        let asks_peers = self.path.join(AUTHORITY).exists();
        let builder = if asks_peers {
            let roots = Arc::new(self.authority()?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(chain, key).map_err(CertificateError::Pair)?;
        Ok(Server { config: Arc::new(config), expires_s, asks_peers })
    }

    /// Reads everything for connecting to a server with a certificate of the authority. With a chain or
    /// a key in the folder both are needed, and shown to servers that ask for a certificate.
    pub fn client(&self) -> Result<ClientConfig, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Pair)?
            .with_root_certificates(Arc::new(self.authority()?));
        if ![CHAIN, KEY].iter().any(|file| self.path.join(file).exists()) {
            return Ok(builder.with_no_client_auth());
        }
        let (chain, key) = self.pair()?;
        builder.with_client_auth_cert(chain, key).map_err(CertificateError::Pair)
    }

    /// The certificate chain with its key.
    pub(crate) fn pair(&self) -> Result<Pair, CertificateError> {
        let chain = self.certificates(CHAIN)?;
        let path = self.path.join(KEY);
        let key = PrivateKeyDer::from_pem_slice(&read(&path)?)
            .map_err(|source| CertificateError::Pem { path, source })?;
        Ok((chain, key))
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, file: &str) -> Result<Vec<u8>, CertificateError> {
        read(&self.path.join(file))
    }

    /// The authorities of the folder.
    pub(crate) fn authority(&self) -> Result<RootCertStore, CertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(AUTHORITY)? {
            roots.add(certificate).map_err(CertificateError::Pair)?;
        }
        Ok(roots)
    }

    fn certificates(&self, file: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let path = self.path.join(file);
        let bytes = read(&path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if found.is_empty() => Err(CertificateError::NoCertificate { path }),
            Ok(found) => Ok(found),
            Err(source) => Err(CertificateError::Pem { path, source }),
        }
    }
}

/// End of the first certificate in seconds since 1970; `None` when it cannot be read from it.
pub(crate) fn expires_s(chain: &[CertificateDer<'static>]) -> Option<i64> {
    chain.first().and_then(|certificate| validity::end_s(certificate))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let mut bytes = vec![];
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.is_empty() || bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CertificateError::Length { path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
