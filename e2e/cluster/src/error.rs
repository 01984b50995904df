//! Why a cluster or a tool could not be had.

use std::path::PathBuf;

/// Everything that can go wrong between a bare machine and a running control plane.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The machine lacks something; the text says what and how to get it. A test that meets this
    /// is "not run", not failed.
    #[error("{0}")]
    Missing(String),
    /// A file or folder of the cache or of the run.
    #[error("failed to use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// A tool did not build; `output` is the end of what the compiler said.
    #[error("failed to build {tool}: {output}")]
    Build { tool: String, output: String },
    /// A process could not be started.
    #[error("failed to start {program}")]
    Start {
        program: String,
        #[source]
        cause: std::io::Error,
    },
    /// A process ended or did not become ready in time; `logs` is the end of what it wrote.
    #[error("failed to see {part} ready: {reason}\n{logs}")]
    NotReady { part: String, reason: String, logs: String },
    /// A key or certificate.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A kubeconfig that cannot be read or used.
    #[error("failed to use the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// A request to the API server.
    #[error("failed to ask the API server")]
    Api(#[from] kube::Error),
    /// Something awaited did not come.
    #[error("failed to see {what} within {seconds} s")]
    Late { what: String, seconds: u64 },
    /// kubectl or another tool ended with an error.
    #[error("failed to run {command}: {output}")]
    Command { command: String, output: String },
}

impl ClusterError {
    /// For `map_err` on file operations.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { path, cause }
    }
}
