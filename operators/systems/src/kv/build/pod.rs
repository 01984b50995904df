//! The pod: one container that runs the data plane under the restricted security profile.

mod container;
mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec,
    PodTemplateSpec, SeccompProfile, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use orrery_runtime::{Identity, labels};

use super::super::names;
use super::super::validate::Validated;
use super::{COMPONENT, SYSTEM, certificate, config_map, selector};
use crate::labels::merged;
use crate::pod_template;

pub(super) use volumes::DATA;

/// Annotation that carries `spec.restart`: a new value makes a new template, which rolls the pods.
const RESTART: &str = "orrery.dev/restart";
/// User and group of the processes; the same as in the image.
const USER: i64 = 65532;
/// Time to finish replies and to force the journal to disk after a request to stop, in seconds.
const GRACE_SECONDS: i64 = 60;

/// The template of the pods with the user's changes.
pub(crate) fn template(validated: &Validated, identity: &Identity) -> PodTemplateSpec {
    let built = PodTemplateSpec {
        metadata: Some(template_metadata(validated, identity)),
        spec: Some(spec(validated, identity)),
    };
    let mut merged = pod_template::merge(built, validated.pod_template.as_ref());
    // What Services, policies and the operator find the pods by is not the user's to change.
    let metadata = merged.metadata.get_or_insert_with(ObjectMeta::default);
    let own = template_metadata(validated, identity);
    metadata.labels.get_or_insert_default().extend(own.labels.unwrap_or_default());
    metadata.annotations.get_or_insert_default().extend(own.annotations.unwrap_or_default());
    merged
}

fn template_metadata(validated: &Validated, identity: &Identity) -> ObjectMeta {
    let engine = &validated.spec.engine;
    let mut own =
        BTreeMap::from([(labels::CONFIG_HASH.to_owned(), config_map::hash(&validated.config))]);
    if let Some(archive) = &validated.stores.archive {
        own.insert(labels::ARCHIVE_HASH.to_owned(), labels::archive_hash(archive));
    }
    if identity.secured {
        own.insert(labels::IDENTITY.to_owned(), certificate::common_name(identity));
    }
    if let Some(release) = &identity.release {
        own.insert(labels::RELEASE.to_owned(), release.clone());
    }
    if let Some(restart) = &engine.restart {
        own.insert(RESTART.to_owned(), restart.clone());
    }
    ObjectMeta {
        labels: Some(merged(identity.labels(SYSTEM, COMPONENT), &engine.metadata.labels)),
        annotations: Some(merged(own, &engine.metadata.annotations)),
        ..ObjectMeta::default()
    }
}

fn spec(validated: &Validated, identity: &Identity) -> PodSpec {
    let image = &validated.spec.engine.image;
    let secrets = image.pull_secrets.iter();
    let secrets = secrets.map(|secret| LocalObjectReference { name: secret.name.clone() });
    PodSpec {
        service_account_name: Some(names::main(&identity.name)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: (!image.pull_secrets.is_empty()).then(|| secrets.collect()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // Changing the owner of every file of a large volume at each start takes minutes.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        affinity: Some(apart(identity)),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "topology.kubernetes.io/zone".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(selected(identity)),
            ..TopologySpreadConstraint::default()
        }]),
        containers: vec![container::build(validated, identity)],
        volumes: Some(volumes::build(validated, identity)),
        ..PodSpec::default()
    }
}

/// Rather on different nodes, but never unscheduled for it.
fn apart(identity: &Identity) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(selected(identity)),
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        ..PodAffinityTerm::default()
                    },
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn selected(identity: &Identity) -> LabelSelector {
    LabelSelector { match_labels: Some(selector(identity)), ..LabelSelector::default() }
}
