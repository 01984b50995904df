//! The examples users start from are valid, on both carriers.

use std::path::{Path, PathBuf};

use kube::core::cel::{Validator, apply_defaults};
use orrery_api::generate::crds;
use orrery_api::kv::{KVCluster, KVNamespace};
use orrery_api::scheduler::{Schedule, Scheduler};
use orrery_runtime::cronjobs::{AdoptsCronJobs as _, CronJobSeen, Takes};
use orrery_runtime::{Carrier, Declared, Identity, Referenced, System};
use orrery_systems::kv::{Kv, Namespaces};
use orrery_systems::scheduler::{Jobs, Schedules};
use serde_json::Value;

/// Every document of every file in a folder.
fn read(folder: &Path) -> Vec<Value> {
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

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// What works on both carriers.
fn documents() -> Vec<Value> {
    read(&examples())
}

/// What needs a cluster.
fn of_clusters() -> Vec<Value> {
    read(&examples().join("cluster"))
}

#[test]
fn every_example_keeps_every_rule_of_its_kind() {
    for document in documents().into_iter().chain(of_clusters()) {
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

#[test]
fn the_examples_for_clusters_are_carried_out_whole() {
    let of = |kind: &str| -> Vec<Value> {
        of_clusters().into_iter().filter(|document| document["kind"] == kind).collect()
    };
    let engines: Vec<Scheduler> =
        of("Scheduler").into_iter().map(|json| serde_json::from_value(json).unwrap()).collect();
    let mut schedules: Vec<Schedule> =
        of("Schedule").into_iter().map(|json| serde_json::from_value(json).unwrap()).collect();
    let crons: Vec<CronJobSeen> =
        of("CronJob").into_iter().map(|json| serde_json::from_value(json).unwrap()).collect();
    assert_eq!((engines.len(), schedules.len(), crons.len()), (3, 3, 1));
    for engine in &engines {
        Jobs::validate(engine, &Referenced::default(), Carrier::Cluster).unwrap();
    }
    let named = |name: &str| engines.iter().find(|one| one.metadata.name.as_deref() == Some(name));
    for cron in &crons {
        let adopter = cron.metadata.annotations.as_ref().unwrap()["orrery.dev/adopt"].as_str();
        assert_ne!(Schedules::takes(named(adopter).unwrap()), Takes::None);
        schedules.push(Schedules::adopted(cron, named(adopter).unwrap(), false).unwrap());
    }
    for schedule in &schedules {
        Schedules::validate(schedule, &[schedule], &Referenced::default()).unwrap();
        let engine = Schedules::engine_name(schedule);
        let targets = named(engine).map(|engine| &engine.spec);
        if let Some(grpc) = &schedule.spec.action.grpc {
            assert!(targets.unwrap().targets.iter().any(|target| target.name == grpc.target));
        }
        if let Some(pooled) = &schedule.spec.action.pooled_pod {
            assert!(targets.unwrap().pools.iter().any(|pool| pool.name == pooled.pool));
        }
    }
}
