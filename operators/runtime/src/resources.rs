//! Everything an object is made of, in apply order, before and after it was applied.
//!
//! Must not: hold a client, a clock or a random source. `Resources<Prepared>` comes from a system's
//! `build`; only the apply step turns it into `Resources<Applied>`, so that whatever is said about
//! an object in its status was applied first. The same input gives the same bytes: maps are sorted
//! and secret content is never part of it.

use std::collections::{BTreeMap, HashSet};
use std::marker::PhantomData;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::children::ChildKind;
use crate::labels;
use crate::redacted::Redacted;

mod stage {
    pub trait Sealed {}
}

/// Where a set of resources is on its way: [`Prepared`] or [`Applied`].
pub trait Stage: stage::Sealed {}

/// Built, not yet sent anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {}

/// Accepted by the carrier; the objects are those it gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {}

impl stage::Sealed for Prepared {}
impl stage::Sealed for Applied {}
impl Stage for Prepared {}
impl Stage for Applied {}

/// A Secret whose content is made once, by the carrier, and read back ever after; or is given by the
/// system, from other Secrets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeneratedSecret {
    /// Name, labels and owner of the Secret.
    pub metadata: ObjectMeta,
    /// The keys it must have, sorted by name.
    pub keys: Vec<GeneratedKey>,
    /// Content that is written as it is, by key. It is part of no hash that anybody sees.
    #[serde(skip)]
    pub given: BTreeMap<String, Redacted<Vec<u8>>>,
}

/// One generated value: ASCII letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GeneratedKey {
    /// Key in the Secret's data, and the file name in the mounted folder.
    pub name: String,
    /// Number of characters; one carries 5.95 bits.
    pub length_chars: usize,
}

/// A Secret with a certificate of the installation's authority, which is renewed by the carrier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertifiedSecret {
    /// Name, labels and owner of the Secret.
    pub metadata: ObjectMeta,
    /// Host names in the certificate; the first is the one by which the processes know each other.
    pub names: Vec<String>,
}

/// All children of one object, one list per kind, in the order they are applied. Start from
/// `Resources::default()` and fill the lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(bound = "")]
pub struct Resources<S: Stage> {
    pub service_accounts: Vec<ServiceAccount>,
    pub roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
    pub secrets: Vec<GeneratedSecret>,
    pub certificates: Vec<CertifiedSecret>,
    pub config_maps: Vec<ConfigMap>,
    pub services: Vec<Service>,
    pub network_policies: Vec<NetworkPolicy>,
    pub pdbs: Vec<PodDisruptionBudget>,
    pub stateful_sets: Vec<StatefulSet>,
    pub deployments: Vec<Deployment>,
    #[serde(skip)]
    pub(crate) stage: PhantomData<S>,
}

impl<S: Stage> Default for Resources<S> {
    fn default() -> Self {
        Self {
            service_accounts: Vec::new(),
            roles: Vec::new(),
            role_bindings: Vec::new(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            config_maps: Vec::new(),
            services: Vec::new(),
            network_policies: Vec::new(),
            pdbs: Vec::new(),
            stateful_sets: Vec::new(),
            deployments: Vec::new(),
            stage: PhantomData,
        }
    }
}

impl<S: Stage> Resources<S> {
    /// Content hash over all objects, SHA-256 in hex. What depends on the incarnation of the object
    /// and not on its spec, owner UID and namespace, is left out: the same spec has the same hash.
    pub fn hash(&self) -> String {
        let mut all = serde_json::to_value(self).expect("maps of built objects have string keys");
        let lists = all.as_object_mut().into_iter().flat_map(|kinds| kinds.values_mut());
        lists.filter_map(Value::as_array_mut).flatten().for_each(forget_incarnation);
        content_hash(&all)
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        let Self {
            service_accounts,
            roles,
            role_bindings,
            secrets,
            certificates,
            config_maps,
            services,
            network_policies,
            pdbs,
            stateful_sets,
            deployments,
            stage: _,
        } = self;
        service_accounts.len()
            + roles.len()
            + role_bindings.len()
            + secrets.len()
            + certificates.len()
            + config_maps.len()
            + services.len()
            + network_policies.len()
            + pdbs.len()
            + stateful_sets.len()
            + deployments.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Kind and name of each object.
    pub fn names(&self) -> HashSet<(ChildKind, String)> {
        fn add<'a>(
            names: &mut HashSet<(ChildKind, String)>,
            kind: ChildKind,
            metas: impl Iterator<Item = &'a ObjectMeta>,
        ) {
            names.extend(metas.map(|meta| (kind, meta.name.clone().unwrap_or_default())));
        }
        use ChildKind as Kind;
        let mut names = HashSet::with_capacity(self.len());
        let all = &mut names;
        add(all, Kind::ServiceAccount, self.service_accounts.iter().map(|o| &o.metadata));
        add(all, Kind::Role, self.roles.iter().map(|o| &o.metadata));
        add(all, Kind::RoleBinding, self.role_bindings.iter().map(|o| &o.metadata));
        add(all, Kind::Secret, self.secrets.iter().map(|o| &o.metadata));
        add(all, Kind::Secret, self.certificates.iter().map(|o| &o.metadata));
        add(all, Kind::ConfigMap, self.config_maps.iter().map(|o| &o.metadata));
        add(all, Kind::Service, self.services.iter().map(|o| &o.metadata));
        add(all, Kind::NetworkPolicy, self.network_policies.iter().map(|o| &o.metadata));
        add(all, Kind::PodDisruptionBudget, self.pdbs.iter().map(|o| &o.metadata));
        add(all, Kind::StatefulSet, self.stateful_sets.iter().map(|o| &o.metadata));
        add(all, Kind::Deployment, self.deployments.iter().map(|o| &o.metadata));
        debug_assert_eq!(names.len(), self.len(), "names are unique within a kind");
        names
    }

