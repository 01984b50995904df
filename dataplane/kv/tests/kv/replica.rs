//! A real `redis-server`, and how it follows this engine: the same keys, whatever is done to them.

#[path = "replica/cuts.rs"]
mod cuts;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use orrery_kit::suite::free_port;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::process::{Client, Engine, Value, ok};
use crate::replication::group::{content, content_of, eventually};

/// A `redis-server` on a Unix socket; ended when dropped.
pub(crate) struct Redis {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
    args: Vec<String>,
}

impl Redis {
    /// `None` where none is installed.
    fn follow(engine: &Engine, more: &[&str]) -> Option<Self> {
        let port = engine.port.to_string();
        let mut args = vec!["--replicaof", "127.0.0.1", &port];
        args.extend(more);
        Self::start(0, &args)
    }

    /// One that others can follow; `None` where none is installed.
    pub(crate) fn serve(more: &[&str]) -> Option<Self> {
        Self::start(free_port(), more)
    }

    /// The same over TLS alone, with the certificate and the authority in `folder`. `mutual`: it asks
    /// for a certificate as well.
    pub(crate) fn serve_tls(folder: &Path, mutual: bool) -> Option<Self> {
        let port = free_port();
        let file = |name: &str| folder.join(name).display().to_string();
        let (chain, key, authority) = (file("tls.crt"), file("tls.key"), file("ca.crt"));
        let tls_port = port.to_string();
        let asks = if mutual { "yes" } else { "no" };
        let args = ["--port", "0", "--tls-port", &tls_port, "--tls-auth-clients", asks];
        let files = ["--tls-cert-file", &chain, "--tls-key-file", &key];
        let all = [&args[..], &files, &["--tls-ca-cert-file", &authority]].concat();
        Self::start(port, &all)
    }

    fn start(port: u16, more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let args = more.iter().map(|arg| (*arg).to_owned()).collect();
        Self::start_in(folder, port, args)
    }

