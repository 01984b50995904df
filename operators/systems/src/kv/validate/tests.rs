//! Bad specs and the reason each gets; every field of the not-yet table is refused.

use std::collections::BTreeMap;

use orrery_api::not_yet::NOT_YET;
use orrery_runtime::{Redacted, System};
use serde_json::{Value, json};

use super::*;
use crate::kv::Kv;

mod sharded;

fn object(name: &str, spec: Value) -> KVCluster {
    let mut object = KVCluster::new(name, serde_json::from_value(spec).unwrap());
    object.metadata.namespace = Some("shop".into());
    object
}

fn check_on(spec: Value, carrier: Carrier) -> Result<Validated, Refusal> {
    validate(&object("default", spec), &Referenced::default(), carrier)
}

fn check(spec: Value) -> Result<Validated, Refusal> {
    check_on(spec, Carrier::Cluster)
}

fn with_password(password: &[u8]) -> Referenced {
    let content = BTreeMap::from([("password".to_owned(), password.to_vec())]);
    Referenced {
        secrets: BTreeMap::from([("mine".to_owned(), Redacted::new(content))]),
        ..Referenced::default()
    }
}

#[test]
fn an_empty_spec_is_valid_on_both_carriers() {
    for carrier in [Carrier::Cluster, Carrier::Local] {
        let validated = check_on(json!({}), carrier).unwrap();
        assert_eq!(validated.config().memory_limit_bytes, 0);
        assert_eq!(validated.config().object.name, "default");
    }
}

/// The same with a journal that is carried elsewhere.
fn carried(mut spec: Value) -> Value {
    spec["journal"] = json!({"backend": "Postgres", "ref": {"name": "a"}});
    spec
}

/// A spec with two shards.
fn sharded(mut spec: Value) -> Value {
    spec["replicas"] = json!(2);
    spec["resp"] = json!({"clusterMode": "Slots"});
    spec
}

/// A spec for each field of the not-yet table, and the field it must be refused for.
fn not_yet_specs() -> Vec<(&'static str, Value)> {
    vec![
        ("spec.defaultClass", json!({"defaultClass": "Config"})),
        ("spec.resp.clusterMode", json!({"shardsPerPod": 2})),
        ("spec.memcached.mode", json!({"memcached": {"mode": "On"}})),
        ("spec.http.mode", sharded(json!({"http": {"mode": "On"}}))),
        ("spec.failover.primary", sharded(json!({"failover": {"primary": "default-kv-0"}}))),
        ("spec.adoptFrom", json!({"followers": 1, "adoptFrom": {"secretRef": {"name": "a"}}})),
        ("spec.archive", carried(json!({"archive": {"folder": {"claimName": "a"}}}))),
        ("spec.bootstrap", carried(json!({"bootstrap": {}}))),
        ("spec.synchronousFollowers", carried(json!({"followers": 1, "synchronousFollowers": 1}))),
    ]
}

#[test]
fn every_field_that_is_not_done_yet_is_refused_by_name() {
    let specs = not_yet_specs();
    for (field, spec) in &specs {
        let refusal = check(spec.clone()).expect_err(field);
        assert_eq!(refusal.reason, Reason::NotYetSupported, "{field}");
        assert_eq!(refusal.field.as_deref(), Some(*field));
        assert!(refusal.message.starts_with(field), "{}", refusal.message);
    }
    let listed = NOT_YET.iter().filter(|entry| entry.kind == "KVCluster").map(|entry| entry.field);
    let tested: Vec<&str> = specs.iter().map(|(field, _)| *field).collect();
    assert_eq!(listed.collect::<Vec<_>>(), tested, "the table and its test name the same fields");
}

#[test]
fn what_one_machine_cannot_do_is_refused_there_alone() {
    let specs = [
        ("spec.followers", json!({"followers": 1})),
        ("spec.replicas", sharded(json!({}))),
        ("spec.rollout.strategy", json!({"rollout": {"strategy": "Gated"}})),
        (
            "spec.maintenanceWindows",
            json!({"maintenanceWindows": [{"name": "n", "schedule": "0 2 * * *"}]}),
        ),
    ];
    for (field, spec) in specs {
        assert!(check(spec.clone()).is_ok(), "{field}");
        let refusal = check_on(spec, Carrier::Local).expect_err(field);
        assert_eq!(refusal.reason, Reason::NotOnThisCarrier, "{field}");
        assert_eq!(refusal.field.as_deref(), Some(field));
    }
}

