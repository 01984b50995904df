//! The pods with their volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use orrery_api::spec::{DeletionPolicy, Storage};
use orrery_runtime::{Identity, labels};

use super::super::validate::Validated;
use super::super::{names, spread};
use super::{metadata, pod, selector};

/// Old revisions kept for a look back.
const REVISIONS: i32 = 5;

pub(super) fn build(validated: &Validated, identity: &Identity) -> StatefulSet {
    let spec = &validated.spec;
    let when_deleted = match spec.engine.deletion_policy {
        DeletionPolicy::Delete => "Delete",
        // With `Snapshot` they are kept until the operator has seen the last snapshot.
        DeletionPolicy::Retain | DeletionPolicy::Snapshot => "Retain",
    };
    StatefulSet {
        metadata: metadata(validated, identity, &names::main(&identity.name)),
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas(validated, identity)),
            service_name: Some(names::headless(&identity.name)),
            // With `OrderedReady` a pod that never becomes ready would keep the corrected template
            // from reaching it.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                // The operator replaces pods itself, one by one, by what they report.
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            revision_history_limit: Some(REVISIONS),
            selector: LabelSelector {
                match_labels: Some(selector(identity)),
                ..LabelSelector::default()
            },
            template: pod::template(validated, identity),
            volume_claim_templates: Some(vec![claim(&spec.storage, identity)]),
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

/// Pods for every shard and its followers. A primary beyond that number stays until it handed over.
fn replicas(validated: &Validated, identity: &Identity) -> i32 {
    let wanted = spread::pods(&validated.spec);
    let numbers = identity.primaries.iter().filter_map(|pod| pod.rsplit('-').next());
    let last = numbers.filter_map(|number| number.parse::<i32>().ok()).max();
    last.map_or(wanted, |number| wanted.max(number.saturating_add(1)))
}

/// The claim of each pod. Claim templates cannot change, so only what never changes is in them:
/// neither the version nor the labels of the user.
fn claim(storage: &Storage, identity: &Identity) -> PersistentVolumeClaim {
    let mut own = selector(identity);
    own.insert(labels::PART_OF.to_owned(), labels::PART_OF_VALUE.to_owned());
    let size = Quantity(storage.size.as_str().to_owned());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pod::DATA.to_owned()),
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
