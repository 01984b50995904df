//! Kubeconfig files: written for the parts of our own control plane, read for all clients.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::ClusterError;
use crate::pki::Pair;

/// Writes a kubeconfig that names its certificates by path. JSON is YAML.
pub(crate) fn write(
    path: &Path,
    server: &str,
    authority: &Path,
    user: &Pair,
) -> Result<(), ClusterError> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "orrery-e2e",
        "clusters": [{
            "name": "orrery-e2e",
            "cluster": { "server": server, "certificate-authority": authority },
        }],
        "users": [{
            "name": "orrery-e2e",
            "user": { "client-certificate": user.certificate, "client-key": user.key },
        }],
        "contexts": [{
            "name": "orrery-e2e",
            "context": { "cluster": "orrery-e2e", "user": "orrery-e2e" },
        }],
    });
    std::fs::write(path, format!("{config:#}\n")).map_err(ClusterError::file(path))
}

/// The client configuration that a kubeconfig describes.
pub(crate) async fn read(path: &Path) -> Result<kube::Config, ClusterError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}
