//! TLS to the servers of somebody else: what to trust, and what to show.
//!
//! Must not: speak to a server whose certificate was not verified for its name. There is no way to
//! switch that off.

use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::secrets::Secret;

/// Which authorities certificates of servers may come from.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those of this text, one or several certificates in PEM.
    Pem(String),
    /// Those of the machine.
    System,
}

/// A certificate that is shown to servers that ask for one.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate and those between it and its authority, in PEM.
    pub chain: String,
    /// Its private key, in PEM.
    pub key: Secret,
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
pub fn client_config(
    roots: &Roots,
    client: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store(roots)?);
    let config = match client {
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

fn store(from: &Roots) -> Result<RootCertStore, TlsError> {
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
    fn what_is_no_authority_is_refused() {
        let with = |pem: &str| client_config(&Roots::Pem(pem.to_owned()), None);
        assert!(matches!(with(""), Err(TlsError::NoRoots)));
        with("-----BEGIN CERTIFICATE-----\nAAAA").expect_err("it is cut off");
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_shown() {
        let signed = rcgen::generate_simple_self_signed(["db".to_owned()]).expect("a certificate");
        let roots = Roots::Pem(signed.cert.pem());
        client_config(&roots, None).expect("it is whole");
        let key = Secret::new("-----BEGIN PRIVATE KEY-----\nhunter2");
        let client = ClientCertificate { chain: signed.cert.pem(), key };
        let error = client_config(&roots, Some(&client)).expect_err("the key is none").to_string();
        assert!(
            !error.contains("hunter2") && !format!("{client:?}").contains("hunter2"),
            "{error}"
        );
    }
}
