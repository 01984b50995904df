//! The runner as a scheduler meets it: a process of its own that is asked over HTTP and gets signals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orrery_api::scheduler::runner::{RunState, RunWord};
use orrery_kit::suite::free_port;
use orrery_runner::RunnerArgs;
use serde_json::{Value, json};

const FOLDER: &str = "ORRERY_TEST_FOLDER";
const ROOM: &str = "ORRERY_TEST_ROOM";
const GRACE: &str = "ORRERY_TEST_GRACE";
/// For things that happen at once on an idle machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// Not a test of its own: what [`Runner::start`] runs.
#[test]
#[ignore = "the child process of the other tests"]
fn serve() {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let args = RunnerArgs {
        secrets: std::env::var_os(FOLDER).map(PathBuf::from),
        runs_max: variable(ROOM).unwrap_or(1) as usize,
        grace: Duration::from_secs(variable(GRACE).unwrap_or(60)),
    };
    if let Err(error) = orrery_runner::run(&args) {
        eprintln!("{error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

struct Runner {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Runner {
    fn start(room: u64, grace_seconds: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "right\n").unwrap();
        let port = free_port();
        let child = process(&format!("0.0.0.0:{port}"), Some(folder.path()))
            .env(ROOM, room.to_string())
            .env(GRACE, grace_seconds.to_string())
            .spawn()
            .unwrap();
        let runner = Self { folder, port, child };
        wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert_eq!(runner.ask("GET", "/readyz", "", "").0, 200);
        runner
    }

    /// One request; status and body.
    fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let length = body.len();
        // It may be answered before the whole of it is read.
        _ = stream.write_all(
            format!(
                "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer \
                 {token}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        );
        let mut answer = String::new();
        _ = stream.read_to_string(&mut answer);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (status.expect("an answer"), body.unwrap_or_default())
    }

    fn post(&self, key: &str, command: &[&str], timeout: Duration) -> (u16, String) {
        let milliseconds = timeout.as_millis() as u64;
        let request = json!({"key": key, "command": command, "timeoutMilliseconds": milliseconds});
        self.ask("POST", "/runs", "right", &request.to_string())
    }

    fn state(&self, key: &str, wait_seconds: u64) -> RunState {
        let (status, body) =
            self.ask("GET", &format!("/runs/{key}?waitSeconds={wait_seconds}"), "right", "");
        assert!(status == 200 || status == 202, "{status} {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Runs a script to its end.
    fn script(&self, key: &str, script: &str) -> RunState {
        let (status, body) = self.post(key, &["sh", "-c", script], DEADLINE);
        assert!(status == 200 || status == 202, "{status} {body}");
        self.state(key, 60)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn process(listen: &str, secrets: Option<&Path>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["serve", "--exact", "--ignored", "--nocapture"]);
    command.env("ORRERY_LISTEN_RUNNER", listen).stdout(Stdio::null());
    if let Some(secrets) = secrets {
        command.env(FOLDER, secrets);
    }
    command
}

fn wait_until(mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < DEADLINE, "it does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process number that a command wrote into a file.
fn pid(path: &str) -> Pid {
    let mut found = None;
    wait_until(|| {
        found = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        found.is_some()
    });
    Pid::from_raw(found.unwrap())
}

fn is_alive(process: Pid) -> bool {
    kill(process, None) != Err(Errno::ESRCH)
}

fn over(state: RunWord, exit_code: Option<i32>, message: &str) -> RunState {
    RunState { state, exit_code, message: message.to_owned() }
}

#[test]
fn a_command_ends_with_its_code_and_the_end_of_what_it_wrote() {
    let runner = Runner::start(4, 60);
    let said = runner.script("a", "echo out; echo err >&2");
    assert_eq!((said.state, said.exit_code), (RunWord::Succeeded, Some(0)));
    assert!(said.message.contains("out") && said.message.contains("err"), "{said:?}");
    let said = runner.script("b", "echo no disk >&2; exit 7");
    assert_eq!(said, over(RunWord::Failed, Some(7), "no disk"));
    let said = runner.script("c", "kill -9 $$");
    assert_eq!(said, over(RunWord::Failed, None, "ended by SIGKILL"));
    let long = runner.script("d", "yes 0123456789 | head -c 1000000; echo end");
    assert_eq!(long.state, RunWord::Succeeded);
    assert!(long.message.len() <= 4096 && long.message.ends_with("end"), "{}", long.message.len());
    let (status, body) = runner.post("e", &["/no/such/program"], DEADLINE);
    let said: RunState = serde_json::from_str(&body).unwrap();
    assert_eq!((status, said.state), (200, RunWord::Refused), "{body}");
    assert!(said.message.contains("/no/such/program"));
}

#[test]
fn a_command_gets_its_arguments_and_environment_and_nothing_of_the_runner() {
    let runner = Runner::start(1, 60);
    let request = json!({
        "key": "a", "command": ["sh", "-c", "echo \"$0|$1|$WORD|$ORRERY_TEST_FOLDER|$ORRERY_LISTEN_RUNNER\""],
        "args": ["first", "a b"], "env": [{"name": "WORD", "value": "x y"}],
        "timeoutMilliseconds": 60_000,
    });
    assert_eq!(runner.ask("POST", "/runs", "right", &request.to_string()).0, 202);
    assert_eq!(runner.state("a", 60).message, "first|a b|x y||");
}

#[test]
fn the_same_key_runs_once_however_often_it_is_asked_for() {
    let runner = Runner::start(1, 60);
    let count = runner.path("count");
    let script = format!("echo x >> {count}; read line < {}", runner.path("gate"));
    nix::unistd::mkfifo(runner.path("gate").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for _ in 0..3 {
        assert_eq!(runner.post("a", &["sh", "-c", &script], DEADLINE).0, 202);
    }
    assert_eq!(runner.state("a", 0).state, RunWord::Running);
    std::fs::write(runner.path("gate"), "go\n").unwrap();
    assert_eq!(runner.state("a", 60).state, RunWord::Succeeded);
    let (status, body) = runner.post("a", &["sh", "-c", &script], DEADLINE);
    assert_eq!(status, 200, "{body}");
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
}

#[test]
fn a_time_that_is_over_ends_the_whole_group_even_one_that_does_not_listen() {
    let runner = Runner::start(1, 60);
    let script = format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {0}; while :; do sleep 60; done' & \
         while :; do sleep 60; done",
        runner.path("pid")
    );
    assert_eq!(runner.post("a", &["sh", "-c", &script], Duration::from_millis(500)).0, 202);
    let inner = pid(&runner.path("pid"));
    assert!(is_alive(inner));
    assert_eq!(runner.state("a", 60).state, RunWord::TimedOut);
    wait_until(|| !is_alive(inner));
}

#[test]
fn what_a_command_left_behind_ends_with_it() {
    let runner = Runner::start(1, 60);
    // One stays in the group, the other leaves it; both hold the output open.
    let (near, far) = (runner.path("near"), runner.path("far"));
    let script = format!(
        "sleep 600 & echo $! > {near}; setsid sh -c 'echo $$ > {far}; exec sleep 600' & \
         while ! test -s {far}; do sleep 0.01; done; echo done"
    );
    let said = runner.script("a", &script);
    assert_eq!(said, over(RunWord::Succeeded, Some(0), "done"));
    let (near, far) = (pid(&near), pid(&far));
    wait_until(|| !is_alive(near) && !is_alive(far));
}

#[test]
fn a_run_is_cancelled_and_one_that_comes_after_its_cancel_does_not_begin() {
    let runner = Runner::start(1, 60);
    assert_eq!(runner.post("a", &["sleep", "600"], DEADLINE).0, 202);
    assert_eq!(runner.ask("DELETE", "/runs/a", "right", "").0, 202);
    assert_eq!(runner.state("a", 60), over(RunWord::Cancelled, None, ""));
    assert_eq!(runner.ask("DELETE", "/runs/b", "right", "").0, 200);
    let mark = runner.path("mark");
    let (status, body) = runner.post("b", &["touch", &mark], DEADLINE);
    assert_eq!(status, 200, "{body}");
    assert_eq!(runner.state("b", 0).state, RunWord::Cancelled);
    assert!(!Path::new(&mark).exists());
}

#[test]
fn a_pod_has_room_for_as_many_as_it_says() {
    let runner = Runner::start(2, 60);
    for key in ["a", "b"] {
        assert_eq!(runner.post(key, &["sleep", "600"], DEADLINE).0, 202);
    }
    assert_eq!(runner.post("c", &["true"], DEADLINE).0, 429);
    assert_eq!(runner.ask("GET", "/runs/c", "right", "").0, 404, "it did not begin");
    runner.ask("DELETE", "/runs/a", "right", "");
    assert_eq!(runner.state("a", 60).state, RunWord::Cancelled);
    assert_eq!(runner.script("c", "true").state, RunWord::Succeeded);
}

#[test]
fn only_who_has_the_token_may_ask_and_nonsense_is_refused() {
    let runner = Runner::start(1, 60);
    let mark = runner.path("mark");
    let request = json!({"key": "a", "command": ["touch", mark], "timeoutMilliseconds": 1});
    for token in ["", "wrong", "righ", "rightt"] {
        assert_eq!(runner.ask("POST", "/runs", token, &request.to_string()).0, 401, "{token}");
    }
    for (method, path) in [("GET", "/runs/a"), ("DELETE", "/runs/a")] {
        assert_eq!(runner.ask(method, path, "wrong", "").0, 401);
    }
    assert!(!Path::new(&mark).exists());
    let refused = |body: &Value| {
        let (status, body) = runner.ask("POST", "/runs", "right", &body.to_string());
        assert!((400..=422).contains(&status), "{status} {body}");
    };
    refused(&json!({"key": "../a", "command": ["true"], "timeoutMilliseconds": 1}));
    refused(&json!({"key": "a", "command": "true", "timeoutMilliseconds": 1}));
    refused(&json!({"key": "a", "command": ["true"], "timeoutMilliseconds": -1}));
    refused(&json!({"key": "a", "command": ["true"], "timeoutMilliseconds": 1, "user": "root"}));
    refused(&json!(["a"]));
    let (status, _) = runner.ask("POST", "/runs", "right", &"x".repeat(7 << 20));
    assert_eq!(status, 413);
    assert_eq!(runner.ask("GET", "/runs/a?waitSeconds=soon", "right", "").0, 400);
    assert_eq!(runner.script("after", "true").state, RunWord::Succeeded, "it still serves");
}

#[test]
fn a_runner_that_others_could_reach_does_not_start_without_a_token() {
    let listen = format!("0.0.0.0:{}", free_port());
    let ended = process(&listen, None).stderr(Stdio::piped()).output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("without a token"), "{said}");
}

#[test]
fn a_pod_that_stops_waits_for_its_runs_and_until_their_end_is_known() {
    let mut runner = Runner::start(2, 600);
    let gate = runner.path("gate");
    nix::unistd::mkfifo(gate.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("read line < {gate}; exit 3");
    assert_eq!(runner.post("a", &["sh", "-c", &script], DEADLINE).0, 202);
    runner.signal(Signal::SIGTERM);
    wait_until(|| runner.ask("GET", "/readyz", "", "").0 == 503);
    assert_eq!(runner.post("b", &["true"], DEADLINE).0, 503);
    assert_eq!(runner.post("a", &["true"], DEADLINE).0, 202, "it is known");
    assert!(!runner.ended());
    std::fs::write(&gate, "go\n").unwrap();
    assert_eq!(runner.state("a", 60), over(RunWord::Failed, Some(3), ""));
    wait_until(|| runner.ended());
    assert!(runner.child.wait().unwrap().success());
}

#[test]
fn a_pod_that_may_wait_no_longer_ends_its_runs() {
    let mut runner = Runner::start(1, 0);
    let script = format!("echo $$ > {}; exec sleep 600", runner.path("pid"));
    assert_eq!(runner.post("a", &["sh", "-c", &script], DEADLINE).0, 202);
    let command = pid(&runner.path("pid"));
    runner.signal(Signal::SIGTERM);
    assert_eq!(runner.state("a", 60).state, RunWord::Stopped);
    assert!(!is_alive(command));
    wait_until(|| runner.ended());
}
