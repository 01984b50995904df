//! A connection to one broker: TCP, TLS, who one is, and one request after the other.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::Host;
use crate::failure::{Deadline, Failure, check};
use crate::sasl::{self, Scram, User};
use crate::wire::{Malformed, Reader, Writer};

/// Longest wait for a broker that does not take a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Largest answer that is read: a fetch has at most a few MiB.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// The name that brokers write to their logs and metrics.
const CLIENT: &str = "orrery";

/// The requests of this program, each in the one version that it speaks. All are without tagged
/// fields; brokers since 2.1 know them, and those of 4 still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    SaslHandshake,
    Versions,
    CreateTopics,
    DeleteRecords,
    DescribeConfigs,
    SaslAuthenticate,
}

impl Api {
    const NEEDED: [Self; 7] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::CreateTopics,
        Self::DeleteRecords,
        Self::DescribeConfigs,
    ];

    /// Its number and its version.
    const fn spoken(self) -> (i16, i16) {
        match self {
            Self::Produce => (0, 7),
            Self::Fetch => (1, 5),
            Self::ListOffsets => (2, 2),
            Self::Metadata => (3, 7),
            Self::SaslHandshake => (17, 1),
            Self::Versions => (18, 0),
            Self::CreateTopics => (19, 4),
            Self::DeleteRecords => (21, 1),
            Self::DescribeConfigs => (32, 1),
            Self::SaslAuthenticate => (36, 1),
        }
    }
}

/// How a broker is spoken to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) user: Option<User>,
}

/// A socket none of whose waits outlasts the deadline.
#[derive(Debug)]
struct Bounded {
    socket: TcpStream,
    deadline: Deadline,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.deadline.patience()?))?;
        self.socket.read(into)
    }
}

impl Write for Bounded {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.deadline.patience()?))?;
        self.socket.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[derive(Debug)]
enum Stream {
    Plain(Bounded),
    Tls(Box<StreamOwned<ClientConnection, Bounded>>),
}

/// A broker that listens to us.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    number: i32,
}

