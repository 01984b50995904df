//! New connections: taken from the listeners, checked against the bounds, put among the clients.

use std::io;

use mio::Token;

use super::clients::Clients;
use super::connection::Connection;
use super::{Ending, FIRST_LISTENER, Shard, stream};

/// Connections accepted per turn and listener, so that a storm of them does not stop the others.
const ACCEPTS_PER_TURN: usize = 256;

impl Shard {
    /// Before another loop takes them.
    pub(super) fn let_listeners_go(&mut self) {
        for listener in &mut self.listeners {
            if let Err(error) = listener.deregister(self.poll.registry()) {
                tracing::warn!(%error, "failed to let a listener go");
            }
        }
    }

    /// Takes connections in, some per turn.
    pub(super) fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(index) else { return };
            match listener.accept() {
                Ok(Some(stream)) => {
                    let path = listener.unix_path().to_owned();
                    self.welcome(stream, &path);
                }
                Ok(None) => return,
                // Its handshake would be one too many; the socket is closed.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.stats.connections_rejected += 1;
                }
                Err(error) => {
                    // Out of files, or a peer that is gone again: the next one may do better.
                    tracing::warn!(%error, "failed to accept a connection");
                    break;
                }
            }
        }
        // The listener is edge-triggered and may have more: ask to be told again.
        if let Some(listener) = self.listeners.get_mut(index)
            && let Err(error) =
                listener.reregister(self.poll.registry(), Token(FIRST_LISTENER + index))
        {
            tracing::error!(%error, "failed to listen on");
        }
    }

    fn welcome(&mut self, mut stream: stream::Stream, unix_path: &str) {
        self.stats.connections_received += 1;
        if self.clients.len() >= self.limits.clients_max || self.ending != Ending::No {
            self.stats.connections_rejected += 1;
            // The peer may be gone, or in the middle of a handshake; it is refused either way.
            let _ = io::Write::write(&mut stream, b"-ERR max number of clients reached\r\n");
            return;
        }
        let slot = self.clients.vacant();
        let prepared = stream
            .set_options(self.settings.number("tcp-keepalive"))
            .and_then(|()| stream.register(self.poll.registry(), Clients::token(slot)));
        if let Err(error) = prepared {
            tracing::warn!(%error, "failed to prepare a connection");
            return;
        }
        let id = self.clients.next_id();
        let now_ms = self.clock.mono_ms;
        let mut connection = Connection::new(id, slot, stream, unix_path, &self.users, now_ms);
        connection.is_ready = true;
        self.clients.insert(Box::new(connection));
        self.ready.push_back(slot);
        self.stats.clients_peak = self.stats.clients_peak.max(self.clients.len() as u64);
    }

    /// Takes new certificates over.
    pub(crate) fn look_after_listeners(&mut self) {
        for listener in &mut self.listeners {
            listener.look_after(self.clock.mono_ms);
        }
    }

    /// No connection is accepted from now on.
    pub(crate) fn stop_listening(&mut self) {
        self.listeners.clear();
    }
}
