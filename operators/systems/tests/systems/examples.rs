//! The examples users start from are valid, on both carriers.

use std::path::Path;

use kube::core::cel::{Validator, apply_defaults};
use orrery_api::generate::crds;
use orrery_api::kv::{KVCluster, KVNamespace};
use orrery_api::scheduler::Schedule;
use orrery_runtime::{Carrier, Declared, Identity, Referenced, System};
use orrery_systems::kv::{Kv, Namespaces};
use orrery_systems::scheduler::{Jobs, Schedules};
use serde_json::Value;

/// Every document of every file in `examples/`, with its defaults.
fn documents() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            for part in text.split("\n---\n") {
                documents.push(serde_saphyr::from_str(part).unwrap());
            }
        }
    }
    documents
}

#[test]
fn every_example_keeps_every_rule_of_its_kind() {
    for document in documents() {
        let kind = document["kind"].as_str().unwrap();
        let Some(crd) = crds().into_iter().find(|crd| crd.spec.names.kind == kind) else {
            continue;
        };
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let schema = &schema["openAPIV3Schema"];
        let stored = apply_defaults(schema, &document);
        let result = Validator::new().validate(schema, &stored, None);
        assert!(result.is_ok(), "{}: {result:?}", document["metadata"]["name"]);
    }
}

#[test]
fn the_example_of_kv_is_carried_out_whole() {
    let of = |kind: &str| -> Vec<Value> {
        documents().into_iter().filter(|document| document["kind"] == kind).collect()
    };
    let clusters: Vec<KVCluster> =
        of("KVCluster").into_iter().map(|json| serde_json::from_value(json).unwrap()).collect();
    let namespaces: Vec<KVNamespace> =
        of("KVNamespace").into_iter().map(|json| serde_json::from_value(json).unwrap()).collect();
    assert_eq!((clusters.len(), namespaces.len()), (2, 3));
    for carrier in [Carrier::Cluster, Carrier::Local] {
        for cluster in &clusters {
            let validated = Kv::validate(cluster, &Referenced::default(), carrier).unwrap();
            let identity = Identity::of(cluster, "orrery:1", "1", carrier);
            assert_eq!(Kv::build(&validated, &identity).len(), 10);
        }
    }
    let siblings: Vec<&KVNamespace> = namespaces.iter().collect();
    for namespace in &namespaces {
        Namespaces::validate(namespace, &siblings, &Referenced::default()).unwrap();
        assert_eq!(Namespaces::engine_name(namespace), "default");
    }
}

#[test]
fn the_example_of_schedules_is_carried_out_whole() {
    let schedules = documents().into_iter().filter(|document| document["kind"] == "Schedule");
    let schedules: Vec<Schedule> =
        schedules.map(|json| serde_json::from_value(json).unwrap()).collect();
    assert_eq!(schedules.len(), 1);
    for schedule in &schedules {
        Schedules::validate(schedule, &[schedule], &Referenced::default()).unwrap();
        assert_eq!(Schedules::engine_name(schedule), "default");
    }
    let engine = Schedules::default_engine();
    for carrier in [Carrier::Cluster, Carrier::Local] {
        Jobs::validate(&engine, &Referenced::default(), carrier).unwrap();
    }
}
