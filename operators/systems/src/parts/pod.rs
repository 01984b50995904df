//! The pod: one container that runs a data plane under the restricted security profile.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, LocalObjectReference, PodAffinityTerm, PodAntiAffinity,
    PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, TopologySpreadConstraint, Volume,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orrery_runtime::labels;

use super::{Frame, certificate};
use crate::labels::merged;
use crate::pod_template;

/// Annotation that carries `spec.restart`: a new value makes a new template, which rolls the pods.
const RESTART: &str = "orrery.dev/restart";
/// User and group of the processes; the same as in the image.
pub(crate) const USER: i64 = 65532;
/// Time to finish replies and to force the journal to disk after a request to stop, in seconds.
const GRACE_SECONDS: i64 = 60;

/// What differs between systems.
pub(crate) struct Content<'a> {
    pub(crate) container: Container,
    pub(crate) volumes: Vec<Volume>,
    /// Annotations of the system's own: the hash of its configuration at least.
    pub(crate) annotations: BTreeMap<String, String>,
    /// The user's changes.
    pub(crate) user: Option<&'a PodTemplateSpec>,
}

/// The template of the pods with the user's changes.
pub(crate) fn template(frame: &Frame<'_>, content: Content<'_>) -> PodTemplateSpec {
    let own = template_metadata(frame, content.annotations);
    let built = PodTemplateSpec {
        metadata: Some(own.clone()),
        spec: Some(spec(frame, content.container, content.volumes)),
    };
    let mut merged = pod_template::merge(built, content.user);
    // What Services, policies and the operator find the pods by is not the user's to change.
    let metadata = merged.metadata.get_or_insert_with(ObjectMeta::default);
    metadata.labels.get_or_insert_default().extend(own.labels.unwrap_or_default());
    metadata.annotations.get_or_insert_default().extend(own.annotations.unwrap_or_default());
    merged
}

fn template_metadata(frame: &Frame<'_>, mut own: BTreeMap<String, String>) -> ObjectMeta {
    let (engine, identity) = (frame.engine, frame.identity);
    if identity.secured {
        own.insert(labels::IDENTITY.to_owned(), certificate::common_name(frame));
    }
    if let Some(release) = &identity.release {
        own.insert(labels::RELEASE.to_owned(), release.clone());
    }
    if let Some(restart) = &engine.restart {
        own.insert(RESTART.to_owned(), restart.clone());
    }
    ObjectMeta {
        labels: Some(frame.labels()),
        annotations: Some(merged(own, &engine.metadata.annotations)),
        ..ObjectMeta::default()
    }
}

/// What the images of a pod are pulled with.
pub(crate) fn pull_secrets(frame: &Frame<'_>) -> Option<Vec<LocalObjectReference>> {
    let secrets = &frame.engine.image.pull_secrets;
    let named = secrets.iter().map(|secret| LocalObjectReference { name: secret.name.clone() });
    (!secrets.is_empty()).then(|| named.collect())
}

/// The restricted profile of a pod.
pub(crate) fn secured() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

fn spec(frame: &Frame<'_>, container: Container, volumes: Vec<Volume>) -> PodSpec {
    PodSpec {
        service_account_name: Some(frame.main()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets(frame),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            // Changing the owner of every file of a large volume at each start takes minutes.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            ..secured()
        }),
        affinity: Some(apart(frame)),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "topology.kubernetes.io/zone".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(frame.selected()),
            ..TopologySpreadConstraint::default()
        }]),
        containers: vec![container],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// Rather on different nodes, but never unscheduled for it.
fn apart(frame: &Frame<'_>) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(frame.selected()),
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
