//! Volumes: a default StorageClass, and another, whose claims become folders, offered as `local` volumes on the
//! node the scheduler chose, as kind's provisioner does. Binding, protection and reclaiming are the
//! real controllers' work, and giving a folder to the group of a pod (`fsGroup`) is the kubelet's.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::ClusterError;
use crate::run::Run;
use crate::say::say;

/// The default class: bound when a pod is scheduled, deleted with its claim, may grow.
pub(crate) const CLASS: &str = "standard";
/// Another class of the same kind of volumes.
const OTHER_CLASS: &str = "spare";

const PROVISIONER: &str = "orrery.dev/e2e-folder";

/// Set by the scheduler when it has chosen a node for a claim's first pod.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Where nodes keep volumes.
#[derive(Debug)]
pub(crate) struct Disks {
    /// The folder as nodes see it.
    pub(crate) seen: PathBuf,
    /// The folder of each node for those outside. A node without one keeps volumes in `seen`.
    pub(crate) outside: HashMap<String, PathBuf>,
}

impl Disks {
    fn outside(&self, node: &str) -> &PathBuf {
        self.outside.get(node).unwrap_or(&self.seen)
    }
}

fn is_ours(class: Option<&str>) -> bool {
    matches!(class, Some(CLASS | OTHER_CLASS))
}

/// Makes the classes, then serves claims until the cluster ends.
pub(crate) async fn start(client: Client, run: &Run, disks: Disks) -> Result<(), ClusterError> {
    for (name, is_default) in [(CLASS, "true"), (OTHER_CLASS, "false")] {
        let class: StorageClass = object(json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": name,
                "annotations": { "storageclass.kubernetes.io/is-default-class": is_default },
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": true,
        }));
        Api::all(client.clone()).create(&PostParams::default(), &class).await?;
    }
    let disks = Arc::new(disks);
    run.task(serve_claims(client.clone(), disks.clone()));
    run.task(reclaim_volumes(client, disks));
    Ok(())
}

async fn serve_claims(client: Client, disks: Arc<Disks>) {
    let claims = Api::<PersistentVolumeClaim>::all(client.clone());
    let changes = watcher(claims, watcher::Config::default()).default_backoff().applied_objects();
    let served = changes.try_for_each(|claim| {
        let (client, disks) = (client.clone(), disks.clone());
        async move {
            let name = claim.name_any();
            if let Err(cause) = serve_claim(&client, &disks, &claim).await {
                say(&format!("claim {name}: {cause}"));
            }
            Ok(())
        }
    });
    if let Err(cause) = served.await {
        say(&format!("no volumes from now on: {cause}"));
    }
}

async fn serve_claim(
    client: &Client,
    disks: &Disks,
    claim: &PersistentVolumeClaim,
) -> Result<(), ClusterError> {
    let Some(spec) = &claim.spec else { return Ok(()) };
    if !is_ours(spec.storage_class_name.as_deref()) {
        return Ok(());
    }
    if spec.volume_name.is_some() {
        return grow(client, claim).await;
    }
    let Some(node) = claim.annotations().get(SELECTED_NODE) else { return Ok(()) };
    let (Some(uid), Some(size)) = (claim.uid(), requested(claim)) else { return Ok(()) };
    let name = format!("pvc-{uid}");
    let folder = disks.outside(node).join(&name);
    std::fs::create_dir_all(&folder).map_err(ClusterError::file(&folder))?;
    let volume: PersistentVolume = object(json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": { "pv.kubernetes.io/provisioned-by": PROVISIONER },
        },
        "spec": {
            "capacity": { "storage": size },
            "accessModes": spec.access_modes,
            "storageClassName": spec.storage_class_name,
            "persistentVolumeReclaimPolicy": "Delete",
            "volumeMode": "Filesystem",
            "local": { "path": disks.seen.join(&name) },
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace(),
                "name": claim.name_any(),
                "uid": uid,
            },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] },
            ] }] } },
        },
    }));
    match Api::all(client.clone()).create(&PostParams::default(), &volume).await {
        // Made at an earlier change of the same claim.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// Gives a bound claim the size it asks for: a folder has no size, so saying it is all.
async fn grow(client: &Client, claim: &PersistentVolumeClaim) -> Result<(), ClusterError> {
    let has = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    let (Some(has), Some(wanted)) = (has, requested(claim)) else { return Ok(()) };
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    let (Some(volume), true) = (volume, has.0 != wanted) else { return Ok(()) };
    let capacity = json!({ "capacity": { "storage": wanted } });
    let params = PatchParams::default();
    let volumes = Api::<PersistentVolume>::all(client.clone());
    volumes.patch(volume, &params, &Patch::Merge(json!({ "spec": capacity }))).await?;
    let namespace = claim.namespace().unwrap_or_default();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &namespace);
    let status = Patch::Merge(json!({ "status": capacity }));
    claims.patch_status(&claim.name_any(), &params, &status).await?;
    Ok(())
}

/// Removes folders whose claim is gone and whose policy says so.
async fn reclaim_volumes(client: Client, disks: Arc<Disks>) {
    let volumes = Api::<PersistentVolume>::all(client);
    let changes =
        watcher(volumes.clone(), watcher::Config::default()).default_backoff().applied_objects();
    let served = changes.try_for_each(|volume| {
        let (volumes, disks) = (volumes.clone(), disks.clone());
        async move {
            if let Some(node) = released(&volume) {
                let _ = std::fs::remove_dir_all(disks.outside(node).join(volume.name_any()));
                let _ = volumes.delete(&volume.name_any(), &DeleteParams::default()).await;
            }
            Ok(())
        }
    });
    if let Err(cause) = served.await {
        say(&format!("no volume is reclaimed from now on: {cause}"));
    }
}

/// The node of a volume of ours that nobody claims any more and that is to be deleted.
fn released(volume: &PersistentVolume) -> Option<&str> {
    let spec = volume.spec.as_ref()?;
    let ours = is_ours(spec.storage_class_name.as_deref());
    let delete = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    let phase = volume.status.as_ref()?.phase.as_deref();
    let released = phase == Some("Released") && volume.metadata.deletion_timestamp.is_none();
    let terms = &spec.node_affinity.as_ref()?.required.as_ref()?.node_selector_terms;
    let node = terms.first()?.match_expressions.as_ref()?.first()?.values.as_ref()?.first()?;
    (ours && delete && released).then_some(node.as_str())
}

fn requested(claim: &PersistentVolumeClaim) -> Option<String> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(requests.get("storage")?.0.clone())
}

/// A typed object from a literal of this crate.
pub(crate) fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the literal has the fields of its kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(policy: &str, phase: &str) -> PersistentVolume {
        object(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": "x" },
            "spec": {
                "storageClassName": CLASS,
                "persistentVolumeReclaimPolicy": policy,
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                    { "key": "kubernetes.io/hostname", "operator": "In", "values": ["toy-1"] },
                ] }] } },
            },
            "status": { "phase": phase },
        }))
    }

    #[test]
    fn only_a_released_volume_to_be_deleted_is_removed() {
        assert_eq!(released(&volume("Delete", "Released")), Some("toy-1"));
        assert_eq!(released(&volume("Delete", "Bound")), None);
        assert_eq!(released(&volume("Retain", "Released")), None);
    }
}