#[test]
fn each_bad_spec_gets_its_reason_and_field() {
    let cases = [
        (json!({"storage": {"size": "0"}}), "spec.storage.size"),
        (json!({"storage": {"size": "9000Ei"}}), "spec.storage.size"),
        (json!({"memory": {"limit": "0"}}), "spec.memory.limit"),
        (json!({"memory": {"limit": "lots"}}), "spec.memory.limit"),
        (
            json!({"memory": {"limit": "2Gi"}, "resources": {"limits": {"memory": "1Gi"}}}),
            "spec.memory.limit",
        ),
        (
            json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}}}),
            "spec.resources.requests.cpu",
        ),
        (json!({"resources": {"limits": {"cpu": "fast"}}}), "spec.resources.limits.cpu"),
        (json!({"metadata": {"labels": {"a b": "c"}}}), "spec.metadata.labels"),
        (
            json!({"metadata": {"annotations": {"argocd.argoproj.io/x": "c"}}}),
            "spec.metadata.annotations",
        ),
        (json!({"failover": {"primary": "default-kv-1"}}), "spec.failover.primary"),
        (
            json!({"maintenanceWindows": [{"name": "n", "schedule": "0 2 * * 9"}]}),
            "spec.maintenanceWindows",
        ),
        (json!({"podTemplate": {"spec": {"nodeSelektor": {}, "x": 1}}}), "spec.podTemplate"),
        (json!({"podTemplate": {"spec": {"hostNetwork": true}}}), "spec.podTemplate"),
        (
            json!({"podTemplate": {"spec": {"containers": [
                {"name": "kv", "securityContext": {"privileged": true}}]}}}),
            "spec.podTemplate",
        ),
        (
            json!({"podTemplate": {"spec": {"containers": [{"name": "sidecar", "image": "x"}]}}}),
            "spec.podTemplate",
        ),
    ];
    for (spec, field) in cases {
        let refusal = check(spec.clone()).expect_err(&spec.to_string());
        assert_eq!(refusal.reason, Reason::InvalidSpec, "{spec}: {refusal}");
        assert_eq!(refusal.field.as_deref(), Some(field), "{spec}: {refusal}");
    }
}

#[test]
fn data_get_three_quarters_of_the_container_unless_told_otherwise() {
    let limit = |spec| check(spec).unwrap().config().memory_limit_bytes;
    let container = json!({"limits": {"memory": "1Gi"}});
    let three_quarters = (1_i64 << 30) / 100 * 75;
    assert_eq!(limit(json!({"resources": container})), three_quarters);
    assert_eq!(limit(json!({"resources": container, "memory": {"limit": "1Gi"}})), 1 << 30);
    assert_eq!(limit(json!({"memory": {"limit": "4Gi"}})), 4 << 30);
}