    /// Pods of the engine asked for: those of StatefulSets. One without a number is scaled by someone
    /// else and counts as one. Pods of Deployments are beside the engine.
    pub fn replicas_wanted(&self) -> i32 {
        let sets = self.stateful_sets.iter().map(|s| s.spec.as_ref().and_then(|s| s.replicas));
        sets.map(|replicas| replicas.unwrap_or(1)).sum()
    }
}

impl Resources<Prepared> {
    /// The same resources asleep: no pods, everything else kept, volumes too.
    #[must_use]
    pub fn hibernated(mut self) -> Self {
        for set in &mut self.stateful_sets {
            if let Some(spec) = &mut set.spec {
                spec.replicas = Some(0);
            }
        }
        for deployment in &mut self.deployments {
            if let Some(spec) = &mut deployment.spec {
                spec.replicas = Some(0);
            }
        }
        self
    }

    /// Writes on every pod template what it says by the spec alone: the hash of the same template in
    /// `neutral`, which was built without image and version of a release.
    pub fn mark_asked(&mut self, neutral: &Self) {
        for set in &mut self.stateful_sets {
            let name = &set.metadata.name;
            let same = neutral.stateful_sets.iter().find(|other| other.metadata.name == *name);
            let hash = same.and_then(|same| same.spec.as_ref()).map(|s| content_hash(&s.template));
            if let (Some(hash), Some(spec)) = (hash, &mut set.spec) {
                let metadata = spec.template.metadata.get_or_insert_default();
                let annotations = metadata.annotations.get_or_insert_default();
                annotations.insert(labels::ASKED_HASH.to_owned(), hash);
            }
        }
    }

    /// What [`Self::mark_asked`] wrote, of all templates together; none without templates.
    pub fn asked_hash(&self) -> Option<String> {
        let templates = self.stateful_sets.iter().filter_map(|set| set.spec.as_ref());
        let metadata = templates.filter_map(|spec| spec.template.metadata.as_ref());
        let mut annotations = metadata.filter_map(|metadata| metadata.annotations.as_ref());
        annotations.find_map(|all| all.get(labels::ASKED_HASH)).cloned()
    }

    /// Declares that every object was carried out as it stands. For carriers that have no server
    /// which would give back an object of its own.
    pub fn into_applied(self) -> Resources<Applied> {
        let Self {
            service_accounts,
            roles,
            role_bindings,
            secrets,
            certificates,
            config_maps,
            services,
            network_policies,
            pdbs,
            stateful_sets,
            deployments,
            stage: _,
        } = self;
        Resources {
            service_accounts,
            roles,
            role_bindings,
            secrets,
            certificates,
            config_maps,
            services,
            network_policies,
            pdbs,
            stateful_sets,
            deployments,
            stage: PhantomData,
        }
    }
}

/// Content hash of one child, by the same rule as [`Resources::hash`].
pub fn child_hash<T: Serialize>(child: &T) -> String {
    let mut value = serde_json::to_value(child).expect("maps of built objects have string keys");
    forget_incarnation(&mut value);
    content_hash(&value)
}

fn forget_incarnation(child: &mut Value) {
    if let Some(metadata) = child.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("ownerReferences");
        metadata.remove("namespace");
    }
}

/// SHA-256 in hex over the JSON form. Struct fields come in declaration order and Kubernetes maps
/// are B-trees, so equal values give equal hashes.
pub fn content_hash<T: Serialize + ?Sized>(value: &T) -> String {
    hex(&serde_json::to_vec(value).expect("maps of built objects have string keys"))
}

/// SHA-256 in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    hex_of(&Sha256::digest(bytes))
}

/// A digest in hex.
pub(crate) fn hex_of(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).expect("a nibble is below 16"));
        text.push(char::from_digit(u32::from(byte & 15), 16).expect("a nibble is below 16"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::StatefulSetSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn sample() -> Resources<Prepared> {
        let set = StatefulSet {
            metadata: ObjectMeta { name: Some("a-kv".into()), ..Default::default() },
            spec: Some(StatefulSetSpec { replicas: Some(3), ..Default::default() }),
            ..Default::default()
        };
        Resources { stateful_sets: vec![set], ..Default::default() }
    }

    #[test]
    fn equal_resources_have_equal_hashes_and_a_change_shows() {
        assert_eq!(sample().hash(), sample().hash());
        assert_eq!(sample().hash().len(), 64);
        assert_ne!(sample().hash(), sample().hibernated().hash());
    }

    #[test]
    fn an_object_made_anew_with_the_same_spec_has_the_same_hash() {
        let mut other = sample();
        other.stateful_sets[0].metadata.namespace = Some("elsewhere".into());
        other.stateful_sets[0].metadata.owner_references = Some(vec![OwnerReference::default()]);
        assert_eq!(sample().hash(), other.hash());
        assert_eq!(child_hash(&sample().stateful_sets[0]), child_hash(&other.stateful_sets[0]));
        other.stateful_sets[0].metadata.name = Some("b".into());
        assert_ne!(sample().hash(), other.hash());
    }

    #[test]
    fn hibernation_keeps_everything_but_the_pods() {
        let asleep = sample().hibernated();
        assert_eq!(asleep.len(), 1);
        assert_eq!((sample().replicas_wanted(), asleep.replicas_wanted()), (3, 0));
    }

    #[test]
    fn the_hash_is_the_sha256_of_the_json_form() {
        // printf '"abc"' | sha256sum
        let expected = "6cc43f858fbb763301637b5af970e2a46b46f461f27e5a0f41e009c59b827b25";
        assert_eq!(content_hash("abc"), expected);
    }
}
