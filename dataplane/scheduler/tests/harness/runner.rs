//! A runner as a child: this test program itself, told by its environment to serve.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orrery_runner::RunnerArgs;

const SECRETS: &str = "ORRERY_TEST_SECRETS";
const ROOM: &str = "ORRERY_TEST_ROOM";
/// Longest wait for what happens at once on an idle machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// Not a test of its own: what [`Runner::start`] runs.
#[test]
#[ignore = "the child process of other tests"]
fn serve_runner() {
    let room = std::env::var(ROOM).ok().and_then(|room| room.parse().ok());
    let args = RunnerArgs {
        secrets: std::env::var_os(SECRETS).map(Into::into),
        runs_max: room.expect("the parent sets it"),
        grace: DEADLINE,
    };
    orrery_runner::run(&args).expect("it starts");
    std::process::exit(0);
}

pub(crate) struct Runner {
    child: Child,
    port: u16,
}

impl Runner {
    /// One with this many places, for whoever has the token in the folder.
    pub(crate) fn start(secrets: &Path, room: usize) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["harness::runner::serve_runner", "--exact", "--ignored", "--nocapture"])
            .env("ORRERY_LISTEN_RUNNER", format!("127.0.0.1:{port}"))
            .env(SECRETS, secrets)
            .env(ROOM, room.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < DEADLINE, "it does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, port }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Number of its process, which its commands see as their parent.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is there");
    }

    /// Asks it for something, as another scheduler with the token would; gives the status.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer \
             {token}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.expect("a status")
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
