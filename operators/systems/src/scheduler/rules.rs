//! What the operator must be allowed to do for this system; the chart is rendered from it.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::parts::rules::rule;

/// Rules of the kinds of this system; those of children are the same for all systems.
pub fn operator_rules() -> Vec<PolicyRule> {
    vec![
        // Patched are finalizers alone.
        rule("orrery.dev", &["schedulers"], &["get", "list", "watch", "create", "patch"]),
        // Those that stand beside adopted CronJobs are written; all others are the user's.
        rule("orrery.dev", &["schedules"], &["get", "list", "watch", "create", "patch", "delete"]),
        // Runs that are Jobs. They are made and ended; what is patched is their owner.
        rule("batch", &["jobs"], &["get", "list", "watch", "create", "patch", "delete"]),
        // Pods of pools.
        rule("apps", &["deployments"], &["get", "list", "watch", "create", "patch", "delete"]),
        // CronJobs that are adopted are suspended and given back; the Jobs of both have them or the
        // Schedule as their owner.
        rule("batch", &["cronjobs"], &["get", "list", "watch", "patch"]),
        rule("batch", &["cronjobs/status"], &["patch"]),
        rule("batch", &["cronjobs/finalizers"], &["update"]),
        rule("orrery.dev", &["schedules/finalizers"], &["update"]),
        rule("orrery.dev", &["schedulers/status", "schedules/status"], &["patch"]),
        // Owner references that block deletion need it where that admission plugin is on.
        rule("orrery.dev", &["schedulers/finalizers"], &["update"]),
    ]
}
