//! A RESP client over TLS that trusts one authority.

use std::io::{self, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::DEADLINE;
use super::authority::{Authority, Pair};
use crate::process::{Value, encode, read_value};

pub(crate) fn config(authority: &Authority, own: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.pem().as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the defaults")
            .with_root_certificates(roots);
    let Some(own) = own else { return Arc::new(builder.with_no_client_auth()) };
    let chain = vec![CertificateDer::from_pem_slice(own.chain.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
    Arc::new(builder.with_client_auth_cert(chain, key).expect("a pair"))
}

#[derive(Debug)]
pub(super) struct TlsClient {
    reader: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl TlsClient {
    /// Connects and finishes the handshake, as far as this side can tell.
    pub(super) fn connect(
        port: u16,
        authority: &Authority,
        own: Option<&Pair>,
    ) -> io::Result<Self> {
        Self::with(port, config(authority, own))
    }

    pub(super) fn with(port: u16, config: Arc<ClientConfig>) -> io::Result<Self> {
        let (session, socket) = Self::begin(port, config)?;
        Self::finish(session, socket)
    }

    /// Connects and sends the first message of the handshake.
    pub(super) fn begin(
        port: u16,
        config: Arc<ClientConfig>,
    ) -> io::Result<(ClientConnection, TcpStream)> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        socket.set_nodelay(true)?;
        let name = "localhost".try_into().expect("a name");
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        session.write_tls(&mut socket)?;
        Ok((session, socket))
    }

    pub(super) fn finish(mut session: ClientConnection, mut socket: TcpStream) -> io::Result<Self> {
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { reader: BufReader::new(StreamOwned::new(session, socket)) })
    }

    pub(super) fn run(&mut self, line: &str) -> Value {
        self.try_run(line).expect("a reply")
    }

    pub(super) fn try_run(&mut self, line: &str) -> io::Result<Value> {
        self.reader.get_mut().write_all(&encode(line))?;
        self.reader.get_mut().flush()?;
        self.read()
    }

    /// Sends many requests at once, without reading.
    pub(super) fn send_all(&mut self, lines: &[String]) {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| encode(line)).collect();
        self.reader.get_mut().write_all(&bytes).expect("it is sent");
        self.reader.get_mut().flush().expect("it is sent");
    }

    pub(super) fn read(&mut self) -> io::Result<Value> {
        read_value(&mut self.reader)
    }
}
