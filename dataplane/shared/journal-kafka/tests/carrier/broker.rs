//! The broker of all tests, how a journal on it is opened, and requests that the carrier never makes.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use orrery_journal_kafka::suite::Broker;
use orrery_journal_kafka::{Host, KafkaCarrier, Options, Replication};
use orrery_kit::suite::free_port;
use orrery_pg::suite::Proxy;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The shard of all journals here; that of the suite.
pub const SHARD: u32 = 7;
pub const PASSWORD: &str = "a password that is never shown";

/// Who kills the broker is alone with it.
static ALONE: RwLock<()> = RwLock::new(());

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key, in PEM.
pub fn issue(authority: &Authority, name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// The ways to the broker beside the open one.
pub struct World {
    pub broker: &'static Broker,
    /// A network that loses answers.
    pub proxy: &'static Proxy,
    /// TLS and a login, which is the same by all mechanisms.
    pub guarded: Host,
    pub authority: &'static Authority,
}

struct Ways {
    proxy: Proxy,
    /// Where that leads to.
    lossy: u16,
    guarded: u16,
    authority: Authority,
}

fn world() -> Option<World> {
    static WAYS: OnceLock<Ways> = OnceLock::new();
    let ways = WAYS.get_or_init(|| {
        let (lossy, guarded) = (free_port(), free_port());
        Ways { proxy: Proxy::to(lossy, 1), lossy, guarded, authority: authority("ours") }
    });
    let broker = Broker::shared(|_: &Path| settings(ways))?;
    let guarded = Host { name: "localhost".to_owned(), port: ways.guarded };
    Some(World { broker, proxy: &ways.proxy, guarded, authority: &ways.authority })
}

fn settings(ways: &Ways) -> String {
    let inline = |pem: &str| pem.trim().replace('\r', "").replace('\n', "\\n");
    let (chain, key) = issue(&ways.authority, "localhost");
    let (own, lossy, guarded) = (ways.proxy.host().port, ways.lossy, ways.guarded);
    let module = "org.apache.kafka.common.security";
    let prefix = "listener.name.guarded";
    let mut lines = format!(
        "listeners=LOSSY://127.0.0.1:{lossy}\nadvertised=LOSSY://127.0.0.1:{own}\n\
        protocols=LOSSY:PLAINTEXT\nlisteners=GUARDED://127.0.0.1:{guarded}\n\
        advertised=GUARDED://localhost:{guarded}\nprotocols=GUARDED:SASL_SSL\n\
        {prefix}.ssl.client.auth=requested\n\
        {prefix}.ssl.keystore.type=PEM\n{prefix}.ssl.truststore.type=PEM\n\
        {prefix}.ssl.keystore.certificate.chain={}\n{prefix}.ssl.keystore.key={}\n\
        {prefix}.ssl.truststore.certificates={}\n\
        {prefix}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
        {prefix}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required \
        user_writer=\"{PASSWORD}\";\n",
        inline(&chain),
        inline(&key),
        inline(&ways.authority.pem()),
    );
    for bits in [256, 512] {
        writeln!(
            lines,
            "{prefix}.scram-sha-{bits}.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
            scram=SCRAM-SHA-{bits}=[name=writer,password=\"{PASSWORD}\"]"
        )
        .unwrap();
    }
    lines
}

/// The broker, which stays while the guard is there.
pub fn shared() -> Option<(World, RwLockReadGuard<'static, ()>)> {
    let guard = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    world().map(|world| (world, guard))
}

/// The broker for one test alone.
pub fn alone() -> Option<(World, RwLockWriteGuard<'static, ()>)> {
    let guard = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    world().map(|world| (world, guard))
}

pub fn options(host: Host, journal: &str) -> Options {
    Options {
        bootstrap: vec![host],
        tls: None,
        user: None,
        prefix: "orrery.".to_owned(),
        journal: journal.to_owned(),
        shard: SHARD,
        replication: Replication::default(),
    }
}

impl World {
    /// A carrier of a journal on the broker.
    pub fn carrier(&self, journal: &str) -> KafkaCarrier {
        KafkaCarrier::open(options(self.broker.host(), journal)).unwrap()
    }

    /// One through the network that loses answers.
    pub fn lossy(&self, journal: &str) -> KafkaCarrier {
        let port = self.proxy.host().port;
        let host = Host { name: "127.0.0.1".to_owned(), port };
        KafkaCarrier::open(options(host, journal)).unwrap()
    }

    /// Asks the broker for what no carrier asks, and gives the answer without its number.
    fn raw(&self, key: u16, version: u16, body: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.broker.host().port)).unwrap();
        let mut request = vec![];
        for number in [key, version, 0, 1, 0] {
            request.extend_from_slice(&number.to_be_bytes());
        }
        request.extend_from_slice(body);
        socket.write_all(&(request.len() as u32).to_be_bytes()).unwrap();
        socket.write_all(&request).unwrap();
        let mut length = [0; 4];
        socket.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        socket.read_exact(&mut answer).unwrap();
        answer.split_off(4)
    }

    /// Removes what lies before an offset of a topic, behind the back of the carrier; -1: everything.
    pub fn remove_before(&self, topic: &str, offset: i64) {
        let mut body = 1_u32.to_be_bytes().to_vec();
        put(&mut body, topic);
        for number in [1_u32, 0] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        body.extend_from_slice(&offset.to_be_bytes());
        body.extend_from_slice(&10_000_u32.to_be_bytes());
        let answer = self.raw(21, 1, &body);
        assert_eq!(answer[answer.len() - 2..], [0, 0], "it is removed");
    }

    /// Changes a setting of a topic.
    pub fn set(&self, topic: &str, key: &str, value: &str) {
        let mut body = 1_u32.to_be_bytes().to_vec();
        body.push(2);
        put(&mut body, topic);
        body.extend_from_slice(&1_u32.to_be_bytes());
        put(&mut body, key);
        body.push(0);
        put(&mut body, value);
        body.push(0);
        let answer = self.raw(44, 0, &body);
        assert_eq!(answer[8..10], [0, 0], "it is set");
    }
}

fn put(into: &mut Vec<u8>, text: &str) {
    into.extend_from_slice(&(text.len() as u16).to_be_bytes());
    into.extend_from_slice(text.as_bytes());
}
