//! KVCluster beside redis-server of the package manager.

mod load;
mod memory;
mod snapshot;

use std::path::Path;

use orrery_e2e_tests::servers::{KvOptions, RedisMode, Server, orrery_kv, redis};
use orrery_kit::suite::free_port;

use crate::Options;
use crate::row::{Bar, Row};

/// Servers run on this core, clients on the next.
const SERVER_CPU: usize = 0;
const CLIENT_CPU: usize = 1;

/// One workload, measured for CPU per operation, operations per second and latency.
struct Workload {
    name: &'static str,
    /// What redis-benchmark is told beside count, port and size.
    args: &'static [&'static str],
    operations: u64,
    durable: bool,
    cpu: Bar,
    rate: Bar,
    p99: Bar,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "SET pipeline 16",
        args: &["-t", "set", "-P", "16", "-c", "50"],
        operations: 2_000_000,
        durable: false,
        cpu: Bar::AtMost(0.65),
        rate: Bar::None,
        p99: Bar::None,
    },
    Workload {
        name: "GET pipeline 16",
        args: &["-t", "get", "-P", "16", "-c", "50"],
        operations: 2_000_000,
        durable: false,
        cpu: Bar::AtMost(0.6),
        rate: Bar::None,
        p99: Bar::None,
    },
    Workload {
        name: "GET pipeline 64",
        args: &["-t", "get", "-P", "64", "-c", "50"],
        operations: 3_000_000,
        durable: false,
        cpu: Bar::AtMost(0.55),
        rate: Bar::None,
        p99: Bar::None,
    },
    Workload {
        name: "SET one at a time",
        args: &["-t", "set", "-c", "50"],
        operations: 300_000,
        durable: false,
        cpu: Bar::AtMost(0.95),
        rate: Bar::AtLeast(1.1),
        p99: Bar::None,
    },
    Workload {
        name: "GET one at a time",
        args: &["-t", "get", "-c", "50"],
        operations: 300_000,
        durable: false,
        cpu: Bar::AtMost(0.95),
        rate: Bar::AtLeast(1.1),
        p99: Bar::None,
    },
    Workload {
        name: "HSET pipeline 16",
        args: &["-t", "hset", "-P", "16", "-c", "50"],
        operations: 1_000_000,
        durable: false,
        cpu: Bar::AtMost(0.6),
        rate: Bar::None,
        p99: Bar::None,
    },
    Workload {
        name: "LPUSH pipeline 16",
        args: &["-t", "lpush", "-P", "16", "-c", "50"],
        operations: 1_000_000,
        durable: false,
        cpu: Bar::None,
        rate: Bar::None,
        p99: Bar::None,
    },
    Workload {
        name: "SET with fsync, 50 clients",
        args: &["-t", "set", "-c", "50"],
        operations: 60_000,
        durable: true,
        cpu: Bar::None,
        rate: Bar::AtLeast(2.0),
        p99: Bar::AtMost(1.2),
    },
    Workload {
        name: "SET with fsync, 200 clients, pipeline 16",
        args: &["-t", "set", "-c", "200", "-P", "16"],
        operations: 600_000,
        durable: true,
        cpu: Bar::None,
        rate: Bar::None,
        p99: Bar::None,
    },
];

/// Runs every row whose name is asked for.
pub fn run(options: &Options) -> Result<(), String> {
    println!("peer: {}", peer_version()?);
    println!("server on cpu {SERVER_CPU}, client on cpu {CLIENT_CPU}, 256 B values, 1 M keys");
    println!("row | ours | peer | ratio | bar | ok or MISS");
    for workload in WORKLOADS.iter().filter(|workload| workload.name.contains(&options.only)) {
        measure(workload, options)?;
    }
    if "bytes per key".contains(&options.only) {
        println!("{}", memory::bytes_per_key(options)?.line());
    }
    if "restart".contains(&options.only) {
        println!("{}", memory::restart(options)?.line());
    }
    if "snapshot".contains(&options.only) {
        for row in snapshot::rows(options)? {
            println!("{}", row.line());
        }
    }
    Ok(())
}

fn measure(workload: &Workload, options: &Options) -> Result<(), String> {
    let mode = if workload.durable { "durability: disk" } else { "durability: memory" };
    let name = |what: &str| format!("{}, {what} ({mode})", workload.name);
    let mut cpu = Row::new(name("CPU per op"), "us", workload.cpu);
    let mut rate = Row::new(name("ops/s"), "/s", workload.rate);
    let mut p50 = Row::new(name("p50"), "ms", Bar::None);
    let mut p99 = Row::new(name("p99"), "ms", workload.p99);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (mut ours, mut theirs) = pair(folder.path(), workload.durable)?;
    let operations = options.scaled(workload.operations);
    for server in [&mut ours, &mut theirs] {
        load::fill(server, options.scaled(1_000_000), CLIENT_CPU)?;
    }
    for _ in 0..options.rounds {
        let a = load::run(&mut ours, workload.args, operations, CLIENT_CPU)?;
        let b = load::run(&mut theirs, workload.args, operations, CLIENT_CPU)?;
        cpu.pairs.push((a.cpu_us_per_op, b.cpu_us_per_op));
        rate.pairs.push((a.per_second, b.per_second));
        p50.pairs.push((a.p50_ms, b.p50_ms));
        p99.pairs.push((a.p99_ms, b.p99_ms));
    }
    for row in [cpu, rate, p50, p99] {
        println!("{}", row.line());
    }
    Ok(())
}

/// Ours and theirs in the same durability mode, pinned.
fn pair(folder: &Path, durable: bool) -> Result<(Server, Server), String> {
    let class = if durable { "Store" } else { "Cache" };
    let options = KvOptions {
        default_class: class,
        cpu: Some(SERVER_CPU),
        port: Some(free_port()),
        ..KvOptions::default()
    };
    let mode = if durable { RedisMode::Always } else { RedisMode::Memory };
    let theirs = folder.join("redis");
    std::fs::create_dir_all(&theirs).map_err(|error| error.to_string())?;
    Ok((orrery_kv(folder, &options)?, redis(&theirs, mode, Some(SERVER_CPU))?))
}

fn peer_version() -> Result<String, String> {
    let server = orrery_e2e_tests::servers::redis_server()?;
    let output = std::process::Command::new(server).arg("--version").output();
    let output = output.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
