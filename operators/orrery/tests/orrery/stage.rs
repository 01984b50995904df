//! A folder with specs and data, and an `orrery up` on it that a test can watch and poke.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

/// Longest wait for anything; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs `check` until it gives a value.
pub(crate) fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A temporary folder with specs and data.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A test that failed may have left an `up --detach` behind.
        if std::thread::panicking() {
            let _ = self.command(&["down"]).output();
        }
    }
}

impl Stage {
    pub(crate) fn new(spec: &str) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(stage.folder.path().join("specs")).unwrap();
        stage.write("kv.yaml", spec);
        stage
    }

    /// Writes a spec file as a whole, as editors do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join("specs").join(name);
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join("specs").join(name)).unwrap();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orrery"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("ORRERY_DATA", self.data()).env_remove("ORRERY_LOG_LEVEL");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `orrery up` on the specs.
    pub(crate) fn up(&self) -> Up {
        let mut command = self.command(&["up", "specs"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), Arc::clone(&said));
        collect(child.stderr.take().unwrap(), Arc::clone(&said));
        Up { child, said }
    }

    /// All there is to know, when something runs.
    pub(crate) fn state(&self) -> Option<Json> {
        let output = self.run(&["get", "-o", "json"]);
        serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
    }

    /// The object, when something runs and it is there.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Option<Json> {
        let state = self.state()?;
        let is = |object: &&Json| object["kind"] == kind && object["metadata"]["name"] == name;
        state["items"].as_array()?.iter().find(is).cloned()
    }

    /// The object once it is ready with this generation.
    pub(crate) fn ready(&self, kind: &str, name: &str, generation: i64) -> Json {
        until(&format!("{kind} {name} is ready with generation {generation}"), || {
            let object = self.object(kind, name)?;
            let conditions = object["status"]["conditions"].as_array()?;
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
            let current = ready["observedGeneration"] == generation
                && object["metadata"]["generation"] == generation;
            (ready["status"] == "True" && current).then_some(object)
        })
    }

    /// The pid of the only process.
    pub(crate) fn pid(&self) -> Pid {
        let output = self.run(&["describe", "kvcluster"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().skip_while(|line| !line.contains("PROCESS")).nth(1).unwrap();
        Pid::from_raw(line.split_whitespace().nth(1).unwrap().parse().unwrap())
    }
}

fn collect(from: impl std::io::Read + Send + 'static, said: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// A running `orrery up`.
pub(crate) struct Up {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("orrery up said:\n{}", self.said());
        }
    }
}

impl Up {
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until a line was printed.
    pub(crate) fn says(&self, text: &str) {
        until(&format!("it says {text:?}"), || self.said().contains(text).then_some(()));
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("it ends", || self.child.try_wait().unwrap())
    }

    /// Ctrl-C, and the end in order.
    pub(crate) fn interrupt(mut self) {
        self.signal(Signal::SIGINT);
        let status = self.ended();
        assert!(status.success(), "{status}: {}", self.said());
    }
}

/// As much of a Redis client as these tests need.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Sends a command and gives the first line of the reply, or the text of a bulk reply.
    pub(crate) fn ask(&mut self, words: &[&str]) -> String {
        self.try_ask(words).expect("the server answers")
    }

    pub(crate) fn try_ask(&mut self, words: &[&str]) -> std::io::Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request = format!("{request}${}\r\n{word}\r\n", word.len());
        }
        self.reader.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        if line.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        let Some(length) = line.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) else {
            return Ok(line);
        };
        let mut bulk = vec![0; length + 2];
        self.reader.read_exact(&mut bulk)?;
        Ok(String::from_utf8_lossy(&bulk[..length]).into_owned())
    }
}

/// A connection to the first endpoint of a KVCluster that is ready.
pub(crate) fn connect(cluster: &Json) -> Client {
    let address = cluster["status"]["endpoints"][0]["address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let stream = until("the port is open", || TcpStream::connect(address).ok());
    Client::over(stream)
}
