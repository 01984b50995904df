//! `orrery status`: an object of a cluster as a tree, down to its pods.

mod tree;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use crate::cluster::Cluster;
use crate::{cli, output, systems};

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

pub(crate) fn run(on: &cli::Status) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(&on.cluster)?;
    let kinds = systems::kinds();
    let namespace = cluster.namespace.clone();
    let objects = if on.target.is_empty() {
        let mut all = Vec::new();
        for engine in &kinds.engines {
            let info = engine.info();
            let path = format!("/apis/{}/namespaces/{namespace}/{}", info.api_version, info.plural);
            all.extend(items(&cluster.get(&path)?));
        }
        all
    } else {
        let target = super::Target::of(&on.target, &namespace)?;
        vec![cluster.get(&target.path)?]
    };
    if objects.is_empty() {
        output::print(&format!("there is none in namespace {namespace}; another: -n NAME\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut is_well = true;
    let mut texts = Vec::new();
    for object in &objects {
        let family = family(&cluster, object)?;
        is_well &= tree::is_well(object);
        texts.push(tree::render(object, &family, coloured));
    }
    output::print(&texts.join("\n"));
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn items(list: &Json) -> Vec<Json> {
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
fn family(cluster: &Cluster, object: &Json) -> anyhow::Result<tree::Family> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let selector = format!(
        "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dorrery,app.kubernetes.io%2Finstance%3D{name}"
    );
    let list =
        |group: &str, plural: &str| format!("/{group}/namespaces/{namespace}/{plural}?{selector}");
    let mut family = tree::Family::default();
    for (word, group, plural) in CHILDREN {
        let found = items(&cluster.get(&list(group, plural))?);
        family.children.extend(found.into_iter().map(|child| (word, child)));
    }
    let secrets = items(&cluster.get_metadata(&list("api/v1", "secrets"))?);
    family.children.extend(secrets.into_iter().map(|child| ("Secret", child)));
    family.pods = items(&cluster.get(&list("api/v1", "pods"))?);
    for declared in &systems::kinds().declared {
        let info = declared.info();
        let path = format!("/apis/{}/namespaces/{namespace}/{}", info.api_version, info.plural);
        let bound =
            |one: &Json| one["spec"]["clusterRef"]["name"].as_str().unwrap_or("default") == name;
        family.declared.extend(items(&cluster.get(&path)?).into_iter().filter(bound));
    }
    Ok(family)
}
