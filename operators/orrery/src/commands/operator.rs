//! `orrery operator`: from flags to a running operator.

use std::process::ExitCode;

use anyhow::Context as _;
use orrery_runtime::health::Shown;
use orrery_runtime::lease::{LeaseError, LeaseOptions};
use orrery_runtime::{AuthorityOptions, Connection, Operator, OperatorError, Options};
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
    let config = kube::Config::infer()
        .await
        .context("failed to find a cluster: neither a kubeconfig nor a service account is here")?;
    let listener = tokio::net::TcpListener::bind(http)
        .await
        .with_context(|| format!("failed to listen on {http}"))?;
    let mut operator = candidate(&config, &arguments)?;
    let shown = Shown::new(operator.health());
    let serving = tokio::spawn(shown.clone().serve(listener));
    let mut stopped = std::pin::pin!(stopped()?);
    let ended = loop {
        match operator.run(&mut stopped).await {
            // All that led has ended, and its gate stays closed. Another try in this process: a
            // container that ends again and again is started later and later, and nobody would lead.
            Err(OperatorError::Lease(error @ (LeaseError::Lost(_) | LeaseError::Taken(_)))) => {
                tracing::warn!(%error, "no longer leading; a candidate again");
                operator = candidate(&config, &arguments)?;
                shown.show(operator.health());
            }
            ended => break ended,
        }
    };
    serving.abort();
    Ok(ended?)
}

/// An operator that has yet to be elected.
fn candidate(config: &kube::Config, arguments: &cli::Operator) -> anyhow::Result<Operator> {
    let options = options(arguments);
    let connection = Connection::new(config, &options)?;
    let mut operator = Operator::new(connection, options);
    systems::add_to(&mut operator);
    Ok(operator)
}

fn options(arguments: &cli::Operator) -> Options {
    let mut options = Options::new(&arguments.image, systems::VERSION, &arguments.instance);
    options.namespaces.clone_from(&arguments.namespaces);
    options.rollouts_at_once = usize::from(arguments.rollouts_at_once);
    options.authority = Some(AuthorityOptions {
        gives: !arguments.no_certificates,
        certificate_life: arguments.certificate_life,
        overlap: arguments.authority_overlap,
        ..AuthorityOptions::new(
            &arguments.lease_namespace,
            &format!("{}-authority", arguments.lease_name),
        )
    });
    options.lease = (!arguments.no_lease).then(|| {
        // Two candidacies of one pod are two candidates.
        let identity = format!("{}_{}", arguments.instance, start_mark());
        LeaseOptions {
            name: arguments.lease_name.clone(),
            duration: arguments.lease_duration,
            renew: arguments.lease_renew_deadline,
            retry: arguments.lease_retry_period,
            ..LeaseOptions::new(&arguments.lease_namespace, &identity)
        }
    });
    options
}

/// Different for every candidacy.
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