#[test]
fn a_name_that_leaves_no_room_for_children_is_refused() {
    let refused = |name: &str| {
        validate(&object(name, json!({})), &Referenced::default(), Carrier::Cluster)
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(refused(&"x".repeat(63)), Err(Reason::NameTooLong));
    assert_eq!(refused("a.b"), Err(Reason::InvalidSpec));
}

#[test]
fn a_password_must_exist_and_say_something() {
    let spec = json!({"resp": {"auth": {"secretRef": {"name": "mine"}}}});
    let with = |inputs: &Referenced| {
        validate(&object("default", spec.clone()), inputs, Carrier::Cluster)
            .map(|_| ())
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(with(&with_password(b"hunter2")), Ok(()));
    assert_eq!(with(&Referenced::default()), Err(Reason::RefNotFound));
    for bad in [&b""[..], b"\n", &[0xff, 0xfe], &[b'x'; 5000]] {
        assert_eq!(with(&with_password(bad)), Err(Reason::InvalidSpec), "{bad:?}");
    }
    let other_key = Referenced {
        secrets: BTreeMap::from([("mine".to_owned(), Redacted::new(BTreeMap::new()))]),
        ..Referenced::default()
    };
    assert_eq!(with(&other_key), Err(Reason::InvalidSpec));
}

#[test]
fn a_refusal_never_shows_the_password() {
    let spec = json!({"resp": {"auth": {"secretRef": {"name": "mine"}}}, "replicas": 1});
    let inputs = with_password(&[b"swordfish".as_slice(), &[0xff]].concat());
    let refusal = validate(&object("default", spec), &inputs, Carrier::Cluster).unwrap_err();
    assert!(!refusal.message.contains("swordfish"));
}

#[test]
fn a_certificate_must_exist_with_its_key_and_look_like_one() {
    const CHAIN: &[u8] = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    const KEY: &[u8] = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
    let spec = json!({"resp": {"tls":
        {"secretRef": {"name": "mine"}, "clientCertificates": "Required"}}});
    let with = |content: &[(&str, &[u8])]| {
        let content = content.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec()));
        let secrets = BTreeMap::from([("mine".to_owned(), Redacted::new(content.collect()))]);
        let inputs = Referenced { secrets, ..Referenced::default() };
        validate(&object("default", spec.clone()), &inputs, Carrier::Local).map(|_| ())
    };
    assert_eq!(with(&[("tls.crt", CHAIN), ("tls.key", KEY), ("ca.crt", CHAIN)]), Ok(()));
    let refused: [&[(&str, &[u8])]; 6] = [
        &[("tls.crt", CHAIN)],
        &[("tls.key", KEY)],
        &[("tls.crt", CHAIN), ("tls.key", b"swordfish")],
        &[("tls.crt", b""), ("tls.key", KEY)],
        &[("tls.crt", CHAIN), ("tls.key", KEY)],
        // An empty authority would let every client in, or none.
        &[("tls.crt", CHAIN), ("tls.key", KEY), ("ca.crt", b"")],
    ];
    for content in refused {
        let refusal = with(content).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert_eq!(refusal.field.as_deref(), Some("spec.resp.tls.secretRef"));
        assert!(!refusal.message.contains("swordfish"), "{}", refusal.message);
    }
    let missing = check(spec.clone()).unwrap_err();
    assert_eq!(missing.reason, Reason::RefNotFound);
}

#[test]
fn a_redis_to_take_over_must_have_an_address() {
    let spec = json!({"adoptFrom": {"secretRef": {"name": "old"}}});
    let with = |address: Option<&str>| {
        let content = address.map(|text| ("address".to_owned(), text.as_bytes().to_vec()));
        let secrets = [("old".to_owned(), Redacted::new(content.into_iter().collect()))];
        let inputs = Referenced { secrets: secrets.into(), ..Referenced::default() };
        validate(&object("default", spec.clone()), &inputs, Carrier::Cluster)
    };
    assert_eq!(with(Some("redis.old.svc:6380\n")).unwrap().adopt_port, Some(6380));
    for wrong in [None, Some(""), Some("redis"), Some("redis:0"), Some(":6379"), Some("a:b")] {
        let refusal = with(wrong).expect_err("it is refused");
        assert_eq!(refusal.field.as_deref(), Some("spec.adoptFrom.secretRef"), "{wrong:?}");
        assert_eq!(refusal.reason, Reason::InvalidSpec);
    }
    assert_eq!(check(spec.clone()).unwrap_err().reason, Reason::RefNotFound);
}

