//! `orrery serve`: a data plane, tethered to whoever started it.

use std::process::ExitCode;

#[cfg(any(feature = "kv", feature = "scheduler"))]
use anyhow::Context as _;
use orrery_local::process::tether;

use crate::cli::Serve;

#[cfg_attr(
    not(any(feature = "kv", feature = "scheduler")),
    expect(clippy::needless_pass_by_value, reason = "each system takes its arguments")
)]
pub(crate) fn run(system: Serve) -> anyhow::Result<ExitCode> {
    tether::tether()?;
    orrery_kit::logs::init_from_environment(None);
    match system {
        #[cfg(feature = "kv")]
        Serve::Kv(arguments) => {
            let arguments = orrery_kv::ServeArgs {
                config: arguments.config,
                data: arguments.data,
                secrets: arguments.secrets,
                tls: arguments.tls,
                identity: arguments.identity.zip(arguments.identity_name),
                adopt: arguments.adopt,
                adopt_tls: arguments.adopt_tls,
                adopt_name: arguments.adopt_name,
                live: arguments.live,
            };
            let code = orrery_kv::run(&arguments).context("the key-value process failed")?;
            Ok(ExitCode::from(code))
        }
        #[cfg(feature = "scheduler")]
        Serve::Scheduler(arguments) => {
            let arguments = orrery_scheduler::ServeArgs {
                config: arguments.config,
                data: arguments.data,
                secrets: arguments.secrets,
                tls: arguments.tls,
                identity: arguments.identity.zip(arguments.identity_name),
                targets: arguments.targets,
                live: arguments.live,
            };
            let code = orrery_scheduler::run(&arguments).context("the scheduler process failed")?;
            Ok(ExitCode::from(code))
        }
        #[cfg(feature = "scheduler")]
        Serve::Runner(arguments) => {
            if let Some(folder) = arguments.install {
                orrery_runner::install(&folder)?;
                return Ok(ExitCode::SUCCESS);
            }
            let arguments = orrery_runner::RunnerArgs {
                secrets: arguments.secrets,
                runs_max: usize::from(arguments.runs),
                grace: std::time::Duration::from_secs(arguments.grace_seconds),
            };
            orrery_runner::run(&arguments).context("the runner failed")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
