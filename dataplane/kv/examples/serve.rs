//! Runs the engine by hand: `cargo run --example serve -- <config.yaml> <data folder> [secrets]`.

use std::process::ExitCode;

use orrery_kv::ServeArgs;

fn main() -> ExitCode {
    orrery_kit::logs::init_from_environment(None);
    let mut args = std::env::args_os().skip(1).map(std::path::PathBuf::from);
    let (Some(config), Some(data)) = (args.next(), args.next()) else {
        eprintln!("usage: serve <config.yaml> <data folder> [secrets folder]");
        return ExitCode::from(2);
    };
    match orrery_kv::run(&ServeArgs {
        config,
        data,
        secrets: args.next(),
        tls: None,
        identity: None,
        adopt: None,
        adopt_tls: None,
        adopt_name: None,
        live: None,
    }) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
