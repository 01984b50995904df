//! The store itself: plain maps behind one lock.
//!
//! Must not: talk to a server. Each kind and namespace is filled by one watch; what a complete new
//! list of that watch does not show is gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Child, ChildKind};
use crate::certificates::Mark;
use crate::labels;
use crate::observation::PodView;
use crate::volumes::ClaimView;

/// The object a child belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

/// A pod with what is needed to call it.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedPod {
    pub view: PodView,
    /// Port of the management protocol; none when the pod has none.
    pub management_port: Option<u16>,
    /// Port for followers, which speaks mutual TLS; none when the pod was built without.
    pub replication_port: Option<u16>,
    /// The name in its certificate, of pods that were built with one.
    pub identity: Option<String>,
}

impl CachedPod {
    /// Where its process answers the management protocol: `host:port`.
    pub fn management_address(&self) -> Option<String> {
        self.address(self.management_port?)
    }

    /// A port of the pod as others reach it: `host:port`.
    pub fn address(&self, port: u16) -> Option<String> {
        let ip = self.view.ip.as_deref()?;
        Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
    }
}

/// Namespace, system and instance label.
pub type Group = (String, String, String);

type ChildKey = (ChildKind, String, String);

#[derive(Debug, Default)]
struct State {
    children: HashMap<ChildKey, (Owner, String, Child)>,
    /// UID of an object → its children.
    by_owner: HashMap<String, HashSet<ChildKey>>,
    /// Namespace, system and instance label → pods by name.
    pods: HashMap<Group, BTreeMap<String, CachedPod>>,
    /// Namespace, system and instance label → volume claims by name.
    claims: HashMap<Group, BTreeMap<String, ClaimView>>,
    /// Kinds whose watch of this namespace (none = all) showed a complete list.
    synced: HashSet<(ChildKind, Option<String>)>,
    /// Namespaces (none = all) whose watch of pods showed a complete list.
    synced_pods: HashSet<Option<String>>,
}

/// Shared by the watches, which write, and the steps, which read.
#[derive(Debug, Default)]
pub struct ChildStore {
    state: Mutex<State>,
}

/// The controller reference among the owners.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

impl ChildStore {
    /// Notes a child and returns its owner when something changed that the owner must look at.
    pub fn apply(&self, kind: ChildKind, meta: &ObjectMeta, child: Child) -> Option<Owner> {
        let key = child_key(kind, meta);
        let mut state = self.lock();
        let Some(reference) = controller_of(meta) else {
            // An owner that was taken away is a change for the one that lost the child.
            return state.remove(&key);
        };
        let owner = Owner {
            kind: reference.kind.clone(),
            namespace: key.1.clone(),
            name: reference.name.clone(),
        };
        let unchanged = state.children.get(&key).is_some_and(|(_, uid, old)| {
            *uid == reference.uid
                && old.uid == child.uid
                && old.fingerprint == child.fingerprint
                && old.workload == child.workload
        });
        state.remove(&key);
        state.by_owner.entry(reference.uid.clone()).or_default().insert(key.clone());
        state.children.insert(key, (owner.clone(), reference.uid.clone(), child));
        (!unchanged).then_some(owner)
    }

    /// Forgets a child and returns its owner.
    pub fn delete(&self, kind: ChildKind, meta: &ObjectMeta) -> Option<Owner> {
        self.lock().remove(&child_key(kind, meta))
    }

    /// A complete list of a watch has been applied: everything else of its scope is gone. Returns
    /// the owners that lost a child.
    pub fn synced(
        &self,
        kind: ChildKind,
        scope: Option<&str>,
        seen: &HashSet<(String, String)>,
    ) -> Vec<Owner> {
        let mut state = self.lock();
        state.synced.insert((kind, scope.map(str::to_owned)));
        let in_scope = |key: &ChildKey| key.0 == kind && scope.is_none_or(|scope| scope == key.1);
        let is_gone =
            |key: &&ChildKey| in_scope(key) && !seen.contains(&(key.1.clone(), key.2.clone()));
        let gone: Vec<ChildKey> = state.children.keys().filter(is_gone).cloned().collect();
        gone.iter().filter_map(|key| state.remove(key)).collect()
    }

