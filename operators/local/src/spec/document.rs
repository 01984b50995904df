//! One document of a file: which kind it is, and whether it is right in itself.
//!
//! Must not: look at other documents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use orrery_runtime::Redacted;
use regex::Regex;
use serde_json::{Value as Json, json};

use super::manifest::kind_names;
use super::problem::Problem;
use super::yaml::{Node, Value};
use super::{defaults, schema, suggest};
use crate::kinds::{KindInfo, Kinds};
use crate::objects::Key;

/// Namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A document that is right in itself.
#[derive(Debug)]
pub struct Document {
    pub file: PathBuf,
    pub node: Node,
    pub key: Key,
    pub content: Content,
}

/// What a document declares.
#[derive(Debug)]
pub enum Content {
    /// An object of ours, with defaults.
    Object(Json),
    Secret(Redacted<BTreeMap<String, Vec<u8>>>),
    ConfigMap(BTreeMap<String, String>),
    /// Something that has no meaning on one machine.
    Nothing,
}

impl Document {
    /// A problem with a field of this document.
    pub fn problem(&self, field: &str, message: impl Into<String>) -> Problem {
        problem(&self.file, &self.node, field, message)
    }
}

fn problem(file: &Path, node: &Node, field: &str, message: impl Into<String>) -> Problem {
    Problem {
        file: file.to_owned(),
        place: node.locate(field),
        field: field.to_owned(),
        message: message.into(),
    }
}

/// Reads one document.
pub fn read_document(file: &Path, node: Node, kinds: &Kinds) -> Result<Document, Vec<Problem>> {
    let say = |field: &str, message: String| vec![problem(file, &node, field, message)];
    if !matches!(node.value, Value::Mapping(_)) {
        return Err(say("", "must be a mapping with apiVersion, kind, metadata and spec".into()));
    }
    let text = |field: &str| match node.get(field).map(|node| node.as_str()) {
        Some(Some(text)) => Ok(text.to_owned()),
        Some(None) => Err(say(field, "must be text".into())),
        None => Err(say(field, "is required".into())),
    };
    let (api_version, kind) = match (text("apiVersion"), text("kind")) {
        (Ok(api_version), Ok(kind)) => (api_version, kind),
        (a, b) => return Err([a.err(), b.err()].into_iter().flatten().flatten().collect()),
    };
    let (name, namespace) = metadata(file, &node)?;
    let key = Key { kind, namespace, name };
    let content = match (api_version.as_str(), key.kind.as_str()) {
        // A claim that is named by a spec is a folder, which is made when it is used.
        ("v1", "Namespace" | "PersistentVolumeClaim") => Content::Nothing,
        ("v1", "Secret") => secret(&node).map_err(|message| say("", message))?,
        ("v1", "ConfigMap") => config_map(&node).map_err(|message| say("", message))?,
        (_, kind) => {
            let Some(info) = kinds.all().find(|info| info.kind == kind) else {
                let names = kind_names(kinds);
                let hint = suggest::hint(kind, names.iter().copied());
                let message =
                    format!("{kind:?} is not known here{hint}; known kinds: {}", names.join(", "));
                return Err(say("kind", message));
            };
            if info.api_version != api_version {
                let message = format!(
                    "must be {:?} for kind {kind}, but is {api_version:?}",
                    info.api_version
                );
                return Err(say("apiVersion", message));
            }
            Content::Object(object(file, &node, &key, info)?)
        }
    };
    Ok(Document { file: file.to_owned(), node, key, content })
}

/// Fields of the metadata that mean something here; the others may be there and are ignored.
const METADATA: [&str; 14] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "generation",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "finalizers",
    "ownerReferences",
    "generateName",
    "selfLink",
    "deletionTimestamp",
];

fn metadata(file: &Path, node: &Node) -> Result<(String, String), Vec<Problem>> {
    let schema = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 253},
        "namespace": {"type": "string", "maxLength": 63},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let Some(metadata) = node.get("metadata") else {
        return Err(vec![problem(file, node, "metadata.name", "is required")]);
    };
    let mut schema = schema;
    for name in METADATA {
        let properties = &mut schema["properties"];
        if properties.get(name).is_none() {
            properties[name] = json!({"x-kubernetes-preserve-unknown-fields": true});
        }
    }
    let mut problems = to_problems(file, schema::check(&schema, metadata, "metadata"));
    let text = |field: &str| metadata.get(field).and_then(Node::as_str).map(str::to_owned);
    let name = text("name").unwrap_or_default();
    let namespace = text("namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let word = Regex::new("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$").expect("the pattern is a constant");
    for (field, value) in [("metadata.name", &name), ("metadata.namespace", &namespace)] {
        if !value.is_empty() && !word.is_match(value) {
            let message = format!(
                "{value:?} must consist of lower-case letters, digits, '-' and '.', and start and end with a letter or digit"
            );
            problems.push(problem(file, node, field, message));
        }
    }
    if problems.is_empty() { Ok((name, namespace)) } else { Err(problems) }
}

fn to_problems(file: &Path, findings: Vec<schema::Finding>) -> Vec<Problem> {
    let problem = |finding: schema::Finding| Problem {
        file: file.to_owned(),
        place: finding.place,
        field: finding.field,
        message: finding.message,
    };
    findings.into_iter().map(problem).collect()
}

/// Checks an object of ours against its schema and fills in the defaults. A status is ignored, as
/// the API server ignores it.
fn object(file: &Path, node: &Node, key: &Key, info: &KindInfo) -> Result<Json, Vec<Problem>> {
    let mut problems = Vec::new();
    if let Value::Mapping(entries) = &node.value {
        let known = ["apiVersion", "kind", "metadata", "spec", "status"];
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let hint = suggest::hint(&entry.key, known);
            let message = format!("is no field of this kind{hint}");
            problems.push(problem(file, node, &entry.key, message));
        }
    }
    let spec_schema = &info.schema["properties"]["spec"];
    if let Some(spec) = node.get("spec") {
        problems.extend(to_problems(file, schema::check(spec_schema, spec, "spec")));
    } else {
        let required = info.schema["required"].as_array();
        if required.is_some_and(|names| names.contains(&json!("spec"))) {
            problems.push(problem(
                file,
                node,
                "spec",
                "is required; `spec: {}` takes all defaults",
            ));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut object = node.to_json();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let labels =
        ["labels", "annotations"].map(|name| (name, object["metadata"].get(name).cloned()));
    object["metadata"] = json!({"name": key.name, "namespace": key.namespace});
    for (name, value) in labels {
        if let Some(value) = value {
            object["metadata"][name] = value;
        }
    }
    if object["spec"].is_null() {
        object["spec"] = json!({});
    }
    defaults::apply(&info.schema, &mut object);
    Ok(object)
}

fn secret(node: &Node) -> Result<Content, String> {
    let secret: Secret =
        serde_json::from_value(node.to_json()).map_err(|_| "is no Secret".to_owned())?;
    let data = secret.data.into_iter().flatten().map(|(key, value)| (key, value.0));
    let text = secret.string_data.into_iter().flatten().map(|(k, v)| (k, v.into_bytes()));
    Ok(Content::Secret(Redacted::new(data.chain(text).collect())))
}

fn config_map(node: &Node) -> Result<Content, String> {
    let map: ConfigMap = serde_json::from_value(node.to_json())
        .map_err(|error| format!("is no ConfigMap: {error}"))?;
    Ok(Content::ConfigMap(map.data.unwrap_or_default()))
}
