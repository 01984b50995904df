//! The certificate by which a process is known to its operator and to the other processes of its
//! object, and what it asks of theirs.
//!
//! Must not: serve clients; their certificates are of another folder. Who may do what is said by
//! names: the management port admits the operator alone, the port for followers those who have the
//! name of this process's own object.
//!
//! All users of one [`Identity`] change over to new files together, within a second of being asked,
//! so that what [`Loaded::hash`] says is what the next connection meets.

mod named;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orrery_operand::OPERATOR_NAME;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};

use crate::certificates::{AUTHORITY, CHAIN, CertificateError, Folder, Pair, Watched, expires_s};
use named::Named;

/// Pause between two looks at the folder.
const LOOK: Duration = Duration::from_secs(1);

/// What connections are made with.
#[derive(Debug)]
pub struct Loaded {
    /// For the management port.
    pub management: Arc<ServerConfig>,
    /// For the port of followers.
    pub peers: Arc<ServerConfig>,
    /// For connecting to another process of the same object.
    pub dial: Arc<ClientConfig>,
    /// SHA-256 (hex) of the chain and the authorities, as the files hold them.
    pub hash: String,
    /// End of the certificate in seconds since 1970.
    pub expires_s: Option<i64>,
}

#[derive(Debug)]
struct State {
    loaded: Watched<Arc<Loaded>>,
    look_due: Instant,
}

/// Shared by everything in the process that shows the certificate.
#[derive(Debug)]
pub struct Identity {
    name: ServerName<'static>,
    state: Mutex<State>,
}

impl Identity {
    /// Loads the folder. `name`: what the certificates of this process's object have in common.
    pub fn load(folder: &Path, name: &str) -> Result<Self, CertificateError> {
        let name = server_name(name)?;
        let peers = name.clone();
        let loaded = Watched::load(Folder::new(folder), move |folder| read(folder, &peers))?;
        announce(loaded.value());
        let state = State { loaded, look_due: Instant::now() + LOOK };
        Ok(Self { name, state: Mutex::new(state) })
    }

    /// The name that the certificates of this process's object have.
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// What the next connection is to be made with.
    pub fn current(&self) -> Arc<Loaded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= state.look_due {
            state.look_due = now + LOOK;
            match state.loaded.look() {
                Ok(false) => {}
                Ok(true) => announce(state.loaded.value()),
                Err(error) => tracing::error!(%error, "the new certificate is not used"),
            }
        }
        Arc::clone(state.loaded.value())
    }
}

fn announce(loaded: &Loaded) {
    let Loaded { expires_s, hash, .. } = loaded;
    tracing::info!(expires_s, hash, "certificate of this process in use");
}

fn server_name(name: &str) -> Result<ServerName<'static>, CertificateError> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| CertificateError::Name { name: name.to_owned() })
}

fn read(folder: &Folder, name: &ServerName<'static>) -> Result<Arc<Loaded>, CertificateError> {
    let files = Files { pair: folder.pair()?, roots: Arc::new(folder.authority()?) };
    let mut hash = Sha256::new();
    hash.update(folder.bytes(CHAIN)?);
    hash.update(folder.bytes(AUTHORITY)?);
    let mut management = files.server(&server_name(OPERATOR_NAME)?)?;
    management.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(Loaded {
        management: Arc::new(management),
        peers: Arc::new(files.server(name)?),
        dial: Arc::new(files.client()?),
        hash: orrery_operand::set_hash::hex(&hash.finalize()),
        expires_s: expires_s(&files.pair.0),
    }))
}

struct Files {
    pair: Pair,
    roots: Arc<RootCertStore>,
}

impl Files {
    /// A listener that admits those who show a certificate of an authority with the name.
    fn server(&self, name: &ServerName<'static>) -> Result<ServerConfig, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (roots, same) = (Arc::clone(&self.roots), Arc::clone(&provider));
        let any = WebPkiClientVerifier::builder_with_provider(roots, same).build()?;
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(CertificateError::Pair)?
            .with_client_cert_verifier(Arc::new(Named::new(any, name.clone())))
            .with_single_cert(self.pair.0.clone(), self.pair.1.clone_key())
            .map_err(CertificateError::Pair)
    }

    fn client(&self) -> Result<ClientConfig, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(CertificateError::Pair)?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.pair.0.clone(), self.pair.1.clone_key())
            .map_err(CertificateError::Pair)
    }
}
