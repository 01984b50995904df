//! The certificate of a listener: loaded at the start, and again whenever its folder changes.
//!
//! Must not: touch a connection that is there. New certificates are for new connections; while the
//! folder holds nothing that can be used, the ones in use stay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use orrery_kit::certificates::{CertificateError, Folder, Server, Watched};

use super::limits::CERTIFICATES_LOOK_MS;
use super::stream::tls::{Tally, TlsStream};

/// Makes TLS connections of accepted sockets.
#[derive(Debug)]
pub(crate) struct Certificates {
    server: Watched<Server>,
    look_due_ms: u64,
    tally: Arc<Tally>,
}

impl Certificates {
    /// Loads what is in the folder; a listener does not start without.
    pub(crate) fn load(folder: Folder, tally: Arc<Tally>) -> Result<Self, CertificateError> {
        let server = Watched::load(folder, Folder::server)?;
        let certificates = Self { server, look_due_ms: 0, tally };
        certificates.announce();
        Ok(certificates)
    }

    /// A connection whose handshake begins; `ConnectionRefused` when too many have begun.
    pub(crate) fn accept(&self, socket: mio::net::TcpStream) -> io::Result<TlsStream> {
        let config = Arc::clone(&self.server.value().config);
        TlsStream::accept(socket, config, Arc::clone(&self.tally))
    }

    /// Takes new certificates over if the folder has some. Called often; looks now and then.
    pub(crate) fn look(&mut self, now_ms: u64) {
        if now_ms < self.look_due_ms {
            return;
        }
        self.look_due_ms = now_ms + CERTIFICATES_LOOK_MS;
        match self.server.look() {
            Ok(false) => {}
            Ok(true) => self.announce(),
            Err(error) => {
                self.tally.unusable.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the new certificate is not used");
            }
        }
    }

    fn announce(&self) {
        let Server { expires_s, asks_peers, .. } = self.server.value();
        self.tally.loaded.fetch_add(1, Ordering::Relaxed);
        self.tally.expires_s.store(expires_s.unwrap_or(0), Ordering::Relaxed);
        tracing::info!(expires_s, asks_peers, "certificate in use");
    }
}
