//! Unmodified clients of other people: connect, pipeline, transactions, RESP3, and reconnect after
//! the server was killed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use orrery_e2e_cluster::output_within;
use orrery_e2e_tests::process::poll;
use orrery_e2e_tests::servers::{KvOptions, Server, orrery_kv};
use orrery_e2e_tests::{cache, program};
use orrery_kit::suite::free_port;
use redis::Commands;

use crate::not_run::or_not_run;

/// Versions that are tested; the package clients fetch them once into the cache.
const REDIS_PY: &str = "8.1.0";
const IOREDIS: &str = "6.0.0";

/// For a package that is fetched.
const FETCH_LIMIT: Duration = Duration::from_mins(5);
/// For the next line of a client program.
const LINE_LIMIT: Duration = Duration::from_mins(2);

/// A server whose ports stay the same over restarts.
fn server(folder: &Path, shards: usize) -> (Server, KvOptions) {
    let port = Some(free_port());
    let shard_ports = (0..shards).map(|_| free_port()).collect();
    let options = KvOptions { port, shard_ports, ..KvOptions::default() };
    (orrery_kv(folder, &options).expect("orrery serve kv starts"), options)
}

/// A client program that says KILL, waits for a line, and says DONE.
struct Script {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Script {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter was found before");
        let stdin = child.stdin.take().expect("it is piped");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (line, lines) = mpsc::channel();
        // Ends with the child.
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|l| line.send(l))
        });
        Self { child, stdin, lines }
    }

    fn expect(&mut self, wanted: &str) {
        let line = self.lines.recv_timeout(LINE_LIMIT);
        assert_eq!(line.as_deref(), Ok(wanted), "the client's errors stand above");
    }

    fn go_on(&mut self) {
        self.stdin.write_all(b"go\n").expect("it listens");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client through a kill -9 of the server; with `shards`, of a cluster of so many.
fn survives_a_kill(shards: usize, command: impl FnOnce(u16) -> Command) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut server, options) = server(folder.path(), shards);
    let mut script = Script::start(command(server.address.port()));
    script.expect("KILL");
    server.process.kill();
    script.go_on();
    let _again = orrery_kv(folder.path(), &options).expect("it starts again after a kill");
    script.expect("DONE");
}

/// A program of redis-py.
fn python_survives_a_kill(shards: usize, script: &str) {
    let python = or_not_run!(python_with_redis());
    survives_a_kill(shards, |port| {
        let mut command = Command::new(python);
        command.arg(source(script)).arg(port.to_string());
        command
    });
}

/// A program of ioredis.
fn node_survives_a_kill(shards: usize, script: &str) {
    let modules = or_not_run!(node_with_ioredis());
    survives_a_kill(shards, |port| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules).arg(source(script)).arg(port.to_string());
        command
    });
}

#[test]
fn redis_py_works_and_reconnects_after_a_kill() {
    python_survives_a_kill(0, "redis_py.py");
}

#[test]
fn redis_py_works_with_a_cluster_and_reconnects_after_a_kill() {
    python_survives_a_kill(3, "redis_py_cluster.py");
}

#[test]
fn ioredis_works_and_reconnects_after_a_kill() {
    node_survives_a_kill(0, "ioredis.cjs");
}

#[test]
fn ioredis_works_with_a_cluster_and_reconnects_after_a_kill() {
    node_survives_a_kill(3, "ioredis_cluster.cjs");
}

#[test]
fn the_redis_crate_works_and_reconnects_after_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut server, options) = server(folder.path(), 0);
    for protocol in ["", "?protocol=resp3"] {
        let address = format!("redis://127.0.0.1:{}/{protocol}", server.address.port());
        let client = redis::Client::open(address).expect("the address is good");
        let mut connection = client.get_connection().expect("it connects");
        redis_crate_session(&mut connection).expect("every command works");
    }
    server.process.kill();
    let again = orrery_kv(folder.path(), &options).expect("it starts again after a kill");
    let client = redis::Client::open(format!("redis://{}/", again.address)).expect("good");
    let mut connection = client.get_connection().expect("it connects");
    let kept: String = connection.get("rs:durable").expect("it answers");
    assert_eq!(kept, "kept");
}

fn redis_crate_session(connection: &mut redis::Connection) -> redis::RedisResult<()> {
    redis::cmd("FLUSHALL").exec(connection)?;
    let () = connection.set("rs:a", 1)?;
    let sum: i64 = connection.incr("rs:a", 41)?;
    assert_eq!(sum, 42);
    let () = connection.hset_multiple("rs:h", &[("x", 1), ("y", 2)])?;
    let fields: std::collections::BTreeMap<String, i64> = connection.hgetall("rs:h")?;
    assert_eq!(fields.into_iter().collect::<Vec<_>>(), [("x".into(), 1), ("y".into(), 2)]);
    let mut pipe = redis::pipe();
    for n in 0..1000 {
        pipe.set(format!("rs:p:{n}"), n).ignore();
    }
    pipe.get("rs:p:999");
    let (last,): (i64,) = pipe.query(connection)?;
    assert_eq!(last, 999);
    let (one, two): (i64, i64) =
        redis::pipe().atomic().incr("rs:t", 1).incr("rs:t", 1).query(connection)?;
    assert_eq!((one, two), (1, 2));
    let wrong: redis::RedisResult<i64> = connection.lpush("rs:a", "x");
    assert_eq!(wrong.expect_err("it is a string").code(), Some("WRONGTYPE"));
    connection.set("rs:durable", "kept")
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/clients").join(name)
}

fn python_with_redis() -> Result<PathBuf, String> {
    let python = program(&["python3"]).ok_or("python3 is not installed")?;
    let folder = cache::folder(&format!("redis-py-{REDIS_PY}"))?;
    let inside = folder.join("bin/python3");
    once(&folder, || {
        run(Command::new(&python).args(["-m", "venv"]).arg(&folder))?;
        let package = format!("redis=={REDIS_PY}");
        run(Command::new(&inside).args(["-m", "pip", "install", "--quiet", &package]))
    })?;
    Ok(inside)
}

fn node_with_ioredis() -> Result<PathBuf, String> {
    program(&["node"]).ok_or("node is not installed")?;
    let npm = program(&["npm"]).ok_or("npm is not installed")?;
    let folder = cache::folder(&format!("ioredis-{IOREDIS}"))?;
    once(&folder, || {
        let package = format!("ioredis@{IOREDIS}");
        run(Command::new(&npm).args(["install", "--silent", "--prefix"]).arg(&folder).arg(package))
    })?;
    Ok(folder.join("node_modules"))
}

/// Runs `make` unless it was done before; others wait.
fn once(folder: &Path, make: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let file = std::fs::File::create(folder.join("lock")).map_err(|error| error.to_string())?;
    poll(Duration::from_mins(3), || file.try_lock().ok())
        .ok_or_else(|| format!("{} is locked by another run", folder.display()))?;
    let done = folder.join("done");
    if !done.exists() {
        make()?;
        std::fs::write(&done, "").map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = output_within(command, FETCH_LIMIT).map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?} failed: {text}"))
}
