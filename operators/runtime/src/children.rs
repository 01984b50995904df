//! The children of all objects as the watches show them: one small store for all kinds.
//!
//! Must not: be trusted for anything destructive; whoever deletes looks again at the server first.
//!
//! Kept per child: who owns it and a fingerprint by which a change by anyone can be told from our
//! own last write. Specs are not kept, Secrets are watched as metadata only, and of workloads and
//! pods only the few figures that status needs.

pub mod store;
pub mod watch;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use crate::certificates::Mark;
use crate::observation::WorkloadView;
use crate::resources::content_hash;

/// The kinds an object may own, in apply order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    ServiceAccount,
    Role,
    RoleBinding,
    Secret,
    ConfigMap,
    Service,
    NetworkPolicy,
    PodDisruptionBudget,
    StatefulSet,
    Deployment,
}

impl ChildKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Secret,
        Self::ConfigMap,
        Self::Service,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
        Self::Deployment,
    ];
}

impl fmt::Display for ChildKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is kept of one child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub uid: String,
    /// UID of the object that controls it.
    pub owner_uid: Option<String>,
    pub resource_version: String,
    pub fingerprint: String,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// What a Secret says of the certificate in it.
    pub certificate: Option<Mark>,
    /// Figures, of StatefulSets and Deployments.
    pub workload: Option<WorkloadView>,
}

impl Child {
    pub fn new(meta: &ObjectMeta, workload: Option<WorkloadView>) -> Self {
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            owner_uid: store::controller_of(meta).map(|owner| owner.uid.clone()),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            fingerprint: fingerprint(meta),
            terminating: meta.deletion_timestamp.is_some(),
            certificate: Mark::of(meta),
            workload,
        }
    }
}

/// Changes whenever anyone changes what the object asks for.
///
/// Kinds with a generation: the generation and the metadata that the generation does not cover, so
/// that a status update does not count. Kinds without: the resourceVersion, as they have no status.
pub fn fingerprint(meta: &ObjectMeta) -> String {
    #[derive(Serialize)]
    struct Marks<'a> {
        meta: [Option<&'a std::collections::BTreeMap<String, String>>; 2],
        owners: Vec<&'a str>,
        finalizers: &'a Option<Vec<String>>,
        terminating: bool,
    }
    match meta.generation {
        Some(generation) if generation > 0 => {
            let owners = meta.owner_references.iter().flatten();
            let marks = content_hash(&Marks {
                meta: [meta.labels.as_ref(), meta.annotations.as_ref()],
                owners: owners.map(|owner| owner.uid.as_str()).collect(),
                finalizers: &meta.finalizers,
                terminating: meta.deletion_timestamp.is_some(),
            });
            format!("g{generation}-{}", &marks[..16])
        }
        _ => format!("v{}", meta.resource_version.as_deref().unwrap_or_default()),
    }
}

/// Whether `a` is an older version than `b`. Versions of one API server are decimal numbers; any
/// other text is never older, and the caller then takes the careful path.
pub fn is_older(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(generation: Option<i64>, version: &str, label: &str) -> ObjectMeta {
        ObjectMeta {
            generation,
            resource_version: Some(version.to_owned()),
            labels: Some([("team".to_owned(), label.to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_status_update_keeps_the_fingerprint_and_an_edit_changes_it() {
        let base = fingerprint(&meta(Some(1), "10", "a"));
        assert_eq!(base, fingerprint(&meta(Some(1), "11", "a")));
        assert_ne!(base, fingerprint(&meta(Some(2), "11", "a")));
        assert_ne!(base, fingerprint(&meta(Some(1), "11", "b")));
        assert_ne!(
            fingerprint(&meta(None, "10", "a")),
            fingerprint(&meta(None, "11", "a")),
            "without a generation every version counts"
        );
    }

    #[test]
    fn versions_are_compared_as_numbers_or_not_at_all() {
        assert!(is_older("9", "10"));
        assert!(!is_older("10", "10"));
        assert!(!is_older("x", "10"));
    }
}
