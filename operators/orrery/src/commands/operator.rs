//! `orrery operator`: from flags to a running operator.

use std::process::ExitCode;

use anyhow::Context as _;
use orrery_runtime::lease::LeaseOptions;
use orrery_runtime::{Connection, Operator, Options};
use tokio::signal::unix::{SignalKind, signal};

use crate::traces::Traces;
use crate::{cli, systems};

pub(crate) fn run(arguments: cli::Operator) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let traces = {
        let _inside = runtime.enter();
        Traces::start()?
    };
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("another provider of cryptography was installed before");
    }
    let ended = runtime.block_on(operate(arguments));
    traces.end();
    ended?;
    Ok(ExitCode::SUCCESS)
}

async fn operate(arguments: cli::Operator) -> anyhow::Result<()> {
    let http = arguments.http;
    let options = options(arguments);
    let config = kube::Config::infer()
        .await
        .context("failed to find a cluster: neither a kubeconfig nor a service account is here")?;
    let connection = Connection::new(&config, &options)?;
    let mut operator = Operator::new(connection, options);
    systems::add_to(&mut operator);
    let listener = tokio::net::TcpListener::bind(http)
        .await
        .with_context(|| format!("failed to listen on {http}"))?;
    let health = tokio::spawn(operator.health().serve(listener));
    let ended = operator.run(stopped()?).await;
    health.abort();
    Ok(ended?)
}

fn options(arguments: cli::Operator) -> Options {
    let mut options = Options::new(&arguments.image, systems::VERSION, &arguments.instance);
    options.namespaces = arguments.namespaces;
    options.rollouts_at_once = usize::from(arguments.rollouts_at_once);
    options.lease = (!arguments.no_lease).then(|| {
        // Two starts of one pod are two candidates.
        let identity = format!("{}_{}", arguments.instance, start_mark());
        LeaseOptions {
            name: arguments.lease_name,
            duration: arguments.lease_duration,
            renew: arguments.lease_renew_deadline,
            retry: arguments.lease_retry_period,
            ..LeaseOptions::new(&arguments.lease_namespace, &identity)
        }
    });
    options
}

/// Different for every start of a process.
fn start_mark() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{:x}-{:x}", now.map_or(0, |now| now.as_nanos()), std::process::id())
}

/// Ends with SIGTERM or SIGINT.
fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
