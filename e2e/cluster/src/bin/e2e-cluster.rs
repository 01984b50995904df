//! The cluster of the tests, for a person: `e2e-cluster up` runs one until interrupted,
//! `e2e-cluster up-nodes` one with two real nodes, `e2e-cluster clean` removes what killed runs
//! left, `e2e-cluster tool <name>` builds a tool when needed and prints its path.

use std::error::Error;
use std::process::ExitCode;

use orrery_e2e_cluster::{Cluster, ClusterError, Options, clean, tool};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["up"] => up(Options::default()),
        ["up-nodes"] => up(Options::real(2)),
        ["clean"] => clean(),
        ["tool", name] => tool(name).map(|path| println!("{}", path.display())),
        _ => {
            eprintln!("usage: e2e-cluster up | up-nodes | clean | tool <name>");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("{cause}");
            let mut source = cause.source();
            while let Some(cause) = source {
                eprintln!("caused by: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn up(options: Options) -> Result<(), ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let start = |cause| ClusterError::Start { program: "a runtime".to_owned(), cause };
    runtime.map_err(start)?.block_on(async {
        let cluster = Cluster::start(options).await?;
        println!("export KUBECONFIG={}", cluster.kubeconfig_path().display());
        tokio::signal::ctrl_c().await.map_err(start)
    })
}