impl Connection {
    pub(crate) fn open(host: &Host, manner: &Manner, deadline: Deadline) -> Result<Self, Failure> {
        let socket = connect(host, deadline.within(CONNECT))
            .map_err(|error| Failure::Away(format!("failed to connect to {host}: {error}")))?;
        socket.set_nodelay(true)?;
        let mut bounded = Bounded { socket, deadline };
        let stream = match &manner.tls {
            None => Stream::Plain(bounded),
            Some(config) => {
                let mut tls = greet(host, config)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut bounded).map_err(|error| distrust(host, &error))?;
                }
                Stream::Tls(Box::new(StreamOwned::new(tls, bounded)))
            }
        };
        let mut connection = Self { stream, number: 0 };
        connection.compare(host, deadline)?;
        if let Some(user) = &manner.user {
            connection.authenticate(user, deadline)?;
        }
        Ok(connection)
    }

    /// Asks, and gives what is answered.
    pub(crate) fn ask(
        &mut self,
        api: Api,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<Vec<u8>, Failure> {
        let (key, version) = api.spoken();
        self.number = self.number.wrapping_add(1);
        let head =
            Writer::default().i16(key).i16(version).i32(self.number).string(CLIENT).into_bytes();
        let length = i32::try_from(head.len() + body.len()).map_err(|_| Malformed)?;
        let request = Writer::default().i32(length).raw(&head).raw(body).into_bytes();
        let stream: &mut dyn ReadWrite = match &mut self.stream {
            Stream::Plain(stream) => {
                stream.deadline = deadline;
                stream
            }
            Stream::Tls(stream) => {
                stream.sock.deadline = deadline;
                stream.as_mut()
            }
        };
        stream.write_all(&request)?;
        stream.flush()?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| Malformed)?;
        if !(4..=ANSWER_BYTES_MAX).contains(&length) {
            return Err(Failure::Again(
                "the answer is none of Kafka: is it the right port, and security.protocol?".into(),
            ));
        }
        let mut number = [0; 4];
        stream.read_exact(&mut number)?;
        if i32::from_be_bytes(number) != self.number {
            return Err(Failure::Again("an answer belongs to another request".to_owned()));
        }
        let mut answer = vec![0; length - 4];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    /// Checks that the broker knows every request that it will get.
    fn compare(&mut self, host: &Host, deadline: Deadline) -> Result<(), Failure> {
        let answer = self.ask(Api::Versions, &[], deadline)?;
        let mut answer = Reader::new(&answer);
        check(answer.i16()?, "ask what the broker knows")?;
        let known = answer.items(|reader| Ok((reader.i16()?, reader.i16()?, reader.i16()?)))?;
        for api in Api::NEEDED {
            let (key, version) = api.spoken();
            let is_known = |&(other, from, upto): &(i16, i16, i16)| {
                other == key && (from..=upto).contains(&version)
            };
            if !known.iter().any(is_known) {
                let reason = format!(
                    "the broker {host} does not know version {version} of {api:?}: \
                    use Apache Kafka 4 or what speaks as it does"
                );
                return Err(Failure::unusable(reason));
            }
        }
        Ok(())
    }

    fn authenticate(&mut self, user: &User, deadline: Deadline) -> Result<(), Failure> {
        let mechanism = Writer::default().string(user.mechanism.as_str()).into_bytes();
        let answer = self.ask(Api::SaslHandshake, &mechanism, deadline)?;
        check(Reader::new(&answer).i16()?, "begin SASL")?;
        let Some(mut scram) = Scram::begin(user) else {
            self.say(&sasl::plain(user), deadline)?;
            return Ok(());
        };
        let said = self.say(&scram.first(), deadline)?;
        let wrong = |why: &str| Failure::unusable(format!("the broker cannot be trusted: {why}"));
        let proof = scram.answer(user, &said).map_err(wrong)?;
        let said = self.say(&proof, deadline)?;
        if scram.is_proven(&said) {
            return Ok(());
        }
        Err(wrong("it does not prove that it knows the password"))
    }

    /// One step of SASL.
    fn say(&mut self, message: &[u8], deadline: Deadline) -> Result<Vec<u8>, Failure> {
        let body = Writer::default().bytes(message).into_bytes();
        let answer = self.ask(Api::SaslAuthenticate, &body, deadline)?;
        let mut answer = Reader::new(&answer);
        let code = answer.i16()?;
        answer.optional_string()?;
        check(code, "log in")?;
        Ok(answer.bytes()?.to_vec())
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn greet(host: &Host, config: &Arc<ClientConfig>) -> Result<ClientConnection, Failure> {
    let unusable = |why: String| Failure::unusable(format!("failed to use TLS with {host}: {why}"));
    let name = ServerName::try_from(host.name.clone())
        .map_err(|_| unusable("a certificate cannot have that name".to_owned()))?;
    ClientConnection::new(Arc::clone(config), name).map_err(|error| unusable(error.to_string()))
}

/// A certificate that is not trusted, on either side, stays so; a broker that hangs up may be ending.
fn distrust(host: &Host, error: &io::Error) -> Failure {
    let reason = format!("failed to use TLS with {host}: {error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(_) => Failure::unusable(reason),
        None => Failure::Again(format!("{reason}; does the broker speak TLS at this port?")),
    }
}

fn connect(host: &Host, deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in addresses(host, deadline)? {
        match TcpStream::connect_timeout(&address, deadline.patience()?) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Looks a name up. Resolvers wait as long as they like, so one that does is left alone with it.
fn addresses(host: &Host, deadline: Deadline) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.name.parse() {
        return Ok(vec![SocketAddr::new(address, host.port)]);
    }
    let (sender, receiver) = mpsc::channel();
    let asked = (host.name.clone(), host.port);
    thread::Builder::new().name("resolve".to_owned()).spawn(move || {
        let found = asked.to_socket_addrs().map(Iterator::collect);
        let _ = sender.send(found);
    })?;
    receiver.recv_timeout(deadline.left()).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "its name is not resolved"))
    })
}
