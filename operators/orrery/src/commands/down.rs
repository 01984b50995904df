//! `orrery down`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use orrery_local::control::{self, ControlError, Request};
use orrery_local::lock::Lock;

use crate::{cli, output};

/// Longer than the grace period of any process of ours.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) fn run(arguments: &cli::Down) -> anyhow::Result<ExitCode> {
    let folder = super::open(&arguments.data.data)?;
    match control::ask(&folder, Request::Down) {
        Ok(_) => {}
        Err(ControlError::NotRunning { .. }) if Lock::holder(&folder)?.is_none() => {
            output::print("nothing runs here\n");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + PATIENCE;
    while let Some(pid) = Lock::holder(&folder)? {
        if Instant::now() >= deadline {
            bail!("process {pid} has not ended within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    output::print("stopped; all data is kept\n");
    Ok(ExitCode::SUCCESS)
}