    fn start_in(folder: tempfile::TempDir, port: u16, args: Vec<String>) -> Option<Self> {
        let socket = folder.path().join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .args(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self { folder, child, port, args }),
            Err(error) => {
                println!("not run: no redis-server: {error}");
                None
            }
        }
    }

    /// Ends in order, with an image of what it has, and starts again on that.
    fn restart(mut self) -> Self {
        // The connection ends without a reply.
        let _ = self.client().try_run("SHUTDOWN SAVE");
        self.child.wait().expect("it ends");
        let empty = tempfile::tempdir().expect("a temporary folder");
        let folder = std::mem::replace(&mut self.folder, empty);
        let args = std::mem::take(&mut self.args);
        Self::start_in(folder, self.port, args).expect("it is installed")
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        let socket: PathBuf = self.folder.path().join("redis.sock");
        Client::connect(&socket)
    }

    /// Waits until it has everything, seen by a key that is written last.
    fn catch_up(&self, engine: &Engine, number: usize) {
        assert_eq!(engine.client().run(&format!("SET last {number}")), ok());
        let mut client = self.client();
        eventually("the replica catches up", || {
            let found = client.run("GET last");
            (found == Value::Bulk(Some(number.to_string().into_bytes()))).then_some(())
        });
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command chosen at random, over few keys so that they meet.
fn command(random: &mut StdRng) -> String {
    let mut below = |most: u32| random.random_range(0..most);
    let (key, other) = (below(6), below(6));
    let (value, small) = (below(1000), below(9));
    let far = 4_000_000_000_000_u64 + u64::from(value);
    match below(31) {
        0 => format!("SET s{key} {value}"),
        1 => format!("SET s{key} {value} PXAT {far}"),
        2 => format!("APPEND s{key} {value}"),
        3 => format!("SETRANGE s{key} {small} xyz{value}"),
        4 => format!("INCRBY n{key} {value}"),
        5 => format!("DEL s{key} l{other}"),
        6 => format!("PEXPIREAT h{key} {far}"),
        7 => format!("PERSIST s{key}"),
        8 => format!("HSET h{key} f{small} {value} g{small} 1"),
        9 => format!("HDEL h{key} f{small}"),
        10 => format!("HINCRBYFLOAT h{key} x 0.{value}"),
        11 => format!("SADD t{key} {value} {small}"),
        12 => format!("SREM t{key} {small}"),
        13 => format!("SPOP t{key} 2"),
        14 => format!("SUNIONSTORE t{key} t{other} t{key}"),
        15 => format!("RPUSH l{key} {value} {small} {value}"),
        16 => format!("LPUSH l{key} {value} {small}"),
        17 => format!("LPOP l{key} 2"),
        18 => format!("RPOP l{key}"),
        19 => format!("LSET l{key} 0 {value}"),
        20 => format!("LINSERT l{key} AFTER {small} between"),
        21 => format!("LINSERT l{key} BEFORE {small} before"),
        22 => format!("LTRIM l{key} 1 40"),
        23 => format!("LREM l{key} -1 {small}"),
        24 => format!("LMOVE l{key} l{other} LEFT RIGHT"),
        25 => format!("RENAME s{key} s{other}"),
        26 => format!("MOVE s{key} {small}"),
        27 => format!("COPY h{key} h{other} REPLACE"),
        28 => format!("SELECT {small}"),
        29 if small == 0 => format!("SWAPDB {key} {other}"),
        29 if small == 1 && value < 200 => "FLUSHDB".into(),
        29 => format!("GETDEL s{key}"),
        _ => format!("MSET s{key} {value} n{other} {small}"),
    }
}

/// Runs commands at random, some of them in transactions.
pub(crate) fn run_some(client: &mut Client, random: &mut StdRng, count: usize) {
    for _ in 0..count {
        let size = if random.random_ratio(1, 8) { 5 } else { 1 };
        let lines: Vec<String> = (0..size).map(|_| command(random)).collect();
        if size > 1 {
            client.run("MULTI");
        }
        for line in &lines {
            // An error of a command is a result as any other.
            client.run(line);
        }
        if size > 1 {
            assert!(matches!(client.run("EXEC"), Value::Array(Some(_))));
        }
    }
}

#[test]
fn a_redis_server_that_follows_has_the_same_keys() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut engine = Engine::start("snapshotAfterBytes: 50000\n");
    run_some(&mut engine.client(), &mut random, 300);
    let Some(redis) = Redis::follow(&engine, &[]) else { return };
    for round in 0..4 {
        run_some(&mut engine.client(), &mut random, 500);
        redis.catch_up(&engine, round);
        assert_eq!(content_of(&mut redis.client()), content(&engine), "round {round}");
    }
    let info = engine.client().run("INFO replication").text();
    assert!(info.contains("connected_slaves:1"), "{info}");
    eventually("it is in sync", || {
        engine.client().run("INFO replication").text().contains("state=online").then_some(())
    });
    let status = redis.client().run("INFO replication").text();
    assert!(status.contains("master_link_status:up"), "{status}");
    drop(redis);
    // One that comes when there is an image gets that.
    assert_eq!(engine.client().run("SAVE"), ok());
    run_some(&mut engine.client(), &mut random, 100);
    let redis = Redis::follow(&engine, &[]).expect("it is installed");
    redis.catch_up(&engine, 99);
    assert_eq!(content_of(&mut redis.client()), content(&engine));
    drop(redis);
    engine = Engine::start_in(engine.stop());
    assert_eq!(engine.client().run("GET last").text(), "99");
}

#[test]
fn a_redis_server_needs_the_password_of_clients() {
    let engine = Engine::start_with_password("hunter2");
    let mut client = engine.client();
    assert_eq!(client.run("AUTH hunter2"), ok());
    assert_eq!(client.run("SET a 1"), ok());
    let Some(stranger) = Redis::follow(&engine, &["--masterauth", "wrong"]) else { return };
    let redis = Redis::follow(&engine, &["--masterauth", "hunter2"]).expect("it is installed");
    eventually("the replica has the key", || {
        let found = redis.client().run("GET a");
        (found == Value::Bulk(Some(b"1".to_vec()))).then_some(())
    });
    assert_eq!(stranger.client().run("GET a"), Value::Bulk(None));
    assert!(stranger.client().run("INFO replication").text().contains("master_link_status:down"));
}