#[test]
fn a_redis_that_speaks_tls_needs_an_authority_and_a_certificate_needs_its_key() {
    const CHAIN: &[u8] = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    const KEY: &[u8] = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
    let tls = json!({"secretRef": {"name": "trust"}, "serverName": "redis.example"});
    let spec = json!({"adoptFrom": {"secretRef": {"name": "old"}, "tls": tls}});
    let with = |content: Option<&[(&str, &[u8])]>| {
        let address = BTreeMap::from([("address".to_owned(), b"redis:6380".to_vec())]);
        let mut secrets = BTreeMap::from([("old".to_owned(), Redacted::new(address))]);
        if let Some(content) = content {
            let content = content.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec()));
            secrets.insert("trust".to_owned(), Redacted::new(content.collect()));
        }
        let inputs = Referenced { secrets, ..Referenced::default() };
        validate(&object("default", spec.clone()), &inputs, Carrier::Cluster).map(|_| ())
    };
    assert_eq!(with(Some(&[("ca.crt", CHAIN)])), Ok(()));
    assert_eq!(with(Some(&[("ca.crt", CHAIN), ("tls.crt", CHAIN), ("tls.key", KEY)])), Ok(()));
    let refused: [&[(&str, &[u8])]; 5] = [
        &[("tls.crt", CHAIN), ("tls.key", KEY)],
        &[("ca.crt", b"")],
        &[("ca.crt", CHAIN), ("tls.crt", CHAIN)],
        &[("ca.crt", CHAIN), ("tls.key", KEY)],
        &[("ca.crt", CHAIN), ("tls.crt", CHAIN), ("tls.key", b"swordfish")],
    ];
    for content in refused {
        let refusal = with(Some(content)).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert_eq!(refusal.field.as_deref(), Some("spec.adoptFrom.tls.secretRef"));
        assert!(!refusal.message.contains("swordfish"), "{}", refusal.message);
    }
    assert_eq!(with(None).unwrap_err().reason, Reason::RefNotFound);
}

fn users(inputs: &Referenced, users: &Value) -> Result<Validated, Refusal> {
    let spec = json!({"resp": {"users": users}});
    validate(&object("default", spec), inputs, Carrier::Cluster)
}

#[test]
fn users_become_a_file_with_the_hashes_of_their_passwords() {
    let validated = users(
        &with_password(b"pw\n"),
        &json!([
            {"name": "shop", "passwordSecret": {"name": "mine"}, "rules": ["+@read", "(+set ~c:*)"]},
            {"name": "default", "rules": ["off"]},
        ]),
    )
    .unwrap();
    assert_eq!(
        validated.users.expose(),
        "user shop on #30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 +@read \
         (+set ~c:*)\nuser default on off\n"
    );
    assert!(!format!("{validated:?}").contains("30c952"), "not even the hash is shown");
}

#[test]
fn a_word_that_is_none_is_named_and_a_password_among_words_is_not() {
    let one = |rules: Value| {
        let list = json!([{"name": "shop", "passwordSecret": {"name": "mine"}, "rules": rules}]);
        users(&with_password(b"pw"), &list).map(|_| ()).unwrap_err()
    };
    for (rules, wanted) in [
        (json!(["+@read", "+@nosuch"]), "+@nosuch: Unknown command or category"),
        (json!(["+zadd"]), "+zadd: Unknown command"),
        (json!(["foo"]), "foo: Syntax error"),
        (json!(["allkeys", "~a"]), "~a: Adding a pattern after"),
        (json!(["nopass"]), "passwords come from Secrets alone"),
        (json!([">hunter2"]), "a password: passwords come from Secrets alone"),
    ] {
        let refusal = one(rules);
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert_eq!(refusal.field.as_deref(), Some("spec.resp.users[shop].rules"));
        assert!(refusal.message.contains(wanted), "{}", refusal.message);
        assert!(!refusal.message.contains("hunter2"), "{}", refusal.message);
    }
    let secret = json!({"name": "mine", "key": "other"});
    let list = json!([{"name": "shop", "passwordSecret": secret, "rules": ["on"]}]);
    let refusal = users(&with_password(b"pw"), &list).unwrap_err();
    assert!(refusal.message.contains("has no key `other`"), "{}", refusal.message);
    let refusal = users(&Referenced::default(), &list).unwrap_err();
    assert_eq!(refusal.reason, Reason::RefNotFound);
}

#[test]
fn only_the_secrets_that_are_used_are_looked_up() {
    let user = |name: &str, secret: &str| json!({"name": name, "passwordSecret": {"name": secret}, "rules": ["on"]});
    let spec = json!({
        "resp": {"auth": {"secretRef": {"name": "mine"}}, "tls": {"secretRef": {"name": "tls"}},
            "users": [user("a", "mine"), user("b", "b")]},
        "adoptFrom": {"secretRef": {"name": "old"}, "tls": {"secretRef": {"name": "old-tls"}}},
    });
    let references = Kv::references(&object("default", spec));
    let secret = |name: &str| orrery_runtime::Reference::Secret(name.into());
    assert_eq!(references, ["mine", "tls", "old", "old-tls", "b"].map(secret));
}

