//! Starts the engine as a child: this test program itself, told by its environment to serve. So
//! `kill -9` is real, and no other binary has to be built first. And a small RESP client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orrery_kit::suite::free_port;
use orrery_kv::ServeArgs;

const CONFIG: &str = "ORRERY_TEST_CONFIG";
/// The name of the certificates of an engine with a folder `identity`.
pub(crate) const IDENTITY_NAME: &str = "cache-kv-headless.shop.svc";
const DEADLINE: Duration = Duration::from_mins(1);
/// The most shards of an engine.
pub(crate) const SHARDS: usize = 3;

/// Not a test of its own: what [`Engine::start`] runs.
#[test]
#[ignore = "the child process of the other tests"]
fn serve() {
    let config = PathBuf::from(std::env::var_os(CONFIG).expect("the parent sets it"));
    let folder = config.parent().expect("it is in a folder").to_owned();
    let args = ServeArgs {
        config,
        data: folder.join("data"),
        secrets: Some(folder.join("secrets")),
        tls: Some(folder.join("tls")).filter(|folder| folder.exists()),
        identity: Some(folder.join("identity"))
            .filter(|folder| folder.exists())
            .map(|folder| (folder, IDENTITY_NAME.to_owned())),
        adopt: Some(folder.join("adopt")).filter(|folder| folder.exists()),
        adopt_tls: Some(folder.join("adopt-tls")).filter(|folder| folder.exists()),
        adopt_name: std::fs::read_to_string(folder.join("adopt-name")).ok(),
        live: Some(folder.join("live")).filter(|folder| folder.exists()),
    };
    let code = orrery_kv::run(&args).expect("it starts");
    std::process::exit(i32::from(code));
}

/// A running engine in a folder of its own.
pub(crate) struct Engine {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) management: u16,
    pub(crate) port: u16,
    /// For followers, of engines with certificates.
    pub(crate) replication: u16,
    /// For clients that speak HTTP.
    pub(crate) api: u16,
    /// For clients of each of several shards.
    pub(crate) shards: [u16; SHARDS],
    child: Child,
}

/// The name of the process in a folder to its group: it keeps it when it starts again.
pub(crate) fn pod_name(folder: &Path) -> String {
    let name = folder.file_name().expect("it has a name").to_string_lossy();
    format!("pod{}", name.replace('.', "-"))
}

/// Under a shell that ignores XFSZ, so that a limit on file sizes makes writes fail and does not
/// kill.
fn spawn(
    folder: &tempfile::TempDir,
    [port, management, replication, api]: [u16; 4],
    shards: [u16; SHARDS],
) -> Child {
    let of_shards = shards.iter().enumerate();
    let of_shards = of_shards
        .map(|(id, port)| (format!("ORRERY_LISTEN_RESP_{id}"), format!("127.0.0.1:{port}")));
    Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "process::serve", "--ignored", "--nocapture"])
        .env(CONFIG, folder.path().join("kv.yaml"))
        .env("ORRERY_LISTEN_RESP", format!("127.0.0.1:{port}"))
        .env("ORRERY_POD", pod_name(folder.path()))
        .env("ORRERY_ARCHIVE_SECRET", folder.path().join("archive-secret"))
        .env("ORRERY_RECOVERY_SECRET", folder.path().join("recovery-secret"))
        .env("ORRERY_JOURNAL_SECRET", folder.path().join("journal-secret"))
        .env("ORRERY_LISTEN_HTTP", "127.0.0.1:0")
        .env("ORRERY_LISTEN_REPLICATION", format!("127.0.0.1:{replication}"))
        .env("ORRERY_LISTEN_API", format!("127.0.0.1:{api}"))
        .env("ORRERY_LISTEN_MANAGEMENT", format!("127.0.0.1:{management}"))
        .envs(of_shards)
        .envs(orrery_e2e_tests::clock::environment(folder.path()))
        .stdout(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
        .expect("the child starts")
}

impl Engine {
    pub(crate) fn start(config: &str) -> Self {
        Self::start_in(Self::prepare(config))
    }

