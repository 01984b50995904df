//! A group with certificates: who is let in by which port, and new ones while records flow.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orrery_operand::OPERATOR_NAME;
use orrery_operand::client::OperandClient;
use orrery_operand::secured::Caller;
use orrery_operand::v1::{RenewRequest, ReportResponse, Role};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use super::group::{block_on, content, eventually};
use crate::process::{Client, Engine, IDENTITY_NAME, ok};
use crate::tls::authority::{Authority, Pair};
use crate::tls::client::config;

const PATIENCE: Duration = Duration::from_secs(40);

/// Writes the files of a process; the last is the authorities, so that what is read in between is of
/// one of two states that both work.
fn give(folder: &Path, own: &Pair, trusted: &Authority) {
    std::fs::create_dir_all(folder).expect("writable");
    own.write(folder);
    std::fs::write(folder.join("fresh"), trusted.pem()).expect("writable");
    std::fs::rename(folder.join("fresh"), folder.join("ca.crt")).expect("same folder");
}

/// A process that waits to be told its role; `tls`: its clients must speak TLS.
fn member(authority: &Authority, tls: bool) -> Engine {
    let folder = Engine::prepare("group: true\n");
    give(&folder.path().join("identity"), &authority.server(IDENTITY_NAME), authority);
    if tls {
        std::fs::create_dir(folder.path().join("tls")).expect("writable");
        authority.server("localhost").write(&folder.path().join("tls"));
    }
    Engine::begin_in(folder)
}

/// The operator of an installation.
struct Operator<'a>(&'a Authority);

impl Operator<'_> {
    fn client(&self, engine: &Engine) -> OperandClient {
        let caller = Caller {
            config: config(self.0, Some(&self.0.server(OPERATOR_NAME))),
            name: ServerName::try_from(IDENTITY_NAME).expect("a name"),
        };
        let address = format!("127.0.0.1:{}", engine.management);
        OperandClient::secured(&address, None, caller).expect("an address")
    }

    fn report(&self, engine: &Engine) -> Option<ReportResponse> {
        block_on(async { self.client(engine).report().await.ok() })
    }

    fn lead(&self, primary: &Engine, follower: &Engine, epoch: u64) {
        for engine in [primary, follower] {
            eventually("it answers", || {
                self.report(engine).filter(|report| report.reason != "Recovering").map(drop)
            });
        }
        block_on(async {
            let client = self.client(primary);
            client.promote(0, epoch).await.expect("it obeys");
            let said_at = client.report().await.expect("it answers").said_at;
            let request = RenewRequest {
                shard: 0,
                epoch,
                followers: 1,
                synchronous: 1,
                lease_milliseconds: 0,
                said_at,
            };
            client.renew(request).await.expect("it listens");
        });
        self.follow(primary, follower, epoch);
    }

    fn follow(&self, primary: &Engine, follower: &Engine, epoch: u64) {
        let address = format!("127.0.0.1:{}", primary.replication);
        block_on(async {
            self.client(follower).follow(0, epoch, address, true).await.expect("it obeys");
        });
        eventually("the follower is in sync", || {
            let (wanted, found) = (self.report(primary)?, self.report(follower)?);
            let up = found.link.as_ref().is_some_and(|link| link.up);
            let is_there = up && found.ready && found.role() == Role::Follower;
            let same = found.durable_position == wanted.durable_position;
            (is_there && same && wanted.writable).then_some(())
        });
    }
}

/// Says PING over TLS to the port for followers.
fn knock(port: u16, config: Arc<ClientConfig>) -> io::Result<String> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(IDENTITY_NAME).expect("a name");
    let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(session, socket));
    stream.get_mut().write_all(b"PING\r\n")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
}

