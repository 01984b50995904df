//! The certificate that a process shows, from the Secret that is mounted into its pod.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, ResourceExt};
use orrery_e2e_cluster::{Seat, poll};
use orrery_kit::identity::Identity;
use orrery_runtime::labels;
use tempfile::TempDir;

/// A kubelet waits for a Secret that it is to mount.
const MOUNTED: Duration = Duration::from_mins(2);

/// The files, and what was read from them.
pub(super) struct Shown {
    identity: Identity,
    _folder: TempDir,
}

impl Shown {
    /// For the next connection to the management port.
    pub(super) fn management(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.identity.current().management)
    }

    pub(super) fn hash(&self) -> String {
        self.identity.current().hash.clone()
    }
}

/// None when the pod has no certificate of its own.
pub(super) async fn shown(seat: &Seat, pod: &Pod) -> Option<Shown> {
    let name = pod.annotations().get(labels::IDENTITY)?;
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volume = volumes.find(|volume| volume.name == "identity")?;
    let secret = volume.secret.as_ref()?.secret_name.as_deref()?;
    let api: Api<Secret> = Api::namespaced(seat.client(), &pod.namespace().unwrap_or_default());
    let folder = tempfile::tempdir().expect("a folder");
    let written = || async {
        let found = api.get_opt(secret).await.ok().flatten().and_then(|secret| secret.data);
        let Some(data) = found.filter(|data| !data.is_empty()) else { return false };
        for (file, bytes) in data {
            std::fs::write(folder.path().join(file), bytes.0).expect("room in the folder");
        }
        true
    };
    poll("the certificate is there", MOUNTED, written).await.expect("it is issued");
    let identity = Identity::load(folder.path(), name).expect("a valid certificate");
    Some(Shown { identity, _folder: folder })
}