    /// A folder to start in, with the configuration.
    pub(crate) fn prepare(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("secrets")).expect("writable");
        let socket = folder.path().join("kv.sock");
        let text = format!("unixSocket: {}\n{config}", socket.display());
        std::fs::write(folder.path().join("kv.yaml"), text).expect("writable");
        folder
    }

    pub(crate) fn start_with_password(password: &str) -> Self {
        let engine = Self::start("");
        let folder = engine.stop();
        std::fs::write(folder.path().join("secrets/password"), password).expect("writable");
        Self::start_in(folder)
    }

    /// Starts on what an earlier engine left, and returns once it serves: its sockets are open
    /// before recovery has ended.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Self {
        let engine = Self::begin_in(folder);
        // A refusal for want of a password is an answer as well.
        engine.client().run("PING");
        engine
    }

    /// The same without waiting until it serves.
    pub(crate) fn begin_in(folder: tempfile::TempDir) -> Self {
        let ports @ [port, management, replication, api] = std::array::from_fn(|_| free_port());
        let shards = std::array::from_fn(|_| free_port());
        let child = spawn(&folder, ports, shards);
        Self { folder, management, port, replication, api, shards, child }
    }

    /// Where followers and clients of other machines would connect.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.expect("kill is there").success());
        if name == "STOP" {
            let started = Instant::now();
            while !self.is_stopped() {
                assert!(started.elapsed() < DEADLINE, "it does not stop");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Whether all its threads stand still.
    fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let mut states = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            text.rsplit_once(") ")?.1.chars().next()
        });
        states.all(|state| state == 'T')
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection; waits until the engine accepts one.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.folder.path().join("kv.sock"))
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        self.take_folder()
    }

    /// SIGTERM, and an orderly end.
    pub(crate) fn stop(mut self) -> tempfile::TempDir {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(pid).status().expect("kill is there");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "an orderly end");
        self.take_folder()
    }

    /// Waits until it has ended by itself; gives its exit code.
    pub(crate) fn wait_for_end(mut self) -> (Option<i32>, tempfile::TempDir) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return (status.code(), self.take_folder());
            }
            assert!(started.elapsed() < DEADLINE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn take_folder(&mut self) -> tempfile::TempDir {
        let empty = tempfile::tempdir().expect("a temporary folder");
        std::mem::replace(&mut self.folder, empty)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reply; maps and sets come as arrays, as the tests speak version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Option<Vec<Value>>),
}

impl Value {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Status(text) | Self::Error(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Bulk(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no text: {other:?}"),
        }
    }
}

pub(crate) fn bulk(text: &str) -> Value {
    Value::Bulk(Some(text.as_bytes().to_vec()))
}

pub(crate) fn ok() -> Value {
    Value::Status("OK".into())
}

/// A client that sends what it is told and reads one reply at a time.
pub(crate) struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects to a Unix socket, as soon as somebody listens there.
    pub(crate) fn connect(path: &Path) -> Self {
        let started = Instant::now();
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return Client::new(stream),
                Err(_) if started.elapsed() < DEADLINE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("nobody accepts: {error}"),
            }
        }
    }

    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn stream(&mut self) -> &mut UnixStream {
        self.reader.get_mut()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream().write_all(bytes)
    }

    /// Whether a reply, or its beginning, has come within a moment.
    pub(crate) fn has_reply(&mut self) -> bool {
        self.stream().set_read_timeout(Some(Duration::from_millis(5))).expect("a socket");
        let came = matches!(self.reader.fill_buf(), Ok(bytes) if !bytes.is_empty());
        self.stream().set_read_timeout(Some(DEADLINE)).expect("a socket");
        came
    }

    /// Words separated by spaces.
    pub(crate) fn run(&mut self, line: &str) -> Value {
        self.try_run(line).expect("a reply")
    }

    pub(crate) fn try_run(&mut self, line: &str) -> io::Result<Value> {
        self.send(&encode(line))?;
        self.read()
    }

    pub(crate) fn read(&mut self) -> io::Result<Value> {
        read_value(&mut self.reader)
    }

    /// Everything up to the end of the connection.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut bytes = vec![];
        // A reset after the last reply is an end as well.
        let _ = self.reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Reads one reply.
pub(crate) fn read_value(reader: &mut impl BufRead) -> io::Result<Value> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    // The end of a killed process can cut a reply anywhere.
    if !line.ends_with("\r\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let rest = line[1..].trim_end_matches("\r\n");
    let number = || rest.parse::<i64>().expect("a length");
    Ok(match line.as_bytes()[0] {
        b'+' => Value::Status(rest.to_owned()),
        b'-' => Value::Error(rest.to_owned()),
        b':' => Value::Integer(number()),
        b'$' if number() < 0 => Value::Bulk(None),
        b'$' => {
            let mut bytes = vec![0; number() as usize + 2];
            reader.read_exact(&mut bytes)?;
            bytes.truncate(number() as usize);
            Value::Bulk(Some(bytes))
        }
        b'*' if number() < 0 => Value::Array(None),
        b'*' => {
            let all: io::Result<Vec<_>> = (0..number()).map(|_| read_value(reader)).collect();
            Value::Array(Some(all?))
        }
        other => panic!("unexpected reply type {}", other as char),
    })
}

pub(crate) fn encode(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}
