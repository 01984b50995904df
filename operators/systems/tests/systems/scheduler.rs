//! Scheduler objects from YAML through validate and build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orrery_api::scheduler::{Scheduler, SchedulerConfig};
use orrery_runtime::{
    Carrier, Identity, Prepared, Redacted, Reference, Referenced, Resources, System, labels,
};
use orrery_systems::policy;
use orrery_systems::scheduler::Jobs;
use serde_json::{Value, json};

const FIXTURES: [&str; 5] = ["minimal", "everything", "standby", "pools", "archived"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/scheduler/fixtures")
}

fn fixture(name: &str) -> Scheduler {
    let text = std::fs::read_to_string(fixtures().join(format!("{name}.yaml"))).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Every Secret a fixture points to.
fn inputs() -> Referenced {
    let secret = |name: &str, keys: &[(&str, &str)]| {
        let content = keys.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec()));
        (name.to_owned(), Redacted::new(content.collect::<BTreeMap<_, _>>()))
    };
    Referenced {
        secrets: BTreeMap::from([
            secret(
                "api-tls",
                &[
                    ("tls.crt", "-----BEGIN CERTIFICATE-----"),
                    ("tls.key", "-----BEGIN PRIVATE KEY-----"),
                ],
            ),
            secret("billing-ca", &[("ca.crt", "-----BEGIN CERTIFICATE-----")]),
            secret("billing-token", &[("token", "hunter2")]),
            secret("billing-signing", &[("secret", "whsec_hunter2")]),
            secret(
                "jobs-journal",
                &[("host", "db-rw"), ("dbname", "orrery"), ("username", "u"), ("password", "x")],
            ),
            secret("s3", &[("AWS_ACCESS_KEY_ID", "u"), ("AWS_SECRET_ACCESS_KEY", "hunter2")]),
            secret("mail-password", &[("username", "u"), ("password", "hunter2")]),
        ]),
        ..Referenced::default()
    }
}

fn build_on(object: &Scheduler, carrier: Carrier) -> Resources<Prepared> {
    let validated = Jobs::validate(object, &inputs(), carrier).unwrap();
    let identity = Identity::of(object, "orrery:1.2.3", "1.2.3", carrier);
    let secured = carrier == Carrier::Cluster;
    Jobs::build(&validated, &Identity { secured, ..identity })
}

fn build(object: &Scheduler) -> Resources<Prepared> {
    build_on(object, Carrier::Cluster)
}

#[test]
fn fixtures_give_these_objects() {
    let folder = fixtures().join("../snapshots");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false }, {
        for name in FIXTURES {
            insta::assert_yaml_snapshot!(name, build(&fixture(name)));
        }
    });
}

#[test]
fn the_same_object_gives_the_same_bytes() {
    for name in FIXTURES {
        let bytes = || serde_json::to_vec(&build(&fixture(name))).unwrap();
        assert_eq!(bytes(), bytes(), "{name}");
    }
}

#[test]
fn every_pod_keeps_the_restricted_profile_and_finds_its_configuration() {
    for name in FIXTURES {
        let built = build(&fixture(name));
        let set = built.stateful_sets[0].spec.clone().unwrap();
        let pod = set.template.spec.unwrap();
        assert_eq!(policy::violations(&pod), Vec::<String>::new(), "{name}");
        let file = built.config_maps[0].data.clone().unwrap()["scheduler.yaml"].clone();
        let read: SchedulerConfig = serde_saphyr::from_str(&file).unwrap();
        assert_eq!(read.object.namespace, "shop");
        let mounts = pod.containers[0].volume_mounts.clone().unwrap();
        let volumes: Vec<String> = pod.volumes.unwrap().into_iter().map(|v| v.name).collect();
        for mount in mounts.iter().filter(|mount| mount.name != "data") {
            assert!(volumes.contains(&mount.name), "{}", mount.name);
        }
    }
}

#[test]
fn pods_of_pools_keep_the_restricted_profile_and_are_none_of_the_engine() {
    let built = build(&fixture("pools"));
    assert_eq!(built.deployments.len(), 2);
    assert_eq!(built.replicas_wanted(), 1, "the engine's own");
    let engine = built.stateful_sets[0].spec.clone().unwrap().selector.match_labels.unwrap();
    for deployment in &built.deployments {
        let spec = deployment.spec.clone().unwrap();
        let pod = spec.template.spec.unwrap();
        assert_eq!(policy::violations(&pod), Vec::<String>::new());
        assert_eq!(pod.automount_service_account_token, Some(false));
        let labels = spec.template.metadata.unwrap().labels.unwrap();
        let selector = spec.selector.match_labels.unwrap();
        assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)));
        assert!(engine.iter().any(|(key, value)| labels.get(key) != Some(value)), "{labels:?}");
        assert!(!labels.contains_key(labels::MANAGED_BY), "the operator would ask it how it is");
        let secrets = pod.volumes.unwrap().into_iter().filter_map(|volume| volume.secret);
        let secrets: Vec<_> = secrets.filter_map(|secret| secret.secret_name).collect();
        assert_eq!(secrets, [deployment.metadata.name.clone().unwrap()], "no other token");
    }
    let asleep = build(&fixture("pools")).hibernated();
    let pods = |d: &k8s_openapi::api::apps::v1::Deployment| d.spec.as_ref().unwrap().replicas;
    assert!(asleep.deployments.iter().all(|deployment| pods(deployment) == Some(0)));
}

