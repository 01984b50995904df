//! An object of a cluster and everything that belongs to it.
//!
//! Must not: ask for what is in Secrets. Their metadata is all that is listed.

use orrery_local::kinds::EngineKind;
use serde_json::{Value as Json, json};

use crate::cluster::Cluster;
use crate::systems;

/// Kinds of children: word for the tree, and path between group and namespace. Secrets are asked
/// for apart.
const CHILDREN: [(&str, &str, &str); 6] = [
    ("StatefulSet", "apis/apps/v1", "statefulsets"),
    ("Service", "api/v1", "services"),
    ("ConfigMap", "api/v1", "configmaps"),
    ("PersistentVolumeClaim", "api/v1", "persistentvolumeclaims"),
    ("PodDisruptionBudget", "apis/policy/v1", "poddisruptionbudgets"),
    ("NetworkPolicy", "apis/networking.k8s.io/v1", "networkpolicies"),
];

/// What belongs to an object, as the API server shows it.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// With the word for their kind.
    pub(super) children: Vec<(&'static str, Json)>,
    pub(super) pods: Vec<Json>,
    pub(super) declared: Vec<Json>,
}

/// The engine that is named, or all engines of the namespace.
pub(super) fn engines(cluster: &Cluster, target: &[String]) -> anyhow::Result<Vec<Json>> {
    let namespace = &cluster.namespace;
    if !target.is_empty() {
        return Ok(vec![cluster.get(&super::Target::of(target, cluster)?.path)?]);
    }
    let mut all = Vec::new();
    for engine in &systems::kinds().engines {
        let info = engine.info();
        let path = format!("/apis/{}/namespaces/{namespace}/{}", info.api_version, info.plural);
        // The kinds of a system may not be installed.
        all.extend(cluster.find(&path)?.iter().flat_map(items));
    }
    Ok(all)
}

pub(super) fn items(list: &Json) -> Vec<Json> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let (kind, version) = (list["kind"].as_str().unwrap_or_default(), &list["apiVersion"]);
    let kind = kind.strip_suffix("List").unwrap_or(kind);
    let whole = |mut item: Json| {
        // Items of a list do not say what they are.
        item["kind"] = json!(kind);
        item["apiVersion"] = version.clone();
        item
    };
    items.into_iter().map(whole).collect()
}

/// Everything that belongs to an object.
pub(super) fn family(cluster: &Cluster, object: &Json) -> anyhow::Result<Family> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let kinds = systems::kinds();
    let system = kinds.engine_of(kind).map(EngineKind::system).unwrap_or_default();
    let list = |group: &str, plural: &str| path(group, namespace, plural, system, name);
    let mut family = Family::default();
    for (word, group, plural) in CHILDREN {
        let found = items(&cluster.get(&list(group, plural))?);
        family.children.extend(found.into_iter().map(|child| (word, child)));
    }
    let secrets = items(&cluster.get_metadata(&list("api/v1", "secrets"))?);
    family.children.extend(secrets.into_iter().map(|child| ("Secret", child)));
    family.pods = pods(cluster, namespace, system, name)?;
    for declared in kinds.declared.iter().filter(|declared| declared.engine_kind() == kind) {
        let info = declared.info();
        let path = format!("/apis/{}/namespaces/{namespace}/{}", info.api_version, info.plural);
        let bound = |one: &Json| declared.engine(one).is_ok_and(|(engine, _)| engine == name);
        family.declared.extend(items(&cluster.get(&path)?).into_iter().filter(bound));
    }
    Ok(family)
}

/// The pods of an object.
pub(super) fn pods(
    cluster: &Cluster,
    namespace: &str,
    system: &str,
    name: &str,
) -> anyhow::Result<Vec<Json>> {
    Ok(items(&cluster.get(&path("api/v1", namespace, "pods", system, name))?))
}

/// Path of the children of an object, of one kind.
fn path(group: &str, namespace: &str, plural: &str, system: &str, name: &str) -> String {
    format!(
        "/{group}/namespaces/{namespace}/{plural}?labelSelector=\
         app.kubernetes.io%2Fmanaged-by%3Dorrery,app.kubernetes.io%2Fname%3D{system},\
         app.kubernetes.io%2Finstance%3D{name}"
    )
}