fn replicates_and_admits_its_own_alone(tls: bool) {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let (primary, follower) = (member(&one, tls), member(&one, tls));
    let operator = Operator(&one);
    operator.lead(&primary, &follower, 1);
    // Not a multiple of a record of TLS, and more than is encrypted at once.
    let large = "0123456789abcde".repeat(20_001);
    let mut client = primary.client();
    assert_eq!(client.run(&format!("SET large {large}")), ok());
    for number in 0..200 {
        assert_eq!(client.run(&format!("SET key:{number} {number}")), ok(), "on two disks");
    }
    let expected = content(&primary);
    eventually("the follower has it too", || (content(&follower) == expected).then_some(()));

    let own = one.server(IDENTITY_NAME);
    assert!(knock(primary.replication, config(&one, Some(&own))).is_ok());
    let strangers = [
        ("without a certificate", config(&one, None)),
        ("of another authority", config(&one, Some(&other.server(IDENTITY_NAME)))),
        ("of another object", config(&one, Some(&one.server("orders-kv-headless.shop.svc")))),
        ("the operator", config(&one, Some(&one.server(OPERATOR_NAME)))),
        ("of the past", config(&one, Some(&one.expired(IDENTITY_NAME)))),
    ];
    for (who, stranger) in strangers {
        let answer = knock(primary.replication, stranger);
        assert!(answer.is_err(), "{who}: {answer:?}");
    }
    let mut plain = TcpStream::connect(("127.0.0.1", primary.replication)).expect("it listens");
    plain.set_read_timeout(Some(PATIENCE)).expect("a socket");
    plain.write_all(b"PING\r\n").expect("it is sent");
    let mut line = Vec::new();
    // A reset is an end as well.
    _ = BufReader::new(plain).read_until(b'\n', &mut line);
    assert!(!line.starts_with(b"+PONG"), "without TLS");
    assert_eq!(client.run("SET after strangers"), ok(), "others do not notice");
}

#[test]
fn followers_come_over_mutual_tls_and_nobody_else_does() {
    replicates_and_admits_its_own_alone(false);
}

#[test]
fn a_group_whose_clients_speak_tls_replicates_by_the_port_for_followers() {
    replicates_and_admits_its_own_alone(true);
}

#[test]
fn a_follower_follows_nobody_who_only_pretends() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let follower = member(&one, false);
    let operator = Operator(&one);
    eventually("it answers", || operator.report(&follower).map(drop));
    for (who, pair) in [
        ("of another authority", other.server(IDENTITY_NAME)),
        ("of another object", one.server("orders-kv-headless.shop.svc")),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("an address").to_string();
        let epoch = if who.ends_with("authority") { 1 } else { 2 };
        eventually("it obeys", || {
            let told = async {
                self::Operator(&one).client(&follower).follow(0, epoch, address.clone(), true).await
            };
            block_on(told).ok().map(drop)
        });
        let (mut socket, _) = listener.accept().expect("it comes");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let chain = vec![CertificateDer::from_pem_slice(pair.chain.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the defaults")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        let mut session = ServerConnection::new(Arc::new(config)).expect("a session");
        let ended = loop {
            match session.complete_io(&mut socket) {
                Ok(_) if session.is_handshaking() => {}
                ended => break ended,
            }
        };
        assert!(ended.is_err(), "{who}: it says nothing, not even its token: {ended:?}");
    }
}

#[test]
fn an_authority_takes_the_place_of_another_while_records_flow() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let both = Authority::both(&old, &new);
    let (primary, follower) = (member(&old, false), member(&old, false));
    Operator(&old).lead(&primary, &follower, 1);
    let mut client: Client = primary.client();
    let mut written = 0;
    let mut write = || {
        for _ in 0..100 {
            written += 1;
            assert_eq!(client.run(&format!("SET key:{written} v")), ok(), "no write fails");
        }
    };
    write();
    for (signs, trusted) in [(&old, &both), (&new, &both), (&new, &new)] {
        for engine in [&primary, &follower] {
            let own = signs.server(IDENTITY_NAME);
            give(&engine.folder.path().join("identity"), &own, trusted);
            write();
        }
    }
    // A link made anew meets what is newest on both sides.
    let operator = Operator(&new);
    for engine in [&primary, &follower] {
        eventually("it knows the new authority", || operator.report(engine).map(drop));
    }
    let folder = follower.kill();
    let follower = Engine::begin_in(folder);
    eventually("it answers", || {
        operator.report(&follower).filter(|report| report.reason != "Recovering").map(drop)
    });
    operator.follow(&primary, &follower, 1);
    write();
    let stranger = config(&new, Some(&old.server(IDENTITY_NAME)));
    eventually("the old authority is not trusted any more", || {
        knock(primary.replication, Arc::clone(&stranger)).err()
    });
}
