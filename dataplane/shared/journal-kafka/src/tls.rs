//! TLS to a broker: what to trust, and what to show.
//!
//! Must not: speak to a broker whose certificate was not verified for its name. There is no way to
//! switch that off.

use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use orrery_kit::secrets::Secret;

/// Which authorities certificates of brokers may come from.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those of this text, one or several certificates in PEM.
    Pem(String),
    /// Those of the machine.
    System,
}

/// A certificate that is shown to brokers that ask for one.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate and those between it and its authority, in PEM.
    pub chain: String,
    /// Its private key, in PEM.
    pub key: Secret,
}

/// How brokers are known.
#[derive(Clone, Debug)]
pub struct Tls {
    pub roots: Roots,
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
}

/// What connections are made with.
pub(crate) fn config(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
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
    Ok(Arc::new(config))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_be_read_is_not_shown() {
        let signed = rcgen::generate_simple_self_signed(["log".to_owned()]).expect("a certificate");
        let mut tls = Tls { roots: Roots::Pem(signed.cert.pem()), client: None };
        config(&tls).expect("it is whole");
        let key = Secret::new("-----BEGIN PRIVATE KEY-----\nhunter2");
        tls.client = Some(ClientCertificate { chain: signed.cert.pem(), key });
        let error = config(&tls).expect_err("the key is none").to_string();
        assert!(!error.contains("hunter2") && !format!("{tls:?}").contains("hunter2"), "{error}");
        tls.roots = Roots::Pem(String::new());
        assert!(matches!(config(&tls), Err(TlsError::NoRoots)));
    }
}
