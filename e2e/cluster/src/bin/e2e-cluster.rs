//! The cluster of the tests, for a person: `e2e-cluster up` runs one until interrupted,
//! `e2e-cluster tool <name>` builds a tool when needed and prints its path.

use std::process::ExitCode;

use orrery_e2e_cluster::{Cluster, ClusterError, Options, tool};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["up"] => up(),
        ["tool", name] => tool(name).map(|path| println!("{}", path.display())),
        _ => {
            eprintln!("usage: e2e-cluster up | e2e-cluster tool <name>");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

fn up() -> Result<(), ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let start = |cause| ClusterError::Start { program: "a runtime".to_owned(), cause };
    runtime.map_err(start)?.block_on(async {
        let cluster = Cluster::start(Options::default()).await?;
        println!("export KUBECONFIG={}", cluster.kubeconfig_path().display());
        tokio::signal::ctrl_c().await.map_err(start)
    })
}