#[test]
fn a_sidecar_is_for_clusters_only() {
    let sidecar = json!({"podTemplate": {"spec": {"containers": [{
        "name": "sidecar", "image": "x", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}
        }
    }]}}});
    assert!(check_on(sidecar.clone(), Carrier::Cluster).is_ok());
    let refusal = check_on(sidecar, Carrier::Local).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotOnThisCarrier);
}

fn backup(succeeded: bool) -> orrery_api::backup::BackupStatus {
    let reason = if succeeded { "SnapshotTaken" } else { "DeadlineExceeded" };
    let status = if succeeded { "True" } else { "False" };
    let condition = json!({"type": "Succeeded", "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-11-26T01:00:00Z"});
    let archive = json!({"folder": {"claimName": "backups", "path": "kv"},
        "object": {"namespace": "shop", "name": "orders"}});
    serde_json::from_value(json!({"conditions": [condition], "position": 77, "archive": archive}))
        .unwrap()
}

fn with_backup(succeeded: bool) -> Referenced {
    let backups = BTreeMap::from([("b".to_owned(), backup(succeeded))]);
    Referenced { backups, ..Referenced::default() }
}

#[test]
fn a_backup_stands_for_its_archive_up_to_its_position_or_to_a_moment() {
    let check = |recovery: Value, inputs: &Referenced| {
        let object = object("copy", json!({"bootstrap": {"recovery": recovery}}));
        validate(&object, inputs, Carrier::Cluster)
    };
    let whole = check(json!({"backup": {"name": "b"}}), &with_backup(true)).unwrap();
    let file = whole.config().recovery.clone().unwrap();
    assert_eq!(file.from, "file:///recovery/kv/shop/orders");
    assert_eq!((file.target_position, file.target_time_us), (Some(77), None));
    assert_eq!((file.target_epoch, file.member), (Some(0), None));
    let moment = json!({"backup": {"name": "b"}, "targetTime": "1970-01-01T00:00:01.5Z"});
    let file = check(moment, &with_backup(true)).unwrap().config().recovery.clone().unwrap();
    assert_eq!((file.target_position, file.target_time_us), (None, Some(1_500_000)));
    let mut other = with_backup(true);
    other.backups.get_mut("b").unwrap().engine = Some("Scheduler".into());
    let refusal = check(json!({"backup": {"name": "b"}}), &other).unwrap_err();
    assert!(refusal.message.contains("is that of a Scheduler"), "{refusal}");
    let failed = check(json!({"backup": {"name": "b"}}), &with_backup(false)).unwrap_err();
    assert_eq!(failed.reason, Reason::BackupFailed);
}

#[test]
fn what_was_recovered_from_is_kept_when_the_backup_is_gone() {
    let mut object = object("copy", json!({"bootstrap": {"recovery": {"backup": {"name": "b"}}}}));
    assert_eq!(Kv::references(&object), [orrery_runtime::Reference::Backup("b".into())]);
    let found = validate(&object, &with_backup(true), Carrier::Cluster).unwrap();
    object.status = Some(orrery_api::kv::KVClusterStatus {
        recovered_from: Kv::recovered_from(&found).cloned(),
        ..orrery_api::kv::KVClusterStatus::default()
    });
    assert_eq!(Kv::references(&object), []);
    let later = validate(&object, &Referenced::default(), Carrier::Cluster).unwrap();
    assert_eq!(later.config(), found.config());
}

#[test]
fn the_members_of_a_group_share_an_archive_and_one_of_them_is_recovered() {
    let spec = json!({
        "followers": 2,
        "archive": {"folder": {"claimName": "backups"}},
        "bootstrap": {"recovery": {"backup": {"name": "b"}}},
    });
    let mut object = object("copy", spec);
    object.metadata.uid = Some("uid-7".into());
    let mut inputs = with_backup(true);
    inputs.backups.get_mut("b").unwrap().epoch = Some(4);
    let validated = validate(&object, &inputs, Carrier::Cluster).unwrap();
    let (archive, recovery) = (&validated.config().archive, &validated.config().recovery);
    assert_eq!(archive.as_ref().unwrap().owner.as_deref(), Some("uid-7"));
    let recovery = recovery.as_ref().unwrap();
    assert_eq!((recovery.target_position, recovery.target_epoch), (Some(77), Some(4)));
    assert_eq!(recovery.member.as_deref(), Some("copy-kv-0"));
}

