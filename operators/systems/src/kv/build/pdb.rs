//! At most one pod at a time goes down on purpose.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_runtime::Identity;

use super::super::names;
use super::super::validate::Validated;
use super::{metadata, selector};

pub(super) fn build(validated: &Validated, identity: &Identity) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(validated, identity, &names::main(&identity.name)),
        spec: Some(PodDisruptionBudgetSpec {
            // Not `minAvailable: 1`: with a single pod that would stop every drain for good.
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(selector(identity)),
                ..LabelSelector::default()
            }),
            // A pod that does not serve anyway must not stop a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
