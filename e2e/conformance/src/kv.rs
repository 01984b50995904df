//! The Redis 7.0.15 TCL suite in external mode against `orrery serve kv`.
//!
//! Each unit runs against a fresh server, because an aborted unit leaves a dirty one behind, and
//! an unknown command is an exception that ends a unit.

pub mod differential;
mod obtain;
mod page;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use orrery_e2e_tests::process::{Process, poll};
use orrery_e2e_tests::servers::{KvOptions, RedisMode, Server, orrery_kv, redis};

/// The units that milestone M1 covers, wholly or in part.
const UNITS: &[&str] = &[
    "unit/type/string",
    "unit/type/incr",
    "unit/type/hash",
    "unit/type/list",
    "unit/type/list-2",
    "unit/type/list-3",
    "unit/type/set",
    "unit/expire",
    "unit/keyspace",
    "unit/scan",
    "unit/multi",
    "unit/protocol",
    "unit/introspection",
    "unit/introspection-2",
    "unit/info",
    "unit/limits",
    "unit/quit",
    "unit/pause",
    "unit/querybuf",
    "unit/auth",
];

/// A unit that takes longer hangs.
const UNIT_PATIENCE: Duration = Duration::from_mins(5);

/// What one unit gave.
#[derive(Debug, Default)]
pub struct Unit {
    pub name: String,
    pub passed: usize,
    pub ignored: usize,
    /// Lines of the suite that say what failed.
    pub failures: Vec<String>,
    /// Crash of the server, hang, exception that ended the unit.
    pub aborted: Option<String>,
}

/// Runs the units that `args` name; true when the server neither crashed nor hung.
pub fn suite(args: &[String]) -> Result<bool, String> {
    let mut units: Vec<String> = Vec::new();
    let mut peer = false;
    let mut write = None;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--unit" => units.push(words.next().ok_or("--unit needs a name")?.clone()),
            "--peer" => peer = true,
            "--write" => write = Some(words.next().ok_or("--write needs a file")?.clone()),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    if units.is_empty() {
        units = UNITS.iter().map(|unit| (*unit).to_owned()).collect();
    }
    let source = obtain::redis_source()?;
    let mut results = Vec::new();
    for (at, unit) in units.iter().enumerate() {
        let result = run_unit(&source, unit, peer)?;
        let (passed, failed) = (result.passed, result.failures.len());
        let end = result.aborted.as_deref().unwrap_or("");
        println!("[{}/{}] {unit}: {passed} ok, {failed} failed {end}", at + 1, units.len());
        for line in &result.failures {
            println!("    {line}");
        }
        results.push(result);
    }
    if let Some(file) = write {
        std::fs::write(&file, page::markdown(&results)).map_err(|e| format!("{file}: {e}"))?;
    }
    let passed: usize = results.iter().map(|unit| unit.passed).sum();
    let failed: usize = results.iter().map(|unit| unit.failures.len()).sum();
    let whole = results.iter().all(|unit| unit.aborted.is_none());
    println!("{passed} passed, {failed} failed");
    Ok(whole)
}

fn run_unit(source: &Path, unit: &str, peer: bool) -> Result<Unit, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut server = if peer {
        redis(folder.path(), RedisMode::Memory, None)?
    } else {
        orrery_kv(folder.path(), &KvOptions::default())?
    };
    let log = folder.path().join("suite.log");
    let mut suite = Process::start(suite_command(source, unit, &server), &log, None)?;
    let mut ended = poll(UNIT_PATIENCE, || suite.ended().map(|_| ()));
    if server.process.ended().is_none() && ended.is_none() {
        // A hang of ours shows in the suite's own log; give it the chance to say which test.
        suite.signal("TERM");
        ended = poll(Duration::from_secs(5), || suite.ended().map(|_| ())).and(None);
    }
    let text = std::fs::read(&log).map_err(|error| error.to_string())?;
    let mut result = parse(unit, &String::from_utf8_lossy(&text));
    if let Some(status) = server.process.ended() {
        let tail = server.process.log_tail();
        result.aborted = Some(format!("SERVER ENDED with {status}: {tail}"));
    } else if ended.is_none() {
        result.aborted = Some(format!("HANG: no end within {} s", UNIT_PATIENCE.as_secs()));
    }
    Ok(result)
}

fn suite_command(source: &Path, unit: &str, server: &Server) -> Command {
    let mut command = Command::new("tclsh");
    command.current_dir(source).stdin(Stdio::null());
    command.args(["tests/test_helper.tcl", "--host", "127.0.0.1"]);
    command.args(["--port", &server.address.port().to_string()]);
    command.args(["--singledb", "--ignore-encoding", "--ignore-digest", "--durable"]);
    command.args(["--tags", "-needs:debug -needs:repl -needs:save", "--single", unit]);
    // The suite's own servers, if it starts any, stay away from ours.
    command.args(["--clients", "1"]);
    command
}

/// Reads the suite's report: `[ok]: name`, `[err]: name in file`, `[ignore]`, `[exception]`.
fn parse(name: &str, text: &str) -> Unit {
    let plain = strip_colours(text);
    let mut unit = Unit { name: name.to_owned(), ..Unit::default() };
    for line in plain.lines() {
        if line.starts_with("[ok]") {
            unit.passed += 1;
        } else if line.starts_with("[ignore]") {
            unit.ignored += 1;
        } else if line.starts_with("[err]") || line.starts_with("[exception]") {
            let line = line.trim().to_owned();
            // The suite repeats its failures at the end.
            if !unit.failures.contains(&line) {
                unit.failures.push(line);
            }
        }
    }
    unit
}

fn strip_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_read_without_colours_and_repeats() {
        let text = "\u{1b}[32;1m[ok]\u{1b}[0m: SET works (1 ms)\n[ok]: GET works (0 ms)\n\
                    [ignore]: needs debug\n[err]: LPOP in tests/unit/type/list.tcl\n\
                    Expected 'a'\n[err]: LPOP in tests/unit/type/list.tcl\n";
        let unit = parse("unit/type/list", text);
        assert_eq!((unit.passed, unit.ignored, unit.failures.len()), (2, 1, 1));
    }
}
