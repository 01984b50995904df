//! KVCluster objects from YAML through validate and build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orrery_api::kv::{KVCluster, KVClusterSpec};
use orrery_api::spec::Release;
use orrery_runtime::{
    Carrier, Identity, Prepared, Redacted, Referenced, Resources, System, labels,
};
use orrery_systems::kv::Kv;
use orrery_systems::policy;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/kv/fixtures")
}

fn fixture(name: &str) -> KVCluster {
    let text = std::fs::read_to_string(fixtures().join(format!("{name}.yaml"))).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Every Secret a fixture may point to.
fn inputs() -> Referenced {
    let password = BTreeMap::from([("password".to_owned(), b"hunter2".to_vec())]);
    let pair = [("tls.crt", "BEGIN CERTIFICATE-----"), ("tls.key", "BEGIN PRIVATE KEY-----")];
    let pair = pair.map(|(key, text)| (key.to_owned(), format!("-----{text}").into_bytes()));
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let keys = keys.map(|key| (key.to_owned(), b"x".to_vec()));
    let authority = [("ca.crt".to_owned(), b"-----BEGIN CERTIFICATE-----".to_vec())];
    let source = BTreeMap::from([("address".to_owned(), b"redis.old.svc:6390".to_vec())]);
    Referenced {
        secrets: BTreeMap::from([
            ("shop-password".to_owned(), Redacted::new(password)),
            ("shop-tls".to_owned(), Redacted::new(BTreeMap::from(pair))),
            ("shop-s3".to_owned(), Redacted::new(BTreeMap::from(keys))),
            ("old-redis".to_owned(), Redacted::new(source)),
            ("old-redis-tls".to_owned(), Redacted::new(BTreeMap::from(authority))),
        ]),
        ..Referenced::default()
    }
}

fn build_on(object: &KVCluster, carrier: Carrier) -> Resources<Prepared> {
    let validated = Kv::validate(object, &inputs(), carrier).unwrap();
    let identity = Identity::of(object, "orrery:1.2.3", "1.2.3", carrier);
    let secured = carrier == Carrier::Cluster;
    Kv::build(&validated, &Identity { secured, ..identity })
}

pub(crate) fn build(object: &KVCluster) -> Resources<Prepared> {
    build_on(object, Carrier::Cluster)
}

fn pod_spec(resources: &Resources<Prepared>) -> k8s_openapi::api::core::v1::PodSpec {
    let set = resources.stateful_sets[0].spec.as_ref().unwrap();
    set.template.spec.clone().unwrap()
}

const FIXTURES: [&str; 9] = [
    "minimal",
    "everything",
    "own-password",
    "followers",
    "shards",
    "tls",
    "archive-folder",
    "recovered",
    "adopt",
];

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
        assert_eq!(build(&fixture(name)).hash(), build(&fixture(name)).hash());
    }
}

#[test]
fn every_pod_keeps_the_restricted_profile() {
    for name in FIXTURES {
        let spec = pod_spec(&build(&fixture(name)));
        assert_eq!(policy::violations(&spec), Vec::<String>::new(), "{name}");
        assert_eq!(spec.automount_service_account_token, Some(false));
        for container in &spec.containers {
            let context = container.security_context.as_ref().unwrap();
            assert_eq!(context.read_only_root_filesystem, Some(true), "{}", container.name);
        }
    }
}

#[test]
fn every_child_has_the_six_labels_a_short_name_and_an_owner() {
    for name in FIXTURES {
        let mut object = fixture(name);
        object.metadata.uid = Some("0b0b".into());
        for child in children(&build(&object)) {
            let meta = &child["metadata"];
            let label = meta["name"].as_str().unwrap();
            assert!(label.len() <= 63, "{label}");
            for key in [
                labels::NAME,
                labels::INSTANCE,
                labels::COMPONENT,
                labels::PART_OF,
                labels::MANAGED_BY,
                labels::VERSION,
            ] {
                assert!(meta["labels"][key].is_string(), "{label}: {key}");
            }
            assert_eq!(meta["ownerReferences"][0]["uid"], "0b0b", "{label}");
            assert_eq!(meta["namespace"], "shop", "{label}");
        }
    }
}

/// Every child as JSON.
fn children(resources: &Resources<Prepared>) -> Vec<Value> {
    let json = serde_json::to_value(resources).unwrap();
    let lists = json.as_object().unwrap().values();
    lists.flat_map(|list| list.as_array().unwrap().clone()).collect()
}

#[test]
fn secret_content_is_never_part_of_what_is_built() {
    let text = serde_json::to_string(&build(&fixture("own-password"))).unwrap();
    assert!(text.contains("shop-password"), "the name of the Secret is");
    assert!(!text.contains("hunter2"));
}

