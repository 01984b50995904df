//! Memory per key, and the time from start to serving with many keys.

use std::time::Instant;

use orrery_e2e_tests::client::Client;
use orrery_e2e_tests::servers::Server;

use super::pair;
use crate::Options;
use crate::row::{Bar, Row};

const KEYS: u64 = 1_000_000;
const BATCH: u64 = 500;

/// Resident bytes per key of 11 B with a value of 64 B.
pub fn bytes_per_key(options: &Options) -> Result<Row, String> {
    let mut row = Row::new("bytes per key, 11 B key + 64 B value", "B", Bar::AtMost(0.8));
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (ours, theirs) = pair(folder.path(), false)?;
    let keys = options.scaled(KEYS);
    let measured = |server: &Server| -> Result<f64, String> {
        let before = server.process.resident_bytes();
        fill(server, keys)?;
        Ok((server.process.resident_bytes() - before) as f64 / keys as f64)
    };
    row.pairs.push((measured(&ours)?, measured(&theirs)?));
    Ok(row)
}

/// Seconds from a stop of durable servers until they answer again with all keys.
pub fn restart(options: &Options) -> Result<Row, String> {
    let keys = options.scaled(KEYS);
    let name = format!("restart with {keys} durable keys (ours: snapshot + tail, redis: AOF)");
    let mut row = Row::new(name, "s", Bar::AtMost(0.7));
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (ours, theirs) = pair(folder.path(), true)?;
    for server in [&ours, &theirs] {
        fill(server, keys)?;
    }
    drop((ours, theirs));
    let start = Instant::now();
    let folder_path = folder.path();
    let options = super::KvOptions { cpu: Some(super::SERVER_CPU), ..super::KvOptions::default() };
    let ours = super::orrery_kv(folder_path, &options)?;
    await_keys(&ours, keys)?;
    let our_time = start.elapsed();
    drop(ours);
    let start = Instant::now();
    let peer_folder = folder_path.join("redis");
    let theirs = super::redis(&peer_folder, super::RedisMode::Always, Some(super::SERVER_CPU))?;
    await_keys(&theirs, keys)?;
    row.pairs.push((our_time.as_secs_f64(), start.elapsed().as_secs_f64()));
    Ok(row)
}

fn fill(server: &Server, keys: u64) -> Result<(), String> {
    fill_with(server, keys, 64, |key| format!("key{key:08}"))
}

/// Sets `keys` keys to values of `value_bytes`.
pub fn fill_with(
    server: &Server,
    keys: u64,
    value_bytes: usize,
    name: impl Fn(u64) -> String,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", server.name);
    let mut client: Client = server.client()?;
    let value = vec![b'v'; value_bytes];
    for batch in (0..keys).step_by(BATCH as usize) {
        let end = (batch + BATCH).min(keys);
        for key in batch..end {
            client.queue(&[b"SET".as_slice(), name(key).as_bytes(), &value]);
        }
        client.flush().map_err(failed)?;
        for _ in batch..end {
            client.read().map_err(failed)?;
        }
    }
    Ok(())
}

/// Waits until the server has loaded everything, and checks that it is all there.
fn await_keys(server: &Server, keys: u64) -> Result<(), String> {
    let mut client = server.client()?;
    loop {
        let reply = client.call(&["DBSIZE"]).map_err(|error| error.to_string())?;
        match reply {
            orrery_e2e_tests::client::Reply::Integer(n) if n as u64 == keys => return Ok(()),
            orrery_e2e_tests::client::Reply::Error(text) if text.starts_with("LOADING") => {}
            other => {
                return Err(format!("{}: expected {keys} keys, got {other:?}", server.name));
            }
        }
    }
}
