//! Starts the engine as a child: this test program itself, told by its environment to serve. So
//! `kill -9` is real, and no other binary has to be built first.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orrery_kit::suite::free_port;
use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;
use orrery_operand::set_hash::sync_request;
use orrery_operand::v1::{DeclaredObject, ReportResponse, SettleRequest, SyncResponse};
use orrery_scheduler::ServeArgs;
use orrery_scheduler::ledger::verify::{Verdict, View, verify};
use orrery_scheduler::machine::State;
use orrery_scheduler::partition::recover;

use crate::harness::Call;

const FOLDER: &str = "ORRERY_TEST_FOLDER";
const DEADLINE: Duration = Duration::from_mins(1);

/// Not a test of its own: what [`Engine::start`] runs.
#[test]
#[ignore = "the child process of the other tests"]
fn serve() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the parent sets it"));
    let args = ServeArgs {
        config: folder.join("scheduler.yaml"),
        data: folder.join("data"),
        live: Some(folder.join("live")),
        ..ServeArgs::default()
    };
    let code = orrery_scheduler::run(&args).expect("it starts");
    std::process::exit(i32::from(code));
}

pub(crate) struct Engine {
    pub(crate) folder: tempfile::TempDir,
    /// Folder of the time zone database; none: the one that is compiled in.
    pub(crate) zones: Option<PathBuf>,
    partitions: u16,
    management: u16,
    metrics: u16,
    api: u16,
    child: Option<Child>,
    /// Where the folder of the Secret of its journal is, if that is carried elsewhere.
    secret: Option<PathBuf>,
    runtime: tokio::runtime::Runtime,
}

