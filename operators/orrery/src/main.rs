//! The orrery binary: operator, data planes and command line. Wiring only.

use std::process::ExitCode;

use clap::Parser as _;

mod cli;
mod cluster;
mod commands;
mod memory;
mod output;
mod systems;
mod traces;

fn main() -> ExitCode {
    memory::set_up();
    let cli = cli::Cli::parse();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
