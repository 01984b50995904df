//! The cluster of the tests, for a person: `e2e-cluster up` runs one until interrupted,
//! `e2e-cluster up-nodes` one with two real nodes that have the images of the archives named,
//! `e2e-cluster image` writes such an archive around a program, `e2e-cluster clean` removes what
//! killed runs left, `e2e-cluster tool <name>` builds a tool when needed and prints its path.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use orrery_e2e_cluster::{Cluster, ClusterError, Options, clean, tool, write_image};

const USAGE: &str = "usage: e2e-cluster up | up-nodes [<archive of an image> ...] | \
                     image <name:tag> <program> <archive> | clean | tool <name>";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["up"] => up(Options::default(), &[]),
        ["up-nodes", ref images @ ..] => up(Options::real(2), images),
        ["image", name, program, archive] => {
            write_image(name, Path::new(program), Path::new(archive))
        }
        ["clean"] => clean(),
        ["tool", name] => tool(name).map(|path| println!("{}", path.display())),
        _ => {
            eprintln!("{USAGE}");
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

fn up(options: Options, images: &[&str]) -> Result<(), ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let start = |cause| ClusterError::Start { program: "a runtime".to_owned(), cause };
    runtime.map_err(start)?.block_on(async {
        let cluster = Cluster::start(options).await?;
        if let Some(nodes) = cluster.real_nodes() {
            for archive in images {
                nodes.load_image(Path::new(archive)).await?;
            }
        }
        println!("export KUBECONFIG={}", cluster.kubeconfig_path().display());
        tokio::signal::ctrl_c().await.map_err(start)
    })
}
