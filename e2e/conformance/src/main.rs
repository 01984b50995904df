//! Other people's suites and clients, run against Orrery. Suites are obtained by their ordinary
//! package client when they run; nothing of them is kept in the repository.

mod kv;
mod scheduler;

use std::process::ExitCode;

const USAGE: &str = "\
usage: conformance kv [--unit NAME]... [--peer] [--write FILE]
       conformance differential [--commands N] [--seed N]
       conformance scheduler [--only NAME]... [--comparisons N] [--seed N] [--write FILE]
       conformance rule-lines

  kv            the Redis 7.0.15 TCL suite in external mode, the units of milestone M1
    --unit NAME   only this unit, such as unit/type/string
    --peer        against redis-server instead, as a yardstick
    --write FILE  write the result as a Markdown page
  differential  random commands to Orrery and to redis-server, every reply compared
    --commands N  how many (default 1000000)
    --seed N      which stream (default 1)
  scheduler     rules of time beside other implementations of them
    --only NAME   croniter (its own tests), croner (crate), croner-js, cron-parser, systemd,
                  dateutil; all of them when none is named
    --comparisons N  answers of each peer (default 1000000; a fiftieth of systemd and dateutil)
    --seed N      which stream (default 1)
    --write FILE  write the result of croniter's tests as a Markdown page
  rule-lines    answers questions about rules, a JSON object on each line

The last line is `N passed, N failed`. Needs apt-get, tclsh, redis-cli (apt-get install
redis tcl dpkg-dev) and the orrery binary (ORRERY_BIN, or beside this program); scheduler needs
python3 with venv, node, npm and systemd-analyze instead.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((system, rest)) if system == "kv" => kv::suite(rest),
        Some((system, rest)) if system == "differential" => kv::differential::run(rest),
        Some((system, rest)) if system == "scheduler" => scheduler::run(rest),
        Some((system, _)) if system == "rule-lines" => scheduler::lines::serve(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("conformance: {what}");
            ExitCode::from(2)
        }
    }
}
