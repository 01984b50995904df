//! The certificate that is shown to clients; a new one is taken over for new connections.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_kit::certificates::{CertificateError, Folder, Server, Watched};
use tokio_rustls::TlsAcceptor;

/// How often the folder is looked at while connections come in.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Certificates {
    watched: Watched<Server>,
    looked: Instant,
}

impl Certificates {
    /// Reads what is in a folder: `tls.crt`, `tls.key` and, for certificates of clients, `ca.crt`.
    /// `protocol` is what clients may agree on.
    pub(super) fn load(folder: &Path, protocol: &'static [u8]) -> Result<Self, CertificateError> {
        let watched = Watched::load(Folder::new(folder), move |folder| {
            let mut server = folder.server()?;
            Arc::make_mut(&mut server.config).alpn_protocols = vec![protocol.to_vec()];
            Ok(server)
        })?;
        Ok(Self { watched, looked: Instant::now() })
    }

    /// For the next connection.
    pub(super) fn acceptor(&mut self) -> TlsAcceptor {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            match self.watched.look() {
                Ok(true) => tracing::info!("a new certificate is shown to clients"),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the new certificate cannot be used; the old one is");
                }
            }
        }
        TlsAcceptor::from(self.watched.value().config.clone())
    }
}
