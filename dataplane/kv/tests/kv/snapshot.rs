//! Snapshots: that they are whole, that they are RDB files, and that a restore brings them back.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use orrery_operand::client::OperandClient;

use crate::process::{Client, Engine, Value, bulk, encode, ok};

fn fill(client: &mut Client) {
    for number in 0..2000 {
        assert_eq!(client.run(&format!("SET string:{number} value-{number}")), ok());
    }
    for command in [
        "SET int 12345",
        "SET negative -7",
        "SET later 1 PX 100000000",
        "RPUSH list a b 3 c",
        "SADD ints 1 2 3",
        "SADD words one two",
        "HSET hash f1 v1 f2 2",
    ] {
        client.run(command);
    }
    let big = "x".repeat(30_000);
    client.run(&format!("SET big {big}"));
    client.run("SELECT 5");
    client.run("SET other 1");
    client.run("SELECT 0");
}

fn check(client: &mut Client) {
    assert_eq!(client.run("GET string:1999"), bulk("value-1999"));
    assert_eq!(client.run("GET int"), bulk("12345"));
    assert_eq!(client.run("STRLEN big"), Value::Integer(30_000));
    assert_eq!(client.run("LINDEX list 2"), bulk("3"));
    assert_eq!(client.run("SCARD ints"), Value::Integer(3));
    assert_eq!(client.run("SISMEMBER words two"), Value::Integer(1));
    assert_eq!(client.run("HGET hash f2"), bulk("2"));
    assert_eq!(client.run("DBSIZE"), Value::Integer(2008));
    let Value::Integer(ttl) = client.run("PTTL later") else { panic!("a number") };
    assert!(ttl > 90_000_000 && ttl <= 100_000_000, "{ttl}");
    client.run("SELECT 5");
    assert_eq!(client.run("GET other"), bulk("1"));
    client.run("SELECT 0");
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < Duration::from_mins(1), "{what} in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn snapshot_to(engine: &Engine, folder: &Path) {
    let address = format!("127.0.0.1:{}", engine.management);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = async {
        let operator = OperandClient::new(&address, None).expect("an address");
        operator.snapshot(&format!("file://{}", folder.display()), |_| {}).await
    };
    runtime.expect("a runtime").block_on(work).expect("it is written");
}

#[test]
fn a_restart_begins_at_the_newest_snapshot() {
    let engine = Engine::start("");
    let mut client = engine.client();
    fill(&mut client);
    assert_eq!(client.run("BGSAVE"), Value::Status("Background saving started".into()));
    for number in 0..100 {
        assert_eq!(client.run(&format!("SET string:{number} value-{number}")), ok());
    }
    wait_for("the snapshot ends", || client.run("INFO persistence").text().contains("rdb_saves:1"));
    client.run("APPEND after 1");
    client.run("DEL after");
    let engine = Engine::start_in(engine.kill());
    let mut client = engine.client();
    check(&mut client);
    let info = client.run("INFO durability").text();
    assert!(!info.contains("journal_snapshot_position:0\r\n"), "{info}");
}

#[test]
fn redis_accepts_our_snapshots() {
    if Command::new("redis-check-rdb").arg("--version").output().is_err() {
        eprintln!("not run: redis-tools is not installed");
        return;
    }
    let engine = Engine::start("");
    fill(&mut engine.client());
    let folder = tempfile::tempdir().expect("a temporary folder");
    snapshot_to(&engine, folder.path());
    let file = folder.path().join("dump.rdb");
    let checked = Command::new("redis-check-rdb").arg(&file).output().expect("it runs");
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && text.contains("RDB looks OK"), "{text}");
}

#[test]
fn a_real_redis_loads_our_snapshots() {
    if Command::new("redis-server").arg("--version").output().is_err() {
        eprintln!("not run: redis-server is not installed");
        return;
    }
    let engine = Engine::start("");
    fill(&mut engine.client());
    let folder = tempfile::tempdir().expect("a temporary folder");
    snapshot_to(&engine, folder.path());
    let socket = folder.path().join("redis.sock");
    let mut redis = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no"])
        .arg("--unixsocket")
        .arg(&socket)
        .arg("--dir")
        .arg(folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let mut client = Client::connect(&socket);
    wait_for("redis has loaded", || client.run("PING") == Value::Status("PONG".into()));
    check(&mut client);
    redis.kill().expect("it runs");
    redis.wait().expect("it ends");
}

#[test]
fn a_restore_brings_back_what_was_there() {
    let engine = Engine::start("");
    let mut client = engine.client();
    fill(&mut client);
    let folder = tempfile::tempdir().expect("a temporary folder");
    snapshot_to(&engine, folder.path());
    client.run("FLUSHALL");
    client.run("SET something else");
    let address = format!("127.0.0.1:{}", engine.management);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let from = format!("file://{}", folder.path().display());
    let work = async {
        let operator = OperandClient::new(&address, None).expect("an address");
        operator.restore(&from, |_| {}).await
    };
    runtime.expect("a runtime").block_on(work).expect("it is loaded");
    check(&mut client);
    let engine = Engine::start_in(engine.kill());
    check(&mut engine.client());
}

#[test]
fn save_answers_when_the_snapshot_is_durable_and_others_go_on() {
    let engine = Engine::start("");
    let (mut client, mut other) = (engine.client(), engine.client());
    fill(&mut client);
    // What follows in the pipeline waits for its turn.
    client.send(&[encode("SAVE"), encode("INFO persistence")].concat()).expect("sent");
    assert_eq!(other.run("PING"), Value::Status("PONG".into()));
    assert_eq!(client.read().expect("a reply"), ok());
    let info = client.read().expect("a reply").text();
    assert!(info.contains("rdb_bgsave_in_progress:0\r\n"), "{info}");
    assert!(info.contains("rdb_saves:1\r\n"), "{info}");
    client.run("MULTI");
    let refused = "ERR Command not allowed inside a transaction";
    assert_eq!(client.run("SAVE"), Value::Error(refused.into()));
    let engine = Engine::start_in(engine.kill());
    let mut client = engine.client();
    check(&mut client);
    let info = client.run("INFO durability").text();
    assert!(!info.contains("journal_snapshot_position:0\r\n"), "{info}");
}

#[test]
fn save_tells_why_there_is_no_snapshot() {
    let engine = Engine::start("");
    let mut client = engine.client();
    client.run("SET a 1");
    // A folder stands where the snapshot would get its name.
    let taken = engine.folder.path().join("data/shard-0/snapshot-00000000000000000001");
    std::fs::create_dir(&taken).expect("writable");
    let told = client.run("SAVE").text();
    assert!(told.starts_with("ERR failed to write a snapshot: "), "{told}");
    assert!(client.run("INFO persistence").text().contains("rdb_last_bgsave_status:err"));
    std::fs::remove_dir(&taken).expect("it is empty");
    assert_eq!(client.run("SAVE"), ok());
}