    /// Whether the children of this kind in this namespace are known completely.
    pub fn is_synced(&self, kind: ChildKind, namespace: &str) -> bool {
        let state = self.lock();
        state.synced.contains(&(kind, None))
            || state.synced.contains(&(kind, Some(namespace.to_owned())))
    }

    /// Whether all Secrets and all pods of a watched scope (none = all namespaces) are known.
    pub fn is_complete(&self, scope: Option<&str>) -> bool {
        let (state, scope) = (self.lock(), scope.map(str::to_owned));
        state.synced_pods.contains(&scope) && state.synced.contains(&(ChildKind::Secret, scope))
    }

    /// Every Secret with a certificate: its owner, its name, and what it says.
    pub fn certificates(&self) -> Vec<(Owner, String, Mark)> {
        let state = self.lock();
        let of = |(key, (owner, _, child)): (&ChildKey, &(Owner, String, Child))| {
            Some((owner.clone(), key.2.clone(), child.certificate.clone()?))
        };
        state.children.iter().filter_map(of).collect()
    }

    /// Every pod that was built with a certificate.
    pub fn secured_pods(&self) -> Vec<(Group, CachedPod)> {
        let state = self.lock();
        let all = state
            .pods
            .iter()
            .flat_map(|(group, pods)| pods.values().map(move |pod| (group.clone(), pod.clone())));
        all.filter(|(_, pod)| pod.identity.is_some()).collect()
    }

    /// One child.
    pub fn get(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<Child> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        self.lock().children.get(&key).map(|(_, _, child)| child.clone())
    }

    /// Names of all children of an object, in apply order.
    pub fn of_owner(&self, owner_uid: &str) -> Vec<(ChildKind, String, Child)> {
        let state = self.lock();
        let keys = state.by_owner.get(owner_uid).into_iter().flatten();
        let mut children: Vec<_> = keys
            .filter_map(|key| Some((key.0, key.2.clone(), state.children.get(key)?.2.clone())))
            .collect();
        children.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        children
    }

    /// Notes a pod and returns the system and the instance to look at when it changed.
    pub fn apply_pod(
        &self,
        meta: &ObjectMeta,
        pod: &CachedPod,
    ) -> Option<(String, String, String)> {
        let group = pod_group(meta)?;
        let mut state = self.lock();
        let old = state.pods.entry(group.clone()).or_default().insert(name_of(meta), pod.clone());
        (old.as_ref() != Some(pod)).then_some(group)
    }

    /// Forgets a pod.
    pub fn delete_pod(&self, meta: &ObjectMeta) -> Option<(String, String, String)> {
        let group = pod_group(meta)?;
        let mut state = self.lock();
        let pods = state.pods.get_mut(&group)?;
        let gone = pods.remove(&name_of(meta));
        if pods.is_empty() {
            state.pods.remove(&group);
        }
        gone.map(|_| group)
    }

    /// A complete list of pods has been applied.
    pub fn synced_pods(
        &self,
        scope: Option<&str>,
        seen: &HashSet<(String, String)>,
    ) -> Vec<(String, String, String)> {
        let mut changed = Vec::new();
        let mut state = self.lock();
        state.synced_pods.insert(scope.map(str::to_owned));
        state.pods.retain(|group, pods| {
            let before = pods.len();
            if scope.is_none_or(|scope| scope == group.0) {
                pods.retain(|name, _| seen.contains(&(group.0.clone(), name.clone())));
            }
            if pods.len() < before {
                changed.push(group.clone());
            }
            !pods.is_empty()
        });
        changed
    }

    /// The pods of an object, by name.
    pub fn pods(&self, namespace: &str, system: &str, object: &str) -> Vec<CachedPod> {
        let group =
            (namespace.to_owned(), labels::label_value(system), labels::label_value(object));
        self.lock().pods.get(&group).into_iter().flat_map(|pods| pods.values().cloned()).collect()
    }

    /// Notes a volume claim and returns the system and the instance to look at when it changed.
    pub fn apply_claim(&self, claim: &PersistentVolumeClaim) -> Option<Group> {
        let (group, view) = (pod_group(&claim.metadata)?, ClaimView::of(claim));
        let mut state = self.lock();
        let claims = state.claims.entry(group.clone()).or_default();
        let old = claims.insert(view.name.clone(), view.clone());
        (old != Some(view)).then_some(group)
    }

