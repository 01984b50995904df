//! Launches: as many as go on one core into a sink, beside the design with a lock row in PostgreSQL;
//! over HTTP; and how late they are at a steady pace.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use orrery_api::scheduler::{CatchUpDefault, CatchUpPolicy};
use orrery_e2e_tests::postgres::Postgres;
use orrery_kit::env::{Env, SystemEnv};
use orrery_scheduler::assembly::{Assembly, Parts};
use orrery_scheduler::engine::{JobSpec, Resolver};

use super::engine::Engine;
use crate::Options;
use crate::postgres::{Peer, config, start};
use crate::row::{Bar, Row, median};

pub(super) const SINK: &str = "launches into a sink, beside a lock row in PostgreSQL";
pub(super) const HTTP: &str = "launches over HTTP";
pub(super) const LATE: &str = "lateness p99 at 1,000 a second";

/// Jobs that are due in every second.
const EVERY_SECOND: u64 = 40_000;
const SECONDS: u64 = 8;
/// Clients of PostgreSQL, each a scheduler of the cluster.
const CLIENTS: usize = 8;
const LOCKED: u64 = 8_000;

/// What a scheduler of the JDBC kind does for each trigger: lock the row, find what is due, move it on.
const TABLES: &str = "
CREATE TABLE locks (name text PRIMARY KEY);
INSERT INTO locks VALUES ('TRIGGER_ACCESS');
CREATE TABLE triggers (id int PRIMARY KEY, next_fire bigint NOT NULL, state text NOT NULL);
INSERT INTO triggers SELECT n, n, 'WAITING' FROM generate_series(1, 100000) n;
CREATE INDEX ON triggers (next_fire);
CREATE TABLE fired (id int, at bigint, payload bytea);
CREATE FUNCTION fire(bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE due triggers%ROWTYPE;
BEGIN
  PERFORM 1 FROM locks WHERE name = 'TRIGGER_ACCESS' FOR UPDATE;
  SELECT * INTO due FROM triggers WHERE state = 'WAITING' ORDER BY next_fire LIMIT 1;
  UPDATE triggers SET next_fire = next_fire + 100000 WHERE id = due.id;
  INSERT INTO fired VALUES (due.id, due.next_fire, $1);
END $$;
";

/// Launches a second on one core, and what peers make.
pub(super) fn sink(options: &Options) -> Result<Vec<Row>, String> {
    let mut row = Row::new(SINK, "/s", Bar::AtLeast(50.0));
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    super::pin(&[0])?;
    for round in 0..options.rounds.min(3) {
        let ours = launched(&folder.path().join(format!("ours-{round}")), options)?;
        row.pairs.push((ours, 0.0));
    }
    super::pin(&[0, 1])?;
    let server = start(&folder.path().join("postgres"), Postgres::start)?;
    let peer = Peer::connect(&config(&server), CLIENTS, TABLES, "SELECT fire($1)")?;
    for pair in &mut row.pairs {
        pair.1 = peer.run(options.scaled(LOCKED), || [vec![1_u8]])?.per_second;
    }
    let ours = median(row.pairs.iter().map(|pair| pair.0));
    let mut rows = vec![row];
    rows.extend(super::peers::rows(ours, folder.path()));
    Ok(rows)
}

/// Jobs that are due every second, for some seconds; gives launches by second of CPU.
fn launched(folder: &Path, options: &Options) -> Result<f64, String> {
    let jobs = options.scaled(EVERY_SECOND);
    let text = |error: &dyn std::error::Error| error.to_string();
    let config = orrery_api::scheduler::SchedulerConfig {
        partitions: 1,
        catch_up_default: CatchUpDefault {
            policy: CatchUpPolicy::FireAll,
            ..CatchUpDefault::default()
        },
        snapshot_after_bytes: Some(256 << 20),
        ..Default::default()
    };
    let env: Arc<dyn Env> = Arc::new(SystemEnv::default());
    let parts = Parts {
        running_max: 400_000,
        of_target_max: 400_000,
        ..Parts::alone(&config, Resolver::new("bench", &[]).into_sink(), env)
    };
    let mut assembly = Assembly::new(parts).map_err(|error| text(&error))?;
    let opened = assembly.open(folder).map_err(|error| text(&error))?;
    let Assembly { engine, crew, handles, .. } = assembly;
    let dispatcher = crew.dispatcher;
    let partition = opened.into_iter().next().ok_or("there is no partition")?;
    let handle = handles.into_iter().next().ok_or("there is no partition")?;
    let thread = std::thread::spawn(move || partition.run().map_err(|error| error.to_string()));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let begin = now() + 3;
    let specs = (0..jobs).map(|number| {
        let spec = format!(
            r#"{{"name":"job-{number}","spec":{{"when":{{"cron":"* * * * * *"}},
                "start":"{}","action":{{"http":{{"url":"http://127.0.0.1:9/"}}}}}}}}"#,
            jiff::Timestamp::from_second(begin).unwrap_or_default()
        );
        serde_json::from_str::<JobSpec>(&spec).map_err(|error| error.to_string())
    });
    let specs: Vec<JobSpec> = specs.collect::<Result<_, _>>()?;
    for specs in specs.chunks(10_000) {
        let put = runtime.block_on(engine.put(specs.to_vec(), now()));
        put.map_err(|error| error.to_string())?;
    }
    while now() < begin {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (cpu, before) = (process_cpu()?, dispatcher.sunk());
    std::thread::sleep(Duration::from_secs(SECONDS));
    let launches = dispatcher.sunk() - before;
    let used = process_cpu()?.saturating_sub(cpu);
    handle.end();
    thread.join().map_err(|_| "the partition panicked")??;
    let wall = launches as f64 / SECONDS as f64;
    let per_core = launches as f64 / used.as_secs_f64();
    println!("  {wall:.0} launches/s asked for and done, {per_core:.0} per second of CPU");
    if launches < jobs * (SECONDS - 2) {
        return Ok(wall);
    }
    Ok(per_core)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn process_cpu() -> Result<Duration, String> {
    let used = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    used.map(Duration::from).map_err(|error| error.to_string())
}

/// The real process: how late at a steady pace, and how many calls it makes.
pub(super) fn http(options: &Options) -> Result<Vec<Row>, String> {
    super::pin(&[0, 1])?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let target = target()?;
    let mut rows = vec![];
    for (name, jobs, unit, bar) in [
        (LATE, 1000, "ms", Bar::OursAtMost(50.0)),
        (HTTP, options.scaled(10_000), "/s", Bar::OursAtLeast(8000.0)),
    ] {
        let own = folder.path().join(jobs.to_string());
        std::fs::create_dir_all(&own).map_err(|error| error.to_string())?;
        let engine = Engine::start(&own)?;
        let mut body = String::new();
        for number in 0..jobs {
            let _ = writeln!(
                body,
                "{{\"name\":\"job-{number}\",\"spec\":{{\"when\":{{\"cron\":\"* * * * * *\"}},\
                 \"action\":{{\"http\":{{\"url\":\"{target}\"}}}}}}}}"
            );
        }
        let put = engine.ask("POST", "/v1/jobs", "application/x-ndjson", body.as_bytes())?;
        if put.0 != 200 {
            return Err(put.1);
        }
        std::thread::sleep(Duration::from_secs(2));
        let (before, cpu, begun) = (status(&engine)?, engine.cpu()?, Instant::now());
        std::thread::sleep(Duration::from_secs(10));
        let (after, used) = (status(&engine)?, engine.cpu()?.saturating_sub(cpu));
        let ended = after.ended - before.ended;
        let rate = ended as f64 / begun.elapsed().as_secs_f64();
        println!(
            "  {name}: {rate:.0} calls/s, {:.1} us CPU each",
            used.as_secs_f64() * 1e6 / ended as f64
        );
        let ours = if unit == "ms" { after.p99_ms } else { rate };
        rows.push(Row { pairs: vec![(ours, 1.0)], ..Row::new(name, unit, bar) });
    }
    Ok(rows)
}

struct Status {
    ended: u64,
    p99_ms: f64,
}

/// What `GET /v1/status` says.
fn status(engine: &Engine) -> Result<Status, String> {
    let (code, text) = engine.ask("GET", "/v1/status", "", b"")?;
    let status: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{code} {text}: {error}"))?;
    let ended = status["ended"]
        .as_object()
        .map(|ended| ended.values().filter_map(serde_json::Value::as_u64).sum());
    let p99_ms = status["lateness"]["p99Milliseconds"].as_f64().unwrap_or(f64::NAN);
    Ok(Status { ended: ended.ok_or(text)?, p99_ms })
}

/// A target that answers at once, on a thread of its own.
fn target() -> Result<String, String> {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut seen = [0; 16 << 10];
                let mut tail = Vec::new();
                while let Ok(count) = stream.read(&mut seen) {
                    if count == 0 {
                        break;
                    }
                    tail.extend_from_slice(&seen[..count]);
                    // Calls have no body: each ends with an empty line.
                    while let Some(end) = tail.windows(4).position(|four| four == b"\r\n\r\n") {
                        tail.drain(..end + 4);
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        if stream.write_all(answer).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(format!("http://{address}/run"))
}
