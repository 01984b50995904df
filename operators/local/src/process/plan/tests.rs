//! What becomes of a built StatefulSet on one machine.

use std::collections::BTreeMap;

use super::*;
use orrery_runtime::Redacted;
use serde_json::json;

fn resources(container: &serde_json::Value) -> Resources<Prepared> {
    let set = json!({
        "metadata": {"name": "default-kv", "namespace": "shop"},
        "spec": {
            "replicas": 2, "serviceName": "default-kv-headless", "selector": {},
            "template": {
                "metadata": {
                    "labels": {"app": "kv"}, "annotations": {"orrery.dev/config-hash": "abc"}},
                "spec": {
                    "terminationGracePeriodSeconds": 45,
                    "containers": [container],
                    "volumes": [
                        {"name": "config", "configMap": {"name": "default-kv"}},
                        {"name": "secrets", "secret": {"secretName": "default-kv"}},
                        {"name": "tls", "secret": {"secretName": "mine", "items": [
                            {"key": "tls.key", "path": "key.pem"}]}},
                        {"name": "scratch", "emptyDir": {}}],
                }},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        },
    });
    let map = json!({"metadata": {"name": "default-kv"}, "data": {"kv.yaml": "databases: 16\n"}});
    let mut resources = Resources::default();
    resources.config_maps = vec![serde_json::from_value(map).unwrap()];
    resources.secrets = vec![orrery_runtime::GeneratedSecret {
        given: BTreeMap::new(),
        metadata: serde_json::from_value(json!({"name": "default-kv"})).unwrap(),
        keys: Vec::new(),
    }];
    resources.stateful_sets = vec![serde_json::from_value(set).unwrap()];
    resources
}

fn container() -> serde_json::Value {
    json!({
        "name": "kv",
        "args": ["serve", "kv", "--config", "/etc/orrery/kv.yaml", "--data=/data", "--secrets",
            "/run/secrets/", "/datafoo", "$(ORRERY_POD)"],
        "env": [
            {"name": "ORRERY_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "ORRERY_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "SPOOL", "value": "/data/spool/$(ORRERY_POD)"},
            {"name": "ORRERY_LISTEN_RESP", "value": "0.0.0.0:6379"}],
        "ports": [
            {"name": "resp", "containerPort": 6379},
            {"name": "management", "containerPort": 9400}],
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/orrery"},
            {"name": "secrets", "mountPath": "/run/secrets"},
            {"name": "tls", "mountPath": "/etc/orrery/tls"},
            {"name": "data", "mountPath": "/data"}],
    })
}

fn found() -> Referenced {
    let mine = [("tls.key", b"KEY".to_vec()), ("tls.crt", b"CRT".to_vec())];
    let mine = mine.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Referenced {
        secrets: [("mine".to_owned(), Redacted::new(mine))].into(),
        ..Referenced::default()
    }
}

fn planned(container: &serde_json::Value) -> Result<Vec<Plan>, PlanError> {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::create(temporary.path()).unwrap();
    let mut plans = plan(&resources(container), &found(), &folder)?;
    // Paths below the data folder, the same on every machine.
    let root = format!("{}/", folder.root().display());
    let short = |path: &PathBuf| PathBuf::from(path.display().to_string().replace(&root, ""));
    for plan in &mut plans {
        plan.arguments.iter_mut().for_each(|a| *a = a.replace(&root, ""));
        plan.environment.values_mut().for_each(|v| *v = v.replace(&root, ""));
        plan.files = plan.files.iter().map(|(path, bytes)| (short(path), bytes.clone())).collect();
        plan.folders = plan.folders.iter().map(short).collect();
        plan.emptied = plan.emptied.iter().map(short).collect();
    }
    Ok(plans)
}

#[test]
fn mount_paths_become_folders_of_each_pod() {
    let plans = planned(&container()).unwrap();
    assert_eq!(plans.len(), 2);
    let second = &plans[1];
    assert_eq!(second.name, "default-kv-1");
    assert_eq!(
        second.arguments,
        [
            "serve",
            "kv",
            "--config",
            "mounts/shop/default-kv-1/config/kv.yaml",
            "--data=volumes/shop/data-default-kv-1",
            "--secrets",
            "mounts/shop/default-kv-1/secrets/",
            "/datafoo",
            "default-kv-1",
        ]
    );
    assert_eq!(second.grace_seconds, 45);
    let files: Vec<String> = second.files.keys().map(|path| path.display().to_string()).collect();
    assert_eq!(
        files,
        ["mounts/shop/default-kv-1/config/kv.yaml", "mounts/shop/default-kv-1/tls/key.pem"],
        "generated secrets are not made on one machine"
    );
    assert!(second.folders.contains(&PathBuf::from("mounts/shop/default-kv-1/secrets")));
    assert!(second.emptied.contains(&PathBuf::from("mounts/shop/default-kv-1/secrets")));
    assert!(second.emptied.iter().all(|folder| folder.starts_with("mounts")), "never the data");
}

