//! The differential run as a program, for counts that a test has no time for.

use orrery_e2e_tests::differential;
use orrery_e2e_tests::servers::{KvOptions, RedisMode, orrery_kv, redis};

/// Stop after so many differences: the first ones explain the rest.
const DIFFERENCES_MAX: usize = 20;

/// True when nothing unexplained was found.
pub fn run(args: &[String]) -> Result<bool, String> {
    let mut commands = 1_000_000;
    let mut seed = 1;
    for pair in args.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("{} needs a number", pair[0]));
        };
        let number = value.parse().map_err(|_| format!("{value} is no number"))?;
        match name.as_str() {
            "--commands" => commands = number,
            "--seed" => seed = number,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let peer_folder = folder.path().join("redis");
    std::fs::create_dir_all(&peer_folder).map_err(|error| error.to_string())?;
    let ours = orrery_kv(folder.path(), &KvOptions::default())?;
    let theirs = redis(&peer_folder, RedisMode::Memory, None)?;
    let outcome = differential::run(&ours, &theirs, seed, commands, DIFFERENCES_MAX, |done| {
        eprintln!("{done} of {commands} commands compared");
    })?;
    for difference in &outcome.differences {
        println!("{difference}");
    }
    println!("seed {seed}: {} commands, {} keys", outcome.commands, outcome.keys_compared);
    let failed = outcome.differences.len();
    println!("{} passed, {failed} failed", outcome.commands - failed as u64);
    Ok(failed == 0)
}
