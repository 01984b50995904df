//! Walks every schema: what the API server or a user would trip over is refused here.

use kube::core::cel::compile_schema;
use orrery_api::generate::crds;
use serde_json::Value;

/// Calls `visit` with every schema below and including this one, and its path.
fn walk(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            walk(property, &format!("{path}.{name}"), visit);
        }
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}{suffix}"), visit);
        }
    }
}

/// Every schema node of every kind, with the kind in its path.
fn each(visit: &mut dyn FnMut(&str, &Value)) {
    for crd in crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        walk(&schema["openAPIV3Schema"], &crd.spec.names.kind, visit);
    }
}

fn collect(wrong: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    each(&mut |path, schema| {
        if wrong(path, schema) {
            found.push(path.to_owned());
        }
    });
    found
}

#[test]
fn the_walk_sees_fields_of_all_depths() {
    let all = collect(|_, _| true);
    assert!(all.len() > 100, "{}", all.len());
    for path in [
        "KVCluster.spec.resp.tls.secretRef.name",
        "KVCluster.spec.resources.limits{}",
        "KVNamespace.spec.entries[].value",
        "KVCluster.status.conditions[].type",
    ] {
        assert!(all.iter().any(|p| p == path), "{path}");
    }
}

#[test]
fn every_string_has_a_greatest_length() {
    let unbounded = collect(|_, schema| {
        schema["type"] == "string" && schema["enum"].is_null() && schema["maxLength"].is_null()
    });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn every_list_and_map_has_a_greatest_size() {
    let unbounded = collect(|_, schema| {
        (schema["type"] == "array" && schema["maxItems"].is_null())
            || (schema["additionalProperties"].is_object() && schema["maxProperties"].is_null())
    });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn every_integer_of_a_spec_has_two_bounds_and_every_other_a_lower_one() {
    let unbounded = collect(|path, schema| {
        let upper_needed = path.contains(".spec");
        schema["type"] == "integer"
            && (schema["minimum"].is_null() || (upper_needed && schema["maximum"].is_null()))
    });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn no_field_is_unsigned_or_a_float() {
    let wrong = collect(|_, schema| {
        schema["type"] == "number"
            || schema["format"].as_str().is_some_and(|format| format.starts_with("uint"))
    });
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_field_is_described() {
    let silent = collect(|path, schema| {
        let is_map_value = path.ends_with("{}");
        !is_map_value && schema["description"].as_str().is_none_or(str::is_empty)
    });
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn no_field_has_a_name_that_yaml_reads_as_a_boolean() {
    let words = ["on", "off", "yes", "no", "y", "n", "true", "false"];
    let wrong = collect(|_, schema| {
        let names = schema["properties"].as_object().into_iter().flatten();
        names.into_iter().any(|(name, _)| words.contains(&name.to_lowercase().as_str()))
    });
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_list_of_objects_is_keyed_or_says_that_it_is_one_value() {
    let plain = collect(|_, schema| {
        schema["items"]["type"] == "object"
            && schema["x-kubernetes-list-type"] != "map"
            && schema["x-kubernetes-list-type"] != "atomic"
    });
    assert_eq!(plain, Vec::<String>::new());
}

#[test]
fn every_rule_compiles_and_none_is_estimated_too_dear() {
    for crd in crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        walk(&schema["openAPIV3Schema"], &crd.spec.names.kind, &mut |path, node| {
            let compiled = compile_schema(node);
            assert!(!compiled.has_errors(), "{path}: {:?}", compiled.compilation_errors());
            for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let text = rule["rule"].as_str().unwrap();
                let warnings = kube::core::cel::estimate_rule_cost(text, &compiled);
                assert!(warnings.is_empty(), "{path}: {text}: {warnings:?}");
                assert!(!rule["message"].as_str().unwrap_or_default().is_empty(), "{path}: {text}");
            }
        });
    }
}

#[test]
fn kinds_carry_what_the_conventions_ask_for() {
    for crd in crds() {
        let (names, version) = (&crd.spec.names, &crd.spec.versions[0]);
        assert_eq!(crd.spec.group, orrery_api::GROUP);
        assert_eq!(version.name, orrery_api::VERSION);
        assert_eq!(names.categories.as_deref(), Some(&["orrery".to_owned()][..]));
        assert!(names.short_names.as_ref().is_some_and(|names| !names.is_empty()));
        // What a catalog says is nobody's to carry out: it has no status.
        let is_catalog = names.kind == "ReleaseCatalog";
        assert_eq!(crd.spec.scope, if is_catalog { "Cluster" } else { "Namespaced" });
        let subresources = version.subresources.clone().unwrap_or_default();
        assert_eq!(subresources.status.is_some(), !is_catalog);
        let columns: Vec<&str> = version
            .additional_printer_columns
            .iter()
            .flatten()
            .filter(|column| column.priority.unwrap_or(0) == 0)
            .map(|column| column.name.as_str())
            .collect();
        match names.kind.as_str() {
            "KVCluster" => {
                assert_eq!(
                    columns,
                    ["Ready", "Shards", "Durability", "Endpoint", "Version", "Age"]
                );
                assert!(subresources.scale.is_some());
            }
            "KVNamespace" => assert_eq!(columns, ["Ready", "Class", "Match", "Cluster", "Age"]),
            "Scheduler" => assert_eq!(
                columns,
                ["Ready", "Schedules", "Partitions", "Durability", "Endpoint", "Age"]
            ),
            "Schedule" => {
                assert_eq!(columns, ["Ready", "When", "Zone", "Next", "Last", "Suspend", "Age"]);
            }
            "Backup" => {
                assert_eq!(
                    columns,
                    ["Cluster", "Scheduler", "Succeeded", "Progress", "Position", "Age"]
                );
            }
            "BackupSchedule" => {
                assert_eq!(
                    columns,
                    ["Cluster", "Scheduler", "Schedule", "Ready", "Last", "Next", "Age"]
                );
            }
            "ReleaseCatalog" => assert_eq!(columns, ["Age"]),
            other => panic!("no expectation for kind {other}"),
        }
    }
}
