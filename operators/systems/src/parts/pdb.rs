//! At most one pod at a time goes down on purpose.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Frame;

pub(crate) fn build(frame: &Frame<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: frame.metadata(&frame.main()),
        spec: Some(PodDisruptionBudgetSpec {
            // Not `minAvailable: 1`: with a single pod that would stop every drain for good.
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(frame.selected()),
            // A pod that does not serve anyway must not stop a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
