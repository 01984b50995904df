//! Committed files that are made from the code: CRDs, the chart's copy of them, the operator's
//! RBAC rules, the pages of the kinds, alerts and dashboards. `write` makes them, `check` fails when one differs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

pub fn write(root: &Path) -> Result<()> {
    for (path, content) in files() {
        let file = root.join(&path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, content).with_context(|| format!("failed to write {path}"))?;
        println!("wrote {path}");
    }
    Ok(())
}

pub fn check(root: &Path) -> Result<()> {
    let stale: Vec<String> = files()
        .into_iter()
        .filter(|(path, content)| {
            std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(content)
        })
        .map(|(path, _)| path)
        .collect();
    if !stale.is_empty() {
        bail!("these files differ from the types; run `make generate`:\n  {}", stale.join("\n  "));
    }
    Ok(())
}

/// Relative path and content of every generated file.
fn files() -> Vec<(String, String)> {
    let crds = orrery_api::generate::crd_files();
    let mut files: Vec<(String, String)> = crds.iter().map(chart_copy).collect();
    files.extend(crds);
    files.extend(orrery_api::generate::doc_files());
    files.extend(crate::observe::files());
    files.push(("charts/orrery/files/kinds.yaml".to_owned(), kinds()));
    files.push(rules("rules.yaml", &operator_rules()));
    files.push(rules("cluster-rules.yaml", &cluster_rules()));
    files.push(rules("leader-rules.yaml", &leader_rules()));
    files
}

/// Singular of each kind with its resources, the plural first: what roles for users are made of.
fn kinds() -> String {
    let line = |crd: &CustomResourceDefinition| {
        let names = &crd.spec.names;
        let (plural, singular) = (&names.plural, names.singular.as_deref().unwrap_or_default());
        let subresources = crd.spec.versions.first().and_then(|v| v.subresources.as_ref());
        let mut resources = vec![plural.clone()];
        if subresources.is_some_and(|subresources| subresources.status.is_some()) {
            resources.push(format!("{plural}/status"));
        }
        if subresources.is_some_and(|subresources| subresources.scale.is_some()) {
            resources.push(format!("{plural}/scale"));
        }
        format!("{singular}: {}\n", json!(resources))
    };
    orrery_api::generate::crds().iter().map(line).collect()
}

/// What the operator does in the namespaces it works in: the rules of every system, and events.
fn operator_rules() -> Vec<Value> {
    let kv = orrery_systems::kv::operator_rules();
    let scheduler = orrery_systems::scheduler::operator_rules();
    let mut rules: Vec<Value> = kv.iter().chain(&scheduler).map(|rule| json!(rule)).collect();
    // Every kind of child is watched, so that one left over by an earlier version is found.
    rules.push(json!({
        "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"],
        "verbs": ["list", "watch"],
    }));
    rules.push(json!({
        "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"],
    }));
    rules
}

/// What the operator reads that belongs to no namespace, wherever it works.
fn cluster_rules() -> Vec<Value> {
    let verbs = ["get", "list", "watch"];
    vec![json!({"apiGroups": ["orrery.dev"], "resources": ["releasecatalogs"], "verbs": verbs})]
}

/// What leader election does in the operator's own namespace.
fn leader_rules() -> Vec<Value> {
    let verbs = ["get", "create", "update"];
    vec![json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": verbs})]
}

/// A list for `charts/orrery/files`; each rule is one line of JSON, which is YAML too.
fn rules(name: &str, rules: &[Value]) -> (String, String) {
    let lines: Vec<String> = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
    (format!("charts/orrery/files/{name}"), lines.concat())
}

/// A CRD as a template of `charts/orrery-crds`: one switch per system, kept on uninstall unless
/// told otherwise.
fn chart_copy((path, content): &(String, String)) -> (String, String) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let own = SYSTEMS.iter().find(|(prefix, _)| name.starts_with(prefix));
    let switch = own.map_or(SHARED, |(_, switch)| switch);
    let keep = "metadata:\n  annotations:\n    {{- if .Values.keep }}\n    \
                helm.sh/resource-policy: keep\n    {{- end }}\n    \
                app.kubernetes.io/part-of: orrery\n";
    // What the words of a kind have in two braces is no template.
    let content = content.replace("{{", "{{ \"{{\" }}");
    let kept = content.replacen("metadata:\n", keep, 1);
    let template = format!("{{{{- if {switch} }}}}\n{kept}{{{{- end }}}}\n");
    (format!("charts/orrery-crds/templates/{name}"), template)
}

/// What the files of a system's kinds begin with, and its switch in the chart.
const SYSTEMS: &[(&str, &str)] = &[
    ("kv", ".Values.systems.kv"),
    ("backup", ".Values.systems.kv"),
    ("schedule", ".Values.systems.scheduler"),
];
/// Kinds of all systems.
const SHARED: &str = "or .Values.systems.kv .Values.systems.scheduler";