impl Engine {
    pub(crate) fn new(partitions: u16, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!("partitions: {partitions}\n{more}");
        std::fs::write(folder.path().join("scheduler.yaml"), config).expect("room");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            folder,
            zones: None,
            partitions,
            management: free_port(),
            metrics: free_port(),
            api: free_port(),
            child: None,
            secret: None,
            runtime: runtime.expect("a runtime"),
        }
    }

    /// One whose journals are carried in this folder, by this Secret if it is another engine.
    pub(crate) fn carried(partitions: u16, secret: &Path, more: &str) -> Self {
        let config = format!("object: {{namespace: test, name: jobs}}\n{more}");
        let mut engine = Self::new(partitions, &config);
        engine.secret = Some(secret.to_owned());
        engine
    }

    /// The Secret of an engine that is a folder.
    pub(crate) fn secret_of(folder: &Path) -> PathBuf {
        let secret = folder.join("secret");
        std::fs::create_dir_all(&secret).expect("room");
        let address = format!("file://{}/journals\n", folder.display());
        std::fs::write(secret.join("address"), address).expect("room");
        secret
    }

    /// What its spec says of launches.
    pub(crate) fn say_fenced(&self, is_fenced: bool) {
        let live = self.folder.path().join("live");
        std::fs::create_dir_all(&live).expect("room");
        std::fs::write(live.join("fenced"), is_fenced.to_string()).expect("room");
    }

    /// What it is configured to do from its next start on.
    pub(crate) fn configure(&self, more: &str) {
        let config = format!("partitions: {}\n{more}", self.partitions);
        std::fs::write(self.folder.path().join("scheduler.yaml"), config).expect("room");
    }

    /// A snapshot of everything in its archive: the moment, in microseconds.
    pub(crate) fn back_up(&self) -> Result<u64, OperandError> {
        let client = self.client();
        let taken = self.runtime.block_on(client.snapshot("archive:", |_| {}));
        taken.map(|finished| finished.position)
    }

    /// Takes its volume away.
    pub(crate) fn lose_volume(&mut self) {
        assert!(self.child.is_none(), "it runs");
        std::fs::remove_dir_all(self.folder.path().join("data")).expect("it is there");
    }

    /// Starts the process and waits until it launches jobs, or stands by.
    pub(crate) fn start(&mut self) {
        self.start_unready();
        let until = Instant::now() + DEADLINE;
        while !self.report().is_some_and(|report| report.ready) {
            assert!(Instant::now() < until, "it does not get ready: {:?}", self.report());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts the process.
    pub(crate) fn start_unready(&mut self) {
        let local = |port: u16| format!("127.0.0.1:{port}");
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "process::engine::serve", "--ignored", "--nocapture"])
            .env(FOLDER, self.folder.path())
            .env("ORRERY_LISTEN_API", local(self.api))
            .env("ORRERY_LISTEN_HTTP", local(self.metrics))
            .env("ORRERY_LISTEN_MANAGEMENT", local(self.management))
            .envs(self.secret.iter().map(|folder| ("ORRERY_JOURNAL_SECRET", folder)))
            .env("ORRERY_ARCHIVE_SECRET", self.folder.path().join("bucket-secret"))
            .env("ORRERY_RECOVERY_SECRET", self.folder.path().join("bucket-secret"))
            .envs(orrery_e2e_tests::clock::environment(self.folder.path()))
            .envs(self.zones.iter().map(|folder| ("TZDIR", folder)))
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn();
        self.child = Some(child.expect("the child starts"));
    }

    pub(crate) fn client(&self) -> OperandClient {
        let _inside = self.runtime.enter();
        let address = format!("127.0.0.1:{}", self.management);
        OperandClient::new(&address, None).expect("an address")
    }

    pub(crate) fn report(&self) -> Option<ReportResponse> {
        let client = self.client();
        self.runtime.block_on(client.report()).ok()
    }

    /// Declares these jobs, and no others.
    pub(crate) fn declare(&self, jobs: &[(String, serde_json::Value)]) -> SyncResponse {
        let object = |(name, spec): &(String, serde_json::Value)| DeclaredObject {
            namespace: "test".to_owned(),
            name: name.clone(),
            uid: name.clone(),
            generation: 1,
            spec: serde_json::json!({ "spec": spec }).to_string().into_bytes(),
        };
        let request = sync_request("Schedule", jobs.iter().map(object).collect());
        let client = self.client();
        self.runtime.block_on(client.sync(request)).expect("it answers")
    }

    /// Tells it to own everything, until it does. Gives the time that took.
    pub(crate) fn lead(&self, epoch: u64) -> Duration {
        let started = Instant::now();
        let client = self.client();
        loop {
            match self.runtime.block_on(client.promote(0, epoch)) {
                Ok(_) => return started.elapsed(),
                Err(OperandError::Unavailable(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
            assert!(started.elapsed() < DEADLINE, "it does not take over: {:?}", self.report());
        }
    }

    /// What it says to a promotion.
    pub(crate) fn promote(&self, epoch: u64) -> Result<(), OperandError> {
        self.runtime.block_on(self.client().promote(0, epoch)).map(drop)
    }

    pub(crate) fn fence(&self, epoch: u64) {
        self.runtime.block_on(self.client().fence(0, epoch)).expect("it listens");
    }

    pub(crate) fn follow(&self, epoch: u64) {
        let address = "10.0.0.1:8080".to_owned();
        self.runtime.block_on(self.client().follow(0, epoch, address, false)).expect("it listens");
    }

    /// Status and body of an answer of the API.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.call("GET", path).send().into_parts()
    }

    /// What it shows at `/metrics`, by name, without labels.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.metrics));
        let (status, text) = Call::new(address, "GET", "/metrics").send().into_parts();
        assert_eq!(status, 200, "{text}");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().expect("a whole number")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.call("POST", path).json(body).send().into_parts()
    }

    /// Many jobs at once, a line for each.
    pub(crate) fn bulk(&self, lines: &str) -> (u16, String) {
        self.call("POST", "/v1/jobs").ndjson(lines).send().into_parts()
    }

    fn call(&self, method: &str, path: &str) -> Call {
        Call::new(std::net::SocketAddr::from(([127, 0, 0, 1], self.api)), method, path)
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("it is ours");
    }

    /// Waits until it ends by itself.
    pub(crate) fn ends(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let until = Instant::now() + DEADLINE;
        while child.try_wait().expect("it is ours").is_none() {
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Says how an errand stands.
    pub(crate) fn settle(&self, request: SettleRequest) {
        let client = self.client();
        self.runtime.block_on(client.settle(request)).expect("it answers");
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it is ours");
        let status = child.wait().expect("it is ours");
        assert!(status.success(), "{status}");
    }

    /// What the folder holds, read while no process runs on it.
    pub(crate) fn partitions(&self) -> Vec<(State, orrery_scheduler::ledger::Ledger)> {
        let folder = self.folder.path().join("data/partitions");
        let open = |id: u16| {
            let recovered = recover(&folder.join(id.to_string()), id).expect("it is whole");
            (recovered.state, recovered.ledger)
        };
        (0..self.partitions).map(open).collect()
    }

    /// Compares rules and ledgers, while no process runs.
    pub(crate) fn verify(&self, from: i64, to: i64) -> Verdict {
        let mut sum = Verdict { from, to, ..Verdict::default() };
        for (state, ledger) in self.partitions() {
            let view = View::of(&state, ledger.view());
            sum.add(verify(&view, from, to).expect("it can be read"));
        }
        sum
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            _ = child.kill();
            _ = child.wait();
        }
    }
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < end, "not so in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
