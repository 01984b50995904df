//! The labels and annotations every child object carries, and the names made from them.
//!
//! Must not: look at a cluster. One place decides these strings, because orphan removal, watches,
//! Services and NetworkPolicies all select by them.

use std::collections::BTreeMap;

/// Name of the system, such as `kv`.
pub const NAME: &str = "app.kubernetes.io/name";
/// Name of the object the child belongs to.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Part inside the system, such as `server`.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Always [`PART_OF_VALUE`].
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// Always [`MANAGED_BY_VALUE`]; the operator watches children by this label.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Version of the software the child runs.
pub const VERSION: &str = "app.kubernetes.io/version";

/// Value of [`PART_OF`].
pub const PART_OF_VALUE: &str = "orrery";
/// Value of [`MANAGED_BY`].
pub const MANAGED_BY_VALUE: &str = "orrery";

/// Annotation on each child: hash of the child as it was built. See `step::apply`.
pub const CONTENT_HASH: &str = "orrery.dev/content-hash";
/// Annotation on pod templates: hash of the configuration the pods start with, so that a changed
/// configuration rolls them.
pub const CONFIG_HASH: &str = "orrery.dev/config-hash";
/// Annotation on pod templates: hash of the template without image and version of the operator's
/// release. Pods whose template differs in nothing else are replaced because of a new release, not
/// because the spec asks for it.
pub const ASKED_HASH: &str = "orrery.dev/asked-hash";
/// Annotation on pod templates of objects with an archive: which archive it is.
pub const ARCHIVE_HASH: &str = "orrery.dev/archive-hash";
/// Annotation on pods that were built with a certificate of the installation's authority: the name in
/// it. Pods without one speak without TLS, as those of releases before certificates do.
pub const IDENTITY: &str = "orrery.dev/identity";
/// Annotation on pod templates of objects whose spec names a release of a catalog: which one,
/// `<catalog>/<version>`. It is there although the image is, because the image is the catalog's to
/// change and this is the spec's.
pub const RELEASE: &str = "orrery.dev/release";
/// Label on Jobs that were made for a run: name of the engine whose run it is.
pub const ERRAND_OF: &str = "orrery.dev/errand-of";
/// Annotation on such Jobs: key of the run, see `orrery_operand::errands`.
pub const RUN_KEY: &str = "orrery.dev/run-key";
/// Annotation on such Jobs: which attempt of the run it is, from 1.
pub const ATTEMPT: &str = "orrery.dev/attempt";
/// Annotation on such Jobs: UID of the declared object.
pub const OBJECT_UID: &str = "orrery.dev/object-uid";
/// Label on Backups that a schedule made: its name.
pub const SCHEDULE: &str = "orrery.dev/schedule";
/// Label a StatefulSet puts on its pods: their name.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Name of the container port of the management protocol.
pub const MANAGEMENT_PORT_NAME: &str = "management";
/// Number of the container port of the management protocol inside a cluster.
pub const MANAGEMENT_PORT: u16 = 9400;
/// Name of the container port for followers, which speaks mutual TLS.
pub const REPLICATION_PORT_NAME: &str = "replication";
/// Number of the container port for followers inside a cluster.
pub const REPLICATION_PORT: u16 = 9402;
/// Key of the generated Secret that holds the bearer token of the management protocol.
pub const MANAGEMENT_TOKEN_KEY: &str = "management-token";

/// Value of [`ARCHIVE_HASH`] for an archive.
pub fn archive_hash(archive: &orrery_api::spec::ArchiveOf) -> String {
    crate::resources::content_hash(archive)
}

/// Label selector of everything the operator made.
pub fn managed_by_selector() -> String {
    format!("{MANAGED_BY}={MANAGED_BY_VALUE}")
}

/// Label selector of the volume claims of all objects: they carry no version and no owner, since
/// they outlive both.
pub fn claims_selector() -> String {
    format!("{PART_OF}={PART_OF_VALUE}")
}

/// Prefixes of keys that deployment tools put on an object to track it. Children do not inherit
/// them, or the tool would prune the children as strangers.
const TRACKING_PREFIXES: [&str; 4] = [
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "kubectl.kubernetes.io/",
];

/// Whether a label or annotation of the object may be copied to its children.
pub fn may_inherit(key: &str) -> bool {
    !TRACKING_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The full label set of a child.
pub fn child(
    system: &str,
    instance: &str,
    component: &str,
    version: &str,
) -> BTreeMap<String, String> {
    let mut labels = selector(system, instance, component);
    labels.insert(PART_OF.to_owned(), PART_OF_VALUE.to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGED_BY_VALUE.to_owned());
    labels.insert(VERSION.to_owned(), label_value(version));
    labels
}

/// The labels that pods are selected by. They never change while the object lives: a StatefulSet's
/// selector is immutable, so the version is not among them.
pub fn selector(system: &str, instance: &str, component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME.to_owned(), label_value(system)),
        (INSTANCE.to_owned(), label_value(instance)),
        (COMPONENT.to_owned(), label_value(component)),
    ])
}

/// Longest label value Kubernetes takes, in bytes.
const LABEL_VALUE_BYTES_MAX: usize = 63;

/// Makes a valid label value of any text: longer values are cut and end in a hash of the whole, so
/// that two long names stay different.
pub fn label_value(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    let edge = |c: char| !c.is_ascii_alphanumeric();
    if clean.len() <= LABEL_VALUE_BYTES_MAX {
        return clean.trim_matches(edge).to_owned();
    }
    let hash = crate::resources::content_hash(&text);
    let head = &clean[..LABEL_VALUE_BYTES_MAX - 9];
    format!("{}-{}", head.trim_matches(edge), &hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_carries_the_six_recommended_labels() {
        let labels = child("kv", "default", "server", "0.1.0");
        let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
        assert_eq!(keys, [COMPONENT, INSTANCE, MANAGED_BY, NAME, PART_OF, VERSION]);
    }

    #[test]
    fn the_selector_leaves_the_version_out() {
        assert!(!selector("kv", "a", "server").contains_key(VERSION));
    }

    #[test]
    fn a_long_label_value_is_cut_and_stays_distinct() {
        let (a, b) = (format!("{}a", "x".repeat(80)), format!("{}b", "x".repeat(80)));
        assert!(label_value(&a).len() <= 63);
        assert_ne!(label_value(&a), label_value(&b));
        assert_eq!(label_value("0.1.0+build/7"), "0.1.0-build-7");
        assert_eq!(label_value("-edge-"), "edge");
    }

    #[test]
    fn tracking_labels_of_deployment_tools_are_not_inherited() {
        assert!(!may_inherit("argocd.argoproj.io/instance"));
        assert!(!may_inherit("kubectl.kubernetes.io/last-applied-configuration"));
        assert!(may_inherit("team"));
    }
}
