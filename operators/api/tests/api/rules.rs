//! The tables in `tests/cel`: objects and changes that must be taken or refused.
//!
//! Cases refused by `schema` (bounds, patterns, enums) and `rule` (CEL) are for the real API server;
//! those of CEL, and everything that is fine, are evaluated here too.

use std::path::Path;

use kube::core::cel::Validator;
use orrery_api::generate::crds;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: String,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The spec that is applied.
    spec: Value,
    /// The spec that was there before.
    old: Option<Value>,
    /// Who refuses it; nobody when absent.
    refused: Option<Refused>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    by: By,
    /// Part of the message.
    message: String,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum By {
    Rule,
    Schema,
}

fn tables() -> Vec<Table> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cel");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect()
}

fn schema_of(kind: &str) -> Value {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    serde_json::to_value(&crd.spec.versions[0].schema).unwrap()["openAPIV3Schema"].clone()
}

/// The object as the API server stores it: with defaults.
fn stored(schema: &Value, spec: &Value) -> Value {
    kube::core::cel::apply_defaults(schema, &json!({ "spec": spec }))
}

#[test]
fn every_case_ends_as_its_table_says() {
    let mut seen = 0;
    for table in tables() {
        let schema = schema_of(&table.kind);
        for case in &table.cases {
            let old = case.old.as_ref().map(|old| stored(&schema, old));
            let object = stored(&schema, &case.spec);
            let errors = Validator::new()
                .validate(&schema, &object, old.as_ref())
                .map_or_else(kube::core::cel::ValidationErrors::into_vec, |()| Vec::new());
            let label = format!("{}: {}", table.kind, case.name);
            match &case.refused {
                None => assert!(errors.is_empty(), "{label}: {errors:?}"),
                Some(refused) if refused.by == By::Rule => assert!(
                    errors.iter().any(|e| e.to_string().contains(&refused.message)),
                    "{label}: {errors:?}"
                ),
                Some(_) => {}
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} cases");
}

#[test]
fn every_rule_has_a_case_that_breaks_it() {
    for table in tables() {
        let schema = schema_of(&table.kind);
        let mut messages = Vec::new();
        // A status is written by the operator alone.
        collect_messages(&schema["properties"]["spec"], &mut messages);
        for message in messages {
            let broken = table
                .cases
                .iter()
                .filter_map(|case| case.refused.as_ref())
                .any(|refused| refused.by == By::Rule && message.contains(&refused.message));
            assert!(broken, "{}: no case for {message:?}", table.kind);
        }
    }
}

fn collect_messages(schema: &Value, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.push(rule["message"].as_str().unwrap().to_owned());
    }
    for child in schema["properties"].as_object().into_iter().flat_map(|map| map.values()) {
        collect_messages(child, found);
    }
    if schema["items"].is_object() {
        collect_messages(&schema["items"], found);
    }
}

#[test]
fn a_spec_written_from_the_types_is_what_defaults_make_of_an_empty_one() {
    let schema = schema_of("KVCluster");
    let from_types = serde_json::to_value(orrery_api::kv::KVClusterSpec::default()).unwrap();
    assert_eq!(stored(&schema, &json!({}))["spec"], from_types);
}