#[test]
fn a_claim_that_is_named_is_one_folder_for_all_and_its_address_is_that_folder() {
    let mut container = container();
    let mounts = container["volumeMounts"].as_array_mut().unwrap();
    mounts.push(json!({"name": "archive", "mountPath": "/archive"}));
    let mut resources = resources(&container);
    let data = resources.config_maps[0].data.as_mut().unwrap();
    let file = "to: \"file:///archive/shop/a\"\nother: \"file:///archives\"\n";
    data.insert("kv.yaml".into(), file.into());
    let spec = resources.stateful_sets[0].spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    let volume = json!({"name": "archive", "persistentVolumeClaim": {"claimName": "backups"}});
    spec.volumes.as_mut().unwrap().push(serde_json::from_value(volume).unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::create(temporary.path()).unwrap();
    let plans = plan(&resources, &found(), &folder).unwrap();
    let shared = folder.volume("shop", "backups");
    for plan in &plans {
        assert!(plan.folders.contains(&shared) && !plan.emptied.contains(&shared));
        let written = plan.files.iter().find(|(path, _)| path.ends_with("kv.yaml")).unwrap().1;
        let wanted = file.replace("file:///archive/", &format!("file://{}/", shared.display()));
        assert_eq!(String::from_utf8_lossy(written), wanted);
    }
    let kept = volumes(&resources.stateful_sets[0], &folder);
    assert!(!kept.contains(&shared), "it goes with no object");
}

#[test]
fn a_projected_volume_has_the_files_of_all_its_sources() {
    let mut container = container();
    let mounts = container["volumeMounts"].as_array_mut().unwrap();
    mounts.push(json!({"name": "all", "mountPath": "/all"}));
    let mut resources = resources(&container);
    let spec = resources.stateful_sets[0].spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    let volume = |key: &str| {
        let items = json!([{"key": key, "path": format!("a/b/{key}")}]);
        let volume = json!({"name": "all", "projected": {"sources": [
            {"secret": {"name": "mine", "items": items}},
            {"configMap": {"name": "default-kv"}},
        ]}});
        serde_json::from_value::<Volume>(volume).unwrap()
    };
    spec.volumes.as_mut().unwrap().push(volume("tls.crt"));
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::create(temporary.path()).unwrap();
    let plans = plan(&resources, &found(), &folder).unwrap();
    let content = |end: &str| {
        let mut files = plans[0].files.iter();
        files.find(|(path, _)| path.ends_with(end)).map(|(_, bytes)| bytes.clone())
    };
    assert_eq!(content("all/a/b/tls.crt").as_deref(), Some(&b"CRT"[..]));
    assert_eq!(content("all/kv.yaml").as_deref(), Some(&b"databases: 16\n"[..]));
    let spec = resources.stateful_sets[0].spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    spec.volumes.as_mut().unwrap().pop();
    spec.volumes.as_mut().unwrap().push(volume("nowhere"));
    plan(&resources, &found(), &folder).expect_err("a key that is missing");
}

#[test]
fn variables_are_filled_in() {
    let environment = planned(&container()).unwrap().remove(0).environment;
    let get = |name: &str| environment.get(name).map(String::as_str);
    assert_eq!(get("ORRERY_POD"), Some("default-kv-0"));
    assert_eq!(get("ORRERY_NAMESPACE"), Some("shop"));
    assert_eq!(get("APP"), Some("kv"));
    assert_eq!(get("SPOOL"), Some("volumes/shop/data-default-kv-0/spool/default-kv-0"));
}

#[test]
fn a_changed_configuration_changes_the_hash() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::create(temporary.path()).unwrap();
    let hash =
        |resources: &Resources<Prepared>| plan(resources, &found(), &folder).unwrap()[0].hash();
    let before = resources(&container());
    let mut after = before.clone();
    let data = after.config_maps[0].data.get_or_insert_default();
    data.insert("kv.yaml".into(), "databases: 32\n".into());
    assert_eq!(hash(&before), hash(&before.clone()));
    assert_ne!(hash(&before), hash(&after));
}

#[test]
fn what_one_machine_cannot_do_is_an_error() {
    let mut odd = container();
    odd["env"] = json!([{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.odd"}}}]);
    assert_eq!(planned(&odd).unwrap_err().what, "the field spec.odd");
    let mut odd = container();
    odd["volumeMounts"] = json!([{"name": "nowhere", "mountPath": "/x"}]);
    assert_eq!(planned(&odd).unwrap_err().what, "the unknown volume nowhere");
}

#[test]
fn a_path_that_leaves_its_folder_is_refused() {
    assert_eq!(below(Path::new("/a"), "../b"), None);
    assert_eq!(below(Path::new("/a"), "/b"), None);
    assert_eq!(below(Path::new("/a"), "b/c"), Some(PathBuf::from("/a/b/c")));
}

#[test]
fn dollars_are_expanded_as_kubernetes_does() {
    let environment = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    let expand = |text| environment::expand(text, &environment);
    assert_eq!(expand("x$(A)y$(B)$$(A)$"), "x1y$(B)$(A)$");
}
