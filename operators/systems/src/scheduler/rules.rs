//! What the operator must be allowed to do for this system; the chart is rendered from it.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::parts::rules::rule;

/// Rules of the kinds of this system; those of children are the same for all systems.
pub fn operator_rules() -> Vec<PolicyRule> {
    vec![
        // Patched are finalizers alone.
        rule("orrery.dev", &["schedulers"], &["get", "list", "watch", "create", "patch"]),
        rule("orrery.dev", &["schedules"], &["get", "list", "watch"]),
        rule("orrery.dev", &["schedulers/status", "schedules/status"], &["patch"]),
        // Owner references that block deletion need it where that admission plugin is on.
        rule("orrery.dev", &["schedulers/finalizers"], &["update"]),
    ]
}
