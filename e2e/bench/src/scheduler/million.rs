//! A million recurring jobs: how quickly they are taken, what they cost, and how soon they fire again
//! after a crash.

use std::fmt::Write as _;
use std::time::Instant;

use super::engine::Engine;
use crate::Options;
use crate::row::{Bar, Row};

pub(super) const NAME: &str = "million";
const JOBS: u64 = 1_000_000;
/// Jobs of one request: as many as one may have.
const PER_REQUEST: u64 = 10_000;

/// Rows without a peer: what others have is no million.
pub(super) fn rows(options: &Options) -> Result<Vec<Row>, String> {
    super::pin(&[0, 1])?;
    let jobs = options.scaled(JOBS) / PER_REQUEST * PER_REQUEST;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut engine = Engine::start(folder.path())?;
    let empty = engine.resident_bytes()?;
    let bodies: Vec<String> = (0..jobs / PER_REQUEST).map(body).collect();
    let begun = Instant::now();
    for body in &bodies {
        let (status, answer) =
            engine.ask("POST", "/v1/jobs", "application/x-ndjson", body.as_bytes())?;
        if status != 200 || answer.contains("problem") {
            return Err(format!("{status}: {}", answer.chars().take(300).collect::<String>()));
        }
    }
    let registered = jobs as f64 / begun.elapsed().as_secs_f64();
    let resident = engine.resident_bytes()? as f64 / f64::from(1 << 20);
    println!("an engine without jobs has {} MiB", empty >> 20);
    engine.kill()?;
    let engine = Engine::start(folder.path())?;
    let again = engine.ready_after.as_secs_f64();
    let resident_again = engine.resident_bytes()? as f64 / f64::from(1 << 20);
    let row = |name: &str, unit, bar, ours| Row {
        pairs: vec![(ours, 1.0)],
        ..Row::new(format!("{NAME}: {name}"), unit, bar)
    };
    let scale = jobs as f64 / JOBS as f64;
    Ok(vec![
        row("registered in bulk, durable", "jobs/s", Bar::OursAtLeast(50_000.0), registered),
        row("resident after registering", "MiB", Bar::OursAtMost(300.0 * scale), resident),
        row("resident after a restart", "MiB", Bar::OursAtMost(300.0 * scale), resident_again),
        row("killed, until it fires", "s", Bar::OursAtMost(10.0), again),
    ])
}

/// Jobs as people have them: some hundred rules, names of twenty letters, a target in common.
fn body(request: u64) -> String {
    let mut text = String::new();
    for number in request * PER_REQUEST..(request + 1) * PER_REQUEST {
        let (minute, hour) = (number % 60, number / 60 % 24);
        let _ = writeln!(
            text,
            r#"{{"name":"tenant-{}-report-{number}","spec":{{"when":{{"cron":"{minute} {hour} * * *","timeZone":"Europe/Paris"}},"action":{{"http":{{"url":"http://127.0.0.1:9/run"}}}}}}}}"#,
            number % 1000
        );
    }
    text
}
