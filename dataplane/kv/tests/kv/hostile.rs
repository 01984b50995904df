//! Clients that break the protocol or do not play fair: each gets the error of Redis or the end of
//! its connection, memory stays bounded, and others do not notice.

#[path = "hostile/crowd.rs"]
mod crowd;
#[path = "hostile/greed.rs"]
mod greed;
#[path = "hostile/requests.rs"]
mod requests;

use crate::process::{Engine, Value};

/// A figure of `/proc/<pid>/status` in KiB: `VmRSS` now, `VmHWM` at its highest.
fn memory_kib(engine: &Engine, name: &str) -> u64 {
    let path = format!("/proc/{}/status", engine.pid());
    let status = std::fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix(name)).expect("it has memory");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Another client is answered, and by the process that was started.
fn assert_others_are_served(engine: &Engine) {
    let mut other = engine.client();
    assert_eq!(other.run("PING"), Value::Status("PONG".into()));
    let info = other.run("INFO server").text();
    assert!(info.contains(&format!("process_id:{}\r\n", engine.pid())), "{info}");
}