    /// Forgets a volume claim; nobody has to look.
    pub fn delete_claim(&self, meta: &ObjectMeta) {
        let Some(group) = pod_group(meta) else { return };
        let mut state = self.lock();
        if let Some(claims) = state.claims.get_mut(&group) {
            claims.remove(&name_of(meta));
            if claims.is_empty() {
                state.claims.remove(&group);
            }
        }
    }

    /// A complete list of volume claims has been applied.
    pub fn synced_claims(&self, scope: Option<&str>, seen: &HashSet<(String, String)>) {
        self.lock().claims.retain(|group, claims| {
            if scope.is_none_or(|scope| scope == group.0) {
                claims.retain(|name, _| seen.contains(&(group.0.clone(), name.clone())));
            }
            !claims.is_empty()
        });
    }

    /// The volume claims of an object, by name.
    pub fn claims(&self, namespace: &str, system: &str, object: &str) -> Vec<ClaimView> {
        let group =
            (namespace.to_owned(), labels::label_value(system), labels::label_value(object));
        let state = self.lock();
        state.claims.get(&group).into_iter().flat_map(|all| all.values().cloned()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, key: &ChildKey) -> Option<Owner> {
        let (owner, uid, _) = self.children.remove(key)?;
        if let Some(keys) = self.by_owner.get_mut(&uid) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(&uid);
            }
        }
        Some(owner)
    }
}

fn name_of(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

fn child_key(kind: ChildKind, meta: &ObjectMeta) -> ChildKey {
    (kind, meta.namespace.clone().unwrap_or_default(), name_of(meta))
}

fn pod_group(meta: &ObjectMeta) -> Option<(String, String, String)> {
    let labels = meta.labels.as_ref()?;
    let (system, instance) = (labels.get(labels::NAME)?, labels.get(labels::INSTANCE)?);
    Some((meta.namespace.clone().unwrap_or_default(), system.clone(), instance.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(name: &str, owner: Option<&str>, version: &str) -> ObjectMeta {
        let owner = owner.map(|uid| OwnerReference {
            kind: "KVCluster".into(),
            name: "a".into(),
            uid: uid.into(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some(version.into()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    fn apply(store: &ChildStore, meta: &ObjectMeta) -> Option<Owner> {
        store.apply(ChildKind::ConfigMap, meta, Child::new(meta, None))
    }

    #[test]
    fn a_change_is_told_once_and_a_deletion_always() {
        let store = ChildStore::default();
        let object = meta("c", Some("u"), "1");
        assert_eq!(apply(&store, &object).expect("new").name, "a");
        assert_eq!(apply(&store, &object), None);
        assert!(apply(&store, &meta("c", Some("u"), "2")).is_some());
        assert_eq!(store.of_owner("u").len(), 1);
        assert!(store.delete(ChildKind::ConfigMap, &object).is_some());
        assert!(store.of_owner("u").is_empty());
        assert_eq!(store.delete(ChildKind::ConfigMap, &object), None);
    }

    #[test]
    fn p8b_a_child_missing_from_a_new_list_is_told_to_its_owner() {
        let store = ChildStore::default();
        apply(&store, &meta("c", Some("u"), "1"));
        apply(&store, &meta("d", Some("u"), "2"));
        assert!(!store.is_synced(ChildKind::ConfigMap, "ns"));
        let seen = HashSet::from([("ns".to_owned(), "d".to_owned())]);
        let other = store.synced(ChildKind::ConfigMap, Some("elsewhere"), &seen);
        assert!(other.is_empty(), "a watch speaks for its own namespace only");
        assert_eq!(store.synced(ChildKind::ConfigMap, None, &seen).len(), 1);
        assert!(store.is_synced(ChildKind::ConfigMap, "ns"));
        assert!(store.get(ChildKind::ConfigMap, "ns", "c").is_none());
    }

    #[test]
    fn a_child_that_loses_its_owner_is_told_to_it() {
        let store = ChildStore::default();
        apply(&store, &meta("c", Some("u"), "1"));
        assert_eq!(apply(&store, &meta("c", None, "2")).expect("lost").name, "a");
        assert!(store.of_owner("u").is_empty());
    }
}
