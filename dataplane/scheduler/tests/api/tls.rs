//! Clients that speak TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{PATIENCE, Stage};

const TOKEN: &str = "a-long-token";

/// Writes a new certificate and its key; gives what a client trusts.
fn certify(folder: &Path) -> Arc<ClientConfig> {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["scheduler.example".to_owned()]).unwrap();
    let chain = parameters.self_signed(&key).unwrap().pem();
    std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("tls.crt"), &chain).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// The first line of the answer to a request for all jobs.
fn ask(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<String> {
    let name = ServerName::try_from("scheduler.example").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, stream);
    let request = format!(
        "GET /v1/jobs HTTP/1.1\r\nHost: scheduler.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn with_certificates_the_api_speaks_tls_alone_and_takes_new_ones_over() {
    let stage = Stage::new();
    let folder = tempfile::tempdir().unwrap();
    let trusted = certify(folder.path());
    let api = stage.with_certificates(folder.path(), TOKEN);
    assert_eq!(ask(api.address, &trusted).unwrap(), "HTTP/1.1 200 OK");

    // Plain text gets nothing, and whoever says nothing does not keep others out.
    let silent = TcpStream::connect(api.address).unwrap();
    let mut plain = TcpStream::connect(api.address).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = vec![];
    _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(ask(api.address, &trusted).unwrap(), "HTTP/1.1 200 OK");
    drop(silent);

    // gRPC shows the same, and agrees on HTTP/2.
    let mut http2 = ClientConfig::clone(&trusted);
    http2.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("scheduler.example").unwrap();
    let mut connection = ClientConnection::new(Arc::new(http2), name).unwrap();
    let mut stream = TcpStream::connect(api.grpc.unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));

    // A renewed certificate is shown to new connections; half of one changes nothing.
    std::fs::write(folder.path().join("tls.crt"), "").unwrap();
    assert_eq!(ask(api.address, &trusted).unwrap(), "HTTP/1.1 200 OK");
    let renewed = certify(folder.path());
    stage.until("the new certificate is shown", || ask(api.address, &renewed).is_ok());
    ask(api.address, &trusted).expect_err("the old one is gone");
}