/// Changes of a spec, and where each must be seen: pointer into the built objects, and value.
fn visible() -> Vec<(Value, &'static str, Value)> {
    vec![
        (
            json!({"storage": {"size": "5Gi"}}),
            "/stateful_sets/0/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
            json!("5Gi"),
        ),
        (
            json!({"storage": {"storageClassName": "fast"}}),
            "/stateful_sets/0/spec/volumeClaimTemplates/0/spec/storageClassName",
            json!("fast"),
        ),
        (json!({"resp": {"port": 7000}}), "/services/0/spec/ports/0/port", json!(7000)),
        (
            json!({"resp": {"port": 7000}}),
            "/stateful_sets/0/spec/template/spec/containers/0/ports/0/containerPort",
            json!(7000),
        ),
        (
            json!({"http": {"mode": "On", "port": 7001}}),
            "/services/0/spec/ports/1/port",
            json!(7001),
        ),
        (
            json!({"http": {"mode": "On", "port": 7001}}),
            "/stateful_sets/0/spec/template/spec/containers/0/ports/4/containerPort",
            json!(7001),
        ),
        (
            json!({"deletionPolicy": "Delete"}),
            "/stateful_sets/0/spec/persistentVolumeClaimRetentionPolicy/whenDeleted",
            json!("Delete"),
        ),
        (
            json!({}),
            "/stateful_sets/0/spec/persistentVolumeClaimRetentionPolicy/whenDeleted",
            json!("Retain"),
        ),
        (
            json!({"restart": "2026-01-01"}),
            "/stateful_sets/0/spec/template/metadata/annotations/orrery.dev~1restart",
            json!("2026-01-01"),
        ),
        (
            json!({"image": {"name": "mine:2"}}),
            "/stateful_sets/0/spec/template/spec/containers/0/image",
            json!("mine:2"),
        ),
        (
            json!({"image": {"pullPolicy": "Always"}}),
            "/stateful_sets/0/spec/template/spec/containers/0/imagePullPolicy",
            json!("Always"),
        ),
        (
            json!({"image": {"pullSecrets": [{"name": "registry"}]}}),
            "/stateful_sets/0/spec/template/spec/imagePullSecrets/0/name",
            json!("registry"),
        ),
        (
            json!({"resources": {"limits": {"cpu": 2}}}),
            "/stateful_sets/0/spec/template/spec/containers/0/resources/limits/cpu",
            json!("2"),
        ),
        (
            json!({"metadata": {"labels": {"team": "shop"}}}),
            "/stateful_sets/0/spec/template/metadata/labels/team",
            json!("shop"),
        ),
        (
            json!({"metadata": {"annotations": {"note": "x"}}}),
            "/services/2/metadata/annotations/note",
            json!("x"),
        ),
        (
            json!({"network": {"clients": "Cluster"}}),
            "/network_policies/0/spec/ingress/0/from/0/namespaceSelector",
            json!({}),
        ),
        (
            json!({"podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}}}}),
            "/stateful_sets/0/spec/template/spec/nodeSelector/disk",
            json!("ssd"),
        ),
        (
            json!({"podTemplate": {"spec": {"tolerations": [{"key": "kv", "operator": "Exists"}]}}}),
            "/stateful_sets/0/spec/template/spec/tolerations/0/key",
            json!("kv"),
        ),
        (
            json!({"podTemplate": {"spec": {"priorityClassName": "high"}}}),
            "/stateful_sets/0/spec/template/spec/priorityClassName",
            json!("high"),
        ),
        (
            json!({"podTemplate": {"spec": {"topologySpreadConstraints": [{"maxSkew": 2,
            "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]}}}),
            "/stateful_sets/0/spec/template/spec/topologySpreadConstraints/1/topologyKey",
            json!("rack"),
        ),
        (
            json!({"podTemplate": {"spec": {"affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}}}),
            "/stateful_sets/0/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
            json!([]),
        ),
    ]
}

#[test]
fn every_declared_field_is_seen_in_the_children() {
    for (spec, pointer, expected) in visible() {
        let mut object = KVCluster::new("default", serde_json::from_value(spec.clone()).unwrap());
        object.metadata.namespace = Some("shop".into());
        let built = serde_json::to_value(build(&object)).unwrap();
        assert_eq!(built.pointer(pointer), Some(&expected), "{spec} at {pointer}");
    }
}

#[test]
fn another_image_of_a_release_is_a_new_release_and_another_release_a_change_of_the_spec() {
    let object = KVCluster::new("default", KVClusterSpec::default());
    let validated = Kv::validate(&object, &inputs(), Carrier::Cluster).unwrap();
    let identity = Identity::of(&object, "orrery:1.2.3", "1.2.3", Carrier::Cluster);
    let built = |version: Option<&str>, image: &str| {
        let release = |version: &str| Release { catalog: "main".into(), version: version.into() };
        let released = version.map(|version| identity.running(&release(version), image.into()));
        let identity = released.unwrap_or_else(|| identity.clone());
        let mut built = Kv::build(&validated, &identity);
        built.mark_asked(&Kv::build(&validated, &identity.unreleased()));
        (built.asked_hash().unwrap(), built)
    };
    let (none, _) = built(None, "");
    let (asked, first) = built(Some("1.2.2"), "mirror/orrery:a");
    let (same, second) = built(Some("1.2.2"), "mirror/orrery:b");
    let (other, _) = built(Some("1.2.3"), "mirror/orrery:b");
    assert_eq!(asked, same, "the spec did not change");
    assert!(none != asked && asked != other, "the spec did");
    assert_ne!(first.hash(), second.hash());
    let template = first.stateful_sets[0].spec.clone().unwrap().template;
    let metadata = template.metadata.unwrap();
    assert_eq!(metadata.labels.unwrap()[labels::VERSION], "1.2.2");
    assert_eq!(metadata.annotations.unwrap()[labels::RELEASE], "main/1.2.2");
    let image = |built: &Resources<Prepared>| pod_spec(built).containers[0].image.clone().unwrap();
    assert_eq!([image(&first), image(&second)], ["mirror/orrery:a", "mirror/orrery:b"]);
}

#[test]
fn a_changed_configuration_changes_file_and_template() {
    let with = |spec: Value| {
        let object = KVCluster::new("default", serde_json::from_value(spec).unwrap());
        let built = build(&object);
        let file = built.config_maps[0].data.clone().unwrap()["kv.yaml"].clone();
        let template = built.stateful_sets[0].spec.clone().unwrap().template;
        let hash = template.metadata.unwrap().annotations.unwrap()[labels::CONFIG_HASH].clone();
        (file, hash)
    };
    let (plain_file, plain_hash) = with(json!({}));
    for (spec, line) in [
        (json!({"resp": {"databases": 32}}), "databases: 32"),
        (json!({"resp": {"maxClients": 7}}), "maxClients: 7"),
        (json!({"memory": {"limit": "1Mi"}}), "memoryLimitBytes: 1048576"),
        (json!({"defaultClass": "Cache"}), "defaultClass: \"Cache\""),
    ] {
        let (file, hash) = with(spec);
        assert!(file.lines().any(|l| l == line), "{line} in {file}");
        assert_ne!((file, hash), (plain_file.clone(), plain_hash.clone()));
    }
}

#[test]
fn a_user_cannot_take_the_labels_away_that_pods_are_found_by() {
    let spec = json!({"podTemplate": {"metadata": {"labels": {
        labels::NAME: "other", "team": "shop"
    }}}});
    let object = KVCluster::new("default", serde_json::from_value(spec).unwrap());
    let built = build(&object);
    let set = built.stateful_sets[0].spec.clone().unwrap();
    let pod = set.template.metadata.unwrap().labels.unwrap();
    assert_eq!(pod["team"], "shop");
    for (key, value) in set.selector.match_labels.unwrap() {
        assert_eq!(pod[&key], value, "{key}");
    }
}

#[test]
fn on_one_machine_a_password_of_the_users_own_is_mounted_alone() {
    let volumes = |carrier| pod_spec(&build_on(&fixture("own-password"), carrier)).volumes.unwrap();
    let local = &volumes(Carrier::Local)[1];
    assert_eq!(local.secret.as_ref().unwrap().secret_name.as_deref(), Some("shop-password"));
    let cluster = &volumes(Carrier::Cluster)[1];
    let sources = cluster.projected.as_ref().unwrap().sources.as_ref().unwrap();
    assert_eq!(sources.len(), 2);
}

#[test]
fn rules_of_the_operator_name_every_kind_that_is_built() {
    let rules = orrery_systems::kv::operator_rules();
    let may = |resource: &str, verb: &str| {
        rules.iter().any(|rule| {
            rule.resources.iter().flatten().any(|r| r == resource)
                && rule.verbs.iter().any(|v| v == verb)
        })
    };
    let built = serde_json::to_value(build(&fixture("everything"))).unwrap();
    for (list, children) in built.as_object().unwrap() {
        if children.as_array().unwrap().is_empty() {
            continue;
        }
        let resource = match list.as_str() {
            "pdbs" => "poddisruptionbudgets".to_owned(),
            "certificates" => "secrets".to_owned(),
            other => other.replace('_', ""),
        };
        for verb in ["get", "list", "watch", "create", "patch", "delete"] {
            assert!(may(&resource, verb), "{verb} {resource}");
        }
    }
    assert!(!may("*", "get") && !may("pods", "create") && !may("kvclusters", "delete"));
}