#[test]
fn an_object_is_not_archived_where_it_is_recovered_from() {
    let archive = json!({"folder": {"claimName": "backups", "path": "kv"}});
    let recovery = json!({"folder": {"claimName": "backups", "path": "kv"},
        "object": {"namespace": "shop", "name": "orders"}});
    let spec = json!({"archive": archive, "bootstrap": {"recovery": {"archive": recovery}}});
    let check = |name: &str| {
        validate(&object(name, spec.clone()), &Referenced::default(), Carrier::Cluster)
    };
    let refusal = check("orders").unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("spec.archive"));
    assert!(check("orders-2").is_ok());
}

#[test]
fn a_secret_of_a_bucket_must_have_its_keys_with_or_without_their_prefix() {
    let spec = json!({"archive": {"bucket": {"name": "abc", "secretRef": {"name": "s"}}}});
    let check = |keys: &[&str]| {
        let content = keys.iter().map(|key| ((*key).to_owned(), b"x".to_vec())).collect();
        let secrets = BTreeMap::from([("s".to_owned(), Redacted::new(content))]);
        let inputs = Referenced { secrets, ..Referenced::default() };
        validate(&object("a", spec.clone()), &inputs, Carrier::Cluster)
    };
    assert!(check(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]).is_ok());
    assert!(check(&["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"]).is_ok());
    let message = check(&["AWS_ACCESS_KEY_ID"]).unwrap_err().message;
    assert!(message.contains("AWS_SECRET_ACCESS_KEY"), "{message}");
}

#[test]
fn the_secret_of_a_journal_must_have_what_its_engine_needs() {
    let check = |backend: &str, content: &[(&str, &str)], carrier: Carrier| {
        let spec = json!({"journal": {"backend": backend, "ref": {"name": "engine"}}});
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
        let content: BTreeMap<String, Vec<u8>> = content.iter().map(owned).collect();
        let inputs = Referenced {
            secrets: BTreeMap::from([("engine".to_owned(), Redacted::new(content))]),
            ..Referenced::default()
        };
        validate(&object("default", spec), &inputs, carrier)
            .map(|validated| validated.journal_ports)
            .map_err(|refusal| refusal.message)
    };
    let cluster = Carrier::Cluster;
    let host = ("host", "db-rw.shop.svc");
    let whole = [host, ("dbname", "app"), ("username", "app"), ("password", "x")];
    assert_eq!(check("Postgres", &whole, cluster), Ok(vec![5432]));
    let other = [host, ("dbname", "app"), ("user", "app"), ("port", "6000")];
    assert_eq!(check("Postgres", &other, cluster), Ok(vec![6000]));
    for (left, key) in [(&whole[1..], "host"), (&whole[..1], "dbname"), (&whole[..2], "username")] {
        let refusal = check("Postgres", left, cluster).expect_err(key);
        assert!(refusal.contains(&format!("`{key}`")), "{refusal}");
    }
    let odd = [host, ("dbname", "app"), ("user", "app"), ("port", "many")];
    assert!(check("Postgres", &odd, cluster).is_err_and(|refusal| refusal.contains("port")));

    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")];
    let bucket = [("address", "s3://bucket/prefix"), keys[0], keys[1]];
    assert_eq!(check("ObjectStore", &bucket, cluster), Ok(vec![443]));
    let own = [bucket[0], keys[0], keys[1], ("AWS_ENDPOINT_URL", "http://minio:9000")];
    assert_eq!(check("ObjectStore", &own, cluster), Ok(vec![9000]));
    assert!(check("ObjectStore", &bucket[..2], cluster).is_err());
    assert!(check("ObjectStore", &keys, cluster).is_err());
    let folder = [("address", "file:///var/journal")];
    assert!(check("ObjectStore", &folder, cluster).is_err(), "no pod has that folder");
    assert_eq!(check("ObjectStore", &folder, Carrier::Local), Ok(vec![]));
    let missing = validate(&object("default", carried(json!({}))), &Referenced::default(), cluster);
    assert!(missing.is_err_and(|refusal| refusal.reason == Reason::RefNotFound));
}