#[test]
fn only_a_change_that_the_engine_must_know_restarts_it() {
    let hash = |change: &dyn Fn(&mut Scheduler)| {
        let mut object = fixture("pools");
        change(&mut object);
        let template = build(&object).stateful_sets[0].spec.clone().unwrap().template;
        serde_json::to_string(&template).unwrap()
    };
    let before = hash(&|_| {});
    assert_eq!(before, hash(&|object| object.spec.pools[0].image = "other".to_owned()));
    assert_ne!(before, hash(&|object| object.spec.pools[0].size = 5));
}

#[test]
fn secret_content_is_never_part_of_what_is_built_and_each_secret_is_asked_for() {
    let object = fixture("everything");
    let text = serde_json::to_string(&build(&object)).unwrap();
    assert!(text.contains("billing-token") && !text.contains("hunter2"));
    let asked = Jobs::references(&object);
    let others = ["jobs-journal", "s3"];
    let known = inputs().secrets.into_keys().filter(|name| !others.contains(&name.as_str()));
    let known: Vec<Reference> = known.map(Reference::Secret).collect();
    assert!(known.iter().all(|secret| asked.contains(secret)) && asked.len() == known.len());
}

#[test]
fn on_one_machine_it_is_the_same_without_certificates() {
    let built = build_on(&fixture("everything"), Carrier::Local);
    assert!(built.certificates.is_empty());
    let pod = built.stateful_sets[0].spec.clone().unwrap().template.spec.unwrap();
    let arguments = pod.containers[0].args.clone().unwrap();
    assert!(!arguments.contains(&"--identity".to_owned()));
    assert!(arguments.contains(&"--targets".to_owned()));
}

#[test]
fn a_change_that_needs_a_restart_changes_the_template() {
    let hash = |spec: Value| {
        let built = build(&Scheduler::new("default", serde_json::from_value(spec).unwrap()));
        let template = built.stateful_sets[0].spec.clone().unwrap().template;
        template.metadata.unwrap().annotations.unwrap()[labels::CONFIG_HASH].clone()
    };
    let plain = hash(json!({}));
    for spec in [
        json!({"targets": [{"name": "a", "host": "a"}]}),
        json!({"history": {"keepRuns": 7}}),
        json!({"api": {"http": {"dkronCompat": "On"}}}),
    ] {
        assert_ne!(hash(spec.clone()), plain, "{spec}");
    }
    assert_eq!(hash(json!({"storage": {"size": "30Gi"}})), plain);
}

#[test]
fn clients_are_sent_to_the_owner_where_others_stand_by() {
    let object = fixture("standby");
    assert_eq!(Jobs::references(&object), [Reference::Secret("jobs-journal".into())]);
    let validated = Jobs::validate(&object, &inputs(), Carrier::Cluster).unwrap();
    let identity = Identity::of(&object, "orrery:1.2.3", "1.2.3", Carrier::Cluster);
    let chosen = |primaries: &[&str]| {
        let primaries = primaries.iter().map(|pod| (*pod).to_owned()).collect();
        let built = Jobs::build(&validated, &Identity { primaries, ..identity.clone() });
        let selector = built.services[0].spec.clone().unwrap().selector.unwrap();
        selector[labels::POD_NAME].clone()
    };
    assert_eq!(chosen(&[]), "jobs-scheduler-0");
    assert_eq!(chosen(&["jobs-scheduler-1"]), "jobs-scheduler-1");
    let groups = Jobs::groups(&validated, &identity);
    assert_eq!(groups[0].pods, ["jobs-scheduler-0", "jobs-scheduler-1"]);
    assert_eq!(Jobs::standing_groups(&object, &identity), groups);
    // A single pod is the owner, or nobody is.
    let built = build(&fixture("minimal"));
    let selector = built.services[0].spec.clone().unwrap().selector.unwrap();
    assert!(!selector.contains_key(labels::POD_NAME));
}

#[test]
fn runs_may_go_anywhere_and_clients_come_in_where_they_may() {
    let policy = build(&fixture("minimal")).network_policies[0].spec.clone().unwrap();
    let egress = serde_json::to_value(policy.egress).unwrap();
    assert_eq!(egress[0], json!({"ports": [{"protocol": "TCP"}]}));
    let ingress = serde_json::to_value(policy.ingress).unwrap();
    assert_eq!(ingress[0]["ports"][0]["port"], "api");
    assert_eq!(ingress[0]["from"][0], json!({"podSelector": {}}), "of the same namespace");
}

#[test]
fn rules_of_the_operator_name_the_kinds() {
    let rules = orrery_systems::scheduler::operator_rules();
    let may = |resource: &str, verb: &str| {
        rules.iter().any(|rule| {
            rule.resources.iter().flatten().any(|r| r == resource)
                && rule.verbs.iter().any(|v| v == verb)
        })
    };
    assert!(may("schedulers", "create") && may("schedules/status", "patch"));
    assert!(!may("schedules", "update") && !may("schedulers", "delete"));
    // Jobs are made and ended, CronJobs suspended and given back.
    assert!(may("jobs", "create") && !may("jobs", "update"));
    assert!(may("cronjobs", "patch") && !may("cronjobs", "delete"));
}
