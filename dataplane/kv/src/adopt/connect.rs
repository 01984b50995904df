//! A socket to the source, over TLS where it speaks that.
//!
//! Must not: go on without TLS where that was asked for, or with a certificate that is not checked.
//! The files are read at every attempt, so new ones need no restart.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orrery_kit::certificates::{CertificateError, Folder};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError as Untrusted, Error};

use crate::replication::dial;
use crate::replication::socket::Socket;

const CONNECT: Duration = Duration::from_secs(5);
/// Longest time one write may take, and one read of a handshake.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// What the certificate of the source is checked with.
#[derive(Debug)]
pub(crate) struct Tls {
    folder: Folder,
    /// The name it must have; else it is the host of the address.
    name: Option<String>,
}

impl Tls {
    pub(crate) fn new(folder: &Path, name: Option<String>) -> Self {
        Self { folder: Folder::new(folder), name }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("failed to connect to the source: {0}")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Files(#[from] CertificateError),
    #[error("failed to speak TLS with the source: {}", said(.0))]
    Handshake(io::Error),
}

/// Connects to `host:port`. Takes as long as the limits above allow.
pub(super) fn connect(address: &str, tls: Option<&Tls>) -> Result<Socket, ConnectError> {
    let socket = dial::connect(address, CONNECT)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(STUCK))?;
    socket.set_write_timeout(Some(STUCK))?;
    let Some(tls) = tls else { return Ok(Socket::plain(socket)) };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = tls.name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name.clone()).map_err(|_| CertificateError::Name { name })?;
    let config = Arc::new(tls.folder.client()?);
    Socket::connect(socket, config, name).map_err(ConnectError::Handshake)
}

/// What went wrong, in words for whoever made the certificates.
pub(super) fn said(error: &io::Error) -> String {
    use Untrusted::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext, UnknownIssuer,
    };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(why)) => match why {
            UnknownIssuer | BadSignature => {
                "its certificate is of no authority in ca.crt of the Secret".to_owned()
            }
            Expired | ExpiredContext { .. } => "its certificate has expired".to_owned(),
            NotValidYet | NotValidYetContext { .. } => {
                "its certificate is not valid yet".to_owned()
            }
            NotValidForName | NotValidForNameContext { .. } => {
                format!("its certificate has another name: {why}")
            }
            other => format!("its certificate cannot be used: {other}"),
        },
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            "it asks for a certificate: tls.crt and tls.key of the Secret".to_owned()
        }
        Some(Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        // A Redis waits for the end of a line that never comes.
        None if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            format!("it said nothing for {} s, so it may not speak TLS", STUCK.as_secs())
        }
        _ => error.to_string(),
    }
}
