//! For tests of those who build on this: a broker of its own, a folder, ports, a process that ends with
//! that of the test. Apache Kafka comes from the package registry of Java, once, and is kept outside of
//! the clone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orrery_kit::suite::{cache_folder, free_port};
use tempfile::TempDir;

use crate::Host;

/// Another version is kept under another name.
const VERSION: &str = "4.3.1";
/// How long a broker may take to start, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(2);

/// Runs what it is told until it hears a word, and then leaves the folder; or until whoever started it
/// is gone, however that ended, and then removes the folder.
const KEEPER: &str = r#"folder=$1; shift; "$@" </dev/null & server=$!
read -r word; kill -9 $server; wait $server; [ -n "$word" ] || rm -rf "$folder""#;

/// A broker that is a controller as well.
#[derive(Debug)]
pub struct Broker {
    folder: TempDir,
    jars: PathBuf,
    port: u16,
    process: Mutex<Option<Child>>,
}

/// Where Kafka lies; `Err` says why a test is not run.
fn jars() -> Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(obtain).clone()
}

fn obtain() -> Result<PathBuf, String> {
    let said = Command::new("java").arg("-version").output();
    said.map_err(|error| format!("there is no java: {error}"))?;
    let base = cache_folder()?;
    let failed = |error: &dyn std::fmt::Display| format!("Kafka cannot be kept: {error}");
    fs::create_dir_all(&base).map_err(|error| failed(&error))?;
    let kept = base.join(format!("kafka-{VERSION}"));
    let lock = File::create(base.join(format!("kafka-{VERSION}.lock")));
    let lock = lock.map_err(|error| failed(&error))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| failed(&error))?;
    if kept.exists() {
        return Ok(kept);
    }
    let part = TempDir::new_in(&base).map_err(|error| failed(&error))?;
    let project = format!(
        "<project><modelVersion>4.0.0</modelVersion>\
        <groupId>orrery</groupId><artifactId>kafka</artifactId><version>1</version>\
        <dependencies><dependency><groupId>org.apache.kafka</groupId>\
        <artifactId>kafka_2.13</artifactId><version>{VERSION}</version>\
        </dependency></dependencies></project>"
    );
    fs::write(part.path().join("pom.xml"), project).map_err(|error| failed(&error))?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg("-DoutputDirectory=jars")
        .current_dir(part.path())
        .output()
        .map_err(|error| format!("there is no mvn: {error}"))?;
    if !output.status.success() {
        return Err(format!("mvn has no Kafka: {}", String::from_utf8_lossy(&output.stdout)));
    }
    fs::rename(part.path().join("jars"), &kept).map_err(|error| failed(&error))?;
    Ok(kept)
}

