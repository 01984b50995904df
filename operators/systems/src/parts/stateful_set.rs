//! The pods with their volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orrery_api::spec::{DeletionPolicy, Storage};
use orrery_runtime::labels;

use super::Frame;
use super::volumes::DATA;

/// Old revisions kept for a look back.
const REVISIONS: i32 = 5;

pub(crate) fn build(
    frame: &Frame<'_>,
    replicas: i32,
    template: PodTemplateSpec,
    storage: &Storage,
) -> StatefulSet {
    let when_deleted = match frame.engine.deletion_policy {
        DeletionPolicy::Delete => "Delete",
        // With `Snapshot` they are kept until the operator has seen the last snapshot.
        DeletionPolicy::Retain | DeletionPolicy::Snapshot => "Retain",
    };
    StatefulSet {
        metadata: frame.metadata(&frame.main()),
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(frame.headless()),
            // With `OrderedReady` a pod that never becomes ready would keep the corrected template
            // from reaching it.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                // The operator replaces pods itself, one by one, by what they report.
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            revision_history_limit: Some(REVISIONS),
            selector: frame.selected(),
            template,
            volume_claim_templates: Some(vec![claim(frame, storage)]),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(when_deleted.to_owned()),
                    when_scaled: Some("Retain".to_owned()),
                },
            ),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// The claim of each pod. Claim templates cannot change, so only what never changes is in them:
/// neither the version nor the labels of the user.
fn claim(frame: &Frame<'_>, storage: &Storage) -> PersistentVolumeClaim {
    let mut own = frame.selector();
    own.insert(labels::PART_OF.to_owned(), labels::PART_OF_VALUE.to_owned());
    let size = Quantity(storage.size.as_str().to_owned());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA.to_owned()),
            labels: Some(own),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: storage.storage_class_name.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
