//! Load from redis-benchmark on its own core, and the server's CPU time over the same span.

use std::process::Command;

use orrery_e2e_tests::process::pinned;
use orrery_e2e_tests::program;
use orrery_e2e_tests::servers::Server;

/// Keys are drawn from this many.
const KEYS: u64 = 1_000_000;
const VALUE_BYTES: &str = "256";

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub per_second: f64,
    pub cpu_us_per_op: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Fills the server with `keys` random keys.
pub fn fill(server: &mut Server, keys: u64, cpu: usize) -> Result<(), String> {
    run(server, &["-t", "set", "-P", "64", "-c", "20"], keys, cpu).map(|_| ())
}

/// Runs `operations` of the test that `args` name.
pub fn run(
    server: &mut Server,
    args: &[&str],
    operations: u64,
    cpu: usize,
) -> Result<Load, String> {
    let tool = program(&["redis-benchmark"])
        .ok_or("redis-benchmark is not installed: apt-get install redis-tools")?;
    let mut command = Command::new(tool);
    command.args(["-p", &server.address.port().to_string(), "--csv", "-d", VALUE_BYTES]);
    command.args(["-n", &operations.to_string(), "-r", &KEYS.to_string()]).args(args);
    let before = server.process.cpu();
    let output = pinned(&command, cpu).output().map_err(|error| error.to_string())?;
    let used = server.process.cpu().saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().rfind(|line| line.starts_with('"') && !line.starts_with("\"test\""));
    let line = line.ok_or_else(|| {
        format!("{}: no result: {text}{}", server.name, String::from_utf8_lossy(&output.stderr))
    })?;
    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95","p99","max"
    let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
    let number = |at: usize| -> Result<f64, String> {
        let field = fields.get(at).copied().unwrap_or_default();
        field.parse().map_err(|_| format!("{line}: field {at} is no number"))
    };
    Ok(Load {
        per_second: number(1)?,
        cpu_us_per_op: used.as_secs_f64() * 1e6 / operations as f64,
        p50_ms: number(4)?,
        p99_ms: number(6)?,
    })
}
