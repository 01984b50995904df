//! The certificate of a listener: loaded at the start, and again whenever its folder changes.
//!
//! Must not: touch a connection that is there. New certificates are for new connections; while the
//! folder holds nothing that can be used, the ones in use stay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use orrery_kit::certificates::{CertificateError, Folder, Server, Stamp};

use super::limits::{CERTIFICATES_LOOK_MS, HANDSHAKES_MAX};
use super::stream::tls::{Tally, TlsStream};

/// Makes TLS connections of accepted sockets.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: Folder,
    server: Server,
    /// State of the folder that was looked at last, used or not.
    seen: Stamp,
    /// What was seen could not be used and may be half written: it is read again at every look.
    is_stale: bool,
    look_due_ms: u64,
    tally: Arc<Tally>,
}

impl Certificates {
    /// Loads what is in the folder; a listener does not start without.
    pub(crate) fn load(folder: Folder, tally: Arc<Tally>) -> Result<Self, CertificateError> {
        // The stamp first: what changes while it is read is noticed at the next look.
        let seen = folder.stamp();
        let server = folder.server()?;
        let certificates = Self { folder, server, seen, is_stale: false, look_due_ms: 0, tally };
        certificates.announce();
        Ok(certificates)
    }

    /// A connection whose handshake begins; `ConnectionRefused` when too many have begun.
    pub(crate) fn accept(&self, socket: mio::net::TcpStream) -> io::Result<TlsStream> {
        if self.tally.in_progress.load(Ordering::Relaxed) >= HANDSHAKES_MAX {
            self.tally.failed.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let config = Arc::clone(&self.server.config);
        TlsStream::new(socket, config, Arc::clone(&self.tally)).map_err(io::Error::other)
    }

    /// Takes new certificates over if the folder has some. Called often; looks now and then.
    pub(crate) fn look(&mut self, now_ms: u64) {
        if now_ms < self.look_due_ms {
            return;
        }
        self.look_due_ms = now_ms + CERTIFICATES_LOOK_MS;
        let stamp = self.folder.stamp();
        if stamp == self.seen && !self.is_stale {
            return;
        }
        let is_new = stamp != self.seen;
        self.seen = stamp;
        match self.folder.server() {
            Ok(server) => {
                self.server = server;
                self.is_stale = false;
                self.announce();
            }
            Err(error) => {
                if is_new {
                    self.tally.unusable.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "the new certificate is not used");
                }
                self.is_stale = true;
            }
        }
    }

    fn announce(&self) {
        let Server { expires_s, asks_peers, .. } = self.server;
        self.tally.loaded.fetch_add(1, Ordering::Relaxed);
        self.tally.expires_s.store(expires_s.unwrap_or(0), Ordering::Relaxed);
        tracing::info!(expires_s, asks_peers, "certificate in use");
    }
}