impl Broker {
    /// The broker that tests share, which is started with `settings` by whoever comes first. `None` if
    /// this machine cannot have one; then it says why.
    pub fn shared(settings: impl Fn(&Path) -> String) -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(settings)).as_ref()
    }

    /// A broker with settings beside the usual ones, which may name files in its folder. They are
    /// lines of its file of properties; a line `listeners`, `advertised` or `protocols` is added to
    /// the one of that kind, and `scram` makes a user.
    pub fn start(settings: impl Fn(&Path) -> String) -> Option<Self> {
        let broker = Self::lay_out(1, &[free_port()], &settings)?;
        broker.begin();
        Some(broker)
    }

    /// Three brokers that find out within seconds that one of them is gone.
    pub fn start_three() -> Option<[Self; 3]> {
        let controllers = [(); 3].map(|()| free_port());
        let settings = |_: &Path| {
            "broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n\
            replica.lag.time.max.ms=3000\nreplica.fetch.wait.max.ms=100\n"
                .to_owned()
        };
        let broker = |node| Self::lay_out(node, &controllers, &settings);
        let brokers = [broker(1)?, broker(2)?, broker(3)?];
        // None lets anybody in before two of them know each other.
        brokers.iter().for_each(Self::spawn);
        brokers.iter().for_each(Self::await_open);
        Some(brokers)
    }

    /// The folder of the broker `node`, which counts from 1, and what it needs there.
    fn lay_out(
        node: usize,
        controllers: &[u16],
        settings: &dyn Fn(&Path) -> String,
    ) -> Option<Self> {
        let jars = match jars() {
            Ok(jars) => jars,
            Err(why) => {
                println!("not run: {why}");
                return None;
            }
        };
        let memory = Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
        let (port, controller) = (free_port(), controllers[node - 1]);
        let voters = controllers.iter().zip(1..);
        let voters: Vec<String> =
            voters.map(|(port, node)| format!("{node}@127.0.0.1:{port}")).collect();
        let voters = voters.join(",");
        let (mut more, mut users) = (String::new(), vec![]);
        let (mut listeners, mut advertised, mut protocols) = <(String, String, String)>::default();
        for line in settings(folder.path()).lines() {
            match line.split_once('=') {
                Some(("listeners", value)) => write!(listeners, ",{value}").unwrap(),
                Some(("advertised", value)) => write!(advertised, ",{value}").unwrap(),
                Some(("protocols", value)) => write!(protocols, ",{value}").unwrap(),
                Some(("scram", value)) => users.push(value.to_owned()),
                _ => writeln!(more, "{line}").unwrap(),
            }
        }
        let data = folder.path().join("data");
        let data = data.display();
        let properties = format!(
            "process.roles=broker,controller\nnode.id={node}\n\
            controller.quorum.voters={voters}\n\
            listeners=OPEN://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
            advertised.listeners=OPEN://127.0.0.1:{port}{advertised}\n\
            listener.security.protocol.map=OPEN:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
            inter.broker.listener.name=OPEN\ncontroller.listener.names=CONTROLLER\n\
            log.dirs={data}\n\
            offsets.topic.num.partitions=1\n\
            offsets.topic.replication.factor=1\nnum.partitions=1\n\
            auto.create.topics.enable=false\nlog.flush.scheduler.interval.ms=3600000\n{more}"
        );
        fs::write(folder.path().join("server.properties"), properties).unwrap();
        let broker = Self { folder, jars, port, process: Mutex::new(None) };
        let mut format = Command::new("java");
        format.args(broker.java("kafka.tools.StorageTool"));
        format.args(["format", "-t", "b3JyZXJ5LWpvdXJuYWwtMQ", "-c"]).arg(broker.properties());
        for user in &users {
            format.args(["--add-scram", user]);
        }
        let output = format.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the folder is not formatted: {said}");
        Some(broker)
    }

    fn properties(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn java(&self, class: &str) -> Vec<String> {
        let path = format!("{}/*", self.jars.display());
        ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &path, class]
            .map(str::to_owned)
            .to_vec()
    }

    /// Starts it, and waits until it lets somebody in.
    pub fn begin(&self) {
        self.spawn();
        self.await_open();
    }

    fn spawn(&self) {
        let log = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(self.folder.path()).arg("java");
        command.args(self.java("kafka.Kafka")).arg(self.properties());
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        command.process_group(0);
        *self.process.lock().unwrap() = Some(command.spawn().unwrap());
    }

    fn await_open(&self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let said = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let mut process = self.process.lock().unwrap();
            let ended = process.as_mut().is_some_and(|it| it.try_wait().unwrap().is_some());
            assert!(!ended && started.elapsed() < PATIENCE, "it does not start: {}", said());
            drop(process);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it in the middle of what it does, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = self.process.lock().unwrap().as_ref() {
            let group = -(process.id() as i32);
            let _ = kill(Pid::from_raw(group), signal);
        }
    }

    /// Ends it as a crash would.
    pub fn crash(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            if let Some(mut keeper) = process.stdin.take() {
                let _ = keeper.write_all(b"crash\n");
            }
            process.wait().unwrap();
        }
    }

    /// Where it lets everybody in.
    pub fn host(&self) -> Host {
        Host { name: "127.0.0.1".to_owned(), port: self.port }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.crash();
    }
}
