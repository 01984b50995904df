//! What the operator must be allowed to do for this system; the chart is rendered from it.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::parts::rules::rule;

/// Rules of this system: its kinds, and the kinds of its children.
pub fn operator_rules() -> Vec<PolicyRule> {
    let children = &["get", "list", "watch", "create", "patch", "delete"];
    vec![
        // Patched are finalizers alone.
        rule("orrery.dev", &["kvclusters"], &["get", "list", "watch", "create", "patch"]),
        rule("orrery.dev", &["kvnamespaces"], &["get", "list", "watch"]),
        rule("orrery.dev", &["kvclusters/status", "kvnamespaces/status"], &["patch"]),
        rule("orrery.dev", &["backups"], &["get", "list", "watch", "create", "delete"]),
        rule("orrery.dev", &["backupschedules"], &["get", "list", "watch"]),
        rule("orrery.dev", &["backups/status", "backupschedules/status"], &["patch"]),
        rule("orrery.dev", &["backupschedules/finalizers"], &["update"]),
        // Owner references that block deletion need it where that admission plugin is on.
        rule("orrery.dev", &["kvclusters/finalizers"], &["update"]),
        rule("", &["serviceaccounts", "secrets", "configmaps", "services"], children),
        rule("networking.k8s.io", &["networkpolicies"], children),
        rule("policy", &["poddisruptionbudgets"], children),
        rule("apps", &["statefulsets"], children),
        // Pods are deleted one by one, so that their workload makes them anew from a new template.
        rule("", &["pods"], &["get", "list", "watch", "delete"]),
        // Claims grow with the spec; they are never deleted by the operator.
        rule("", &["persistentvolumeclaims"], &["get", "list", "watch", "patch", "delete"]),
        // Who is primary is kept in a Lease beside each object with followers.
        rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
    ]
}
