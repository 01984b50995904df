//! Schedulers that are taken or refused.

use std::collections::BTreeMap;

use orrery_api::not_yet::NOT_YET;
use orrery_runtime::{Redacted, Reference, System as _};
use serde_json::{Value, json};

use super::super::Jobs;
use super::*;

fn object(name: &str, spec: Value) -> Scheduler {
    Scheduler::new(name, serde_json::from_value(spec).unwrap())
}

fn alone(spec: Value, carrier: Carrier) -> Result<Validated, Refusal> {
    validate(&object("default", spec), &Referenced::default(), carrier)
}

fn secret(keys: &[(&str, &str)]) -> Referenced {
    let content = keys.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    let content: BTreeMap<_, _> = content.collect();
    Referenced {
        secrets: BTreeMap::from([("s".to_owned(), Redacted::new(content))]),
        ..Referenced::default()
    }
}

#[test]
fn nothing_at_all_is_a_scheduler_on_both_carriers() {
    for carrier in [Carrier::Cluster, Carrier::Local] {
        let validated = alone(json!({}), carrier).unwrap();
        assert_eq!((validated.config.partitions, validated.config.targets.len()), (16, 0));
    }
}

#[test]
fn a_listener_that_speaks_tls_has_a_certificate_or_that_of_its_pods() {
    let tls = |name: &str| json!({"api": {"tls": {"secretRef": {"name": name}}}});
    let with = |spec: Value, keys: &[(&str, &str)]| {
        validate(&object("default", spec), &secret(keys), Carrier::Cluster)
    };
    let (chain, key) = ("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----");
    with(tls("s"), &[("tls.crt", chain), ("tls.key", key)]).unwrap();
    for keys in [&[("tls.crt", chain)][..], &[("tls.crt", "swordfish"), ("tls.key", key)]] {
        let refusal = with(tls("s"), keys).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("spec.api.tls.secretRef"));
        assert!(!refusal.message.contains("swordfish"), "{refusal}");
    }
    // The operator makes this one itself, and waits for none.
    with(tls("default-scheduler-identity"), &[]).unwrap();
    let own = object("default", tls("default-scheduler-identity"));
    assert_eq!(Jobs::references(&own), []);
    assert_eq!(Jobs::references(&object("default", tls("s"))), [Reference::Secret("s".into())]);
    let mut asks = tls("default-scheduler-identity");
    asks["api"]["tls"]["clientCertificates"] = json!("Required");
    let refusal = with(asks, &[]).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("spec.api.tls.clientCertificates"));
}

#[test]
fn what_is_not_carried_out_yet_is_refused_by_name_and_listed() {
    let carried = json!({"backend": "Postgres", "ref": {"name": "x"}});
    let cases = [
        (
            "spec.archive",
            json!({"archive": {"folder": {"claimName": "a"}}, "journal": carried.clone()}),
        ),
        (
            "spec.bootstrap",
            json!({"bootstrap": {"recovery": {"backup": {"name": "a"}}}, "journal": carried}),
        ),
    ];
    let listed: Vec<&str> =
        NOT_YET.iter().filter(|entry| entry.kind == "Scheduler").map(|e| e.field).collect();
    assert_eq!(listed, cases.each_ref().map(|(field, _)| *field));
    for (field, spec) in cases {
        let refusal = alone(spec, Carrier::Cluster).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotYetSupported, "{field}");
        assert_eq!(refusal.field.as_deref(), Some(field));
    }
}

#[test]
fn overdue_runs_are_told_to_a_target_that_is_there() {
    let spec = |target: &str| {
        let targets = json!([{"name": "pager", "host": "pager"}]);
        json!({"targets": targets, "overdue": {"target": target, "path": "/hook"}})
    };
    let validated = alone(spec("pager"), Carrier::Local).unwrap();
    let told = validated.config.overdue.unwrap();
    assert_eq!((&*told.target, told.path.as_deref()), ("pager", Some("/hook")));
    for target in ["", "mail"] {
        let refusal = alone(spec(target), Carrier::Cluster).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("spec.overdue.target"));
        assert_eq!(refusal.reason, Reason::InvalidSpec);
    }
}

#[test]
fn partitions_are_a_power_of_two() {
    for (count, taken) in [(1, true), (256, true), (0, false), (24, false), (512, false)] {
        let answer = alone(json!({"partitions": count}), Carrier::Cluster);
        assert_eq!(answer.is_ok(), taken, "{count}");
    }
}

#[test]
fn a_secret_of_a_target_must_have_its_keys() {
    let target = |more: Value| {
        let mut target = json!({"name": "a", "host": "a", "tls": "On"});
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object("default", json!({"targets": [target]}))
    };
    let s = json!({"name": "s"});
    let auth = target(json!({"authRef": s}));
    for (keys, taken) in [
        (vec![("token", "t")], true),
        (vec![("username", "u"), ("password", "p")], true),
        (vec![("header", "h"), ("value", "v")], true),
        (vec![("username", "u")], false),
        (vec![("token", "  ")], false),
        (vec![], false),
    ] {
        let answer = validate(&auth, &secret(&keys), Carrier::Cluster);
        assert_eq!(answer.is_ok(), taken, "{keys:?}");
    }
    let refusal = validate(&auth, &Referenced::default(), Carrier::Cluster).unwrap_err();
    assert_eq!(refusal.reason, Reason::RefNotFound);
    let signing = target(json!({"signingRef": s}));
    assert!(validate(&signing, &secret(&[("secret", "x")]), Carrier::Cluster).is_ok());
    assert!(validate(&signing, &secret(&[("token", "x")]), Carrier::Cluster).is_err());
    let ca = target(json!({"caSecretRef": s}));
    let pem = "-----BEGIN CERTIFICATE-----";
    assert!(validate(&ca, &secret(&[("ca.crt", pem)]), Carrier::Cluster).is_ok());
    assert!(validate(&ca, &secret(&[("ca.crt", "x")]), Carrier::Cluster).is_err());
    let open = target(json!({"caSecretRef": s, "tls": "Off"}));
    assert!(validate(&open, &secret(&[("ca.crt", pem)]), Carrier::Cluster).is_err());
}

#[test]
fn two_targets_of_one_name_are_refused() {
    let target = json!({"name": "a", "host": "a"});
    let refusal = alone(json!({"targets": [target, target]}), Carrier::Cluster).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidSpec);
}

#[test]
fn pools_that_cannot_be_made_are_refused() {
    let pool = |more: Value| {
        let mut pool = json!({"name": "tools", "image": "a", "size": 1});
        pool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pool
    };
    let with = |pools: Value| alone(json!({"pools": pools}), Carrier::Cluster);
    let taken = with(json!([pool(json!({})), pool(json!({"name": "other"}))])).unwrap();
    let address = &taken.config.pools[0].addresses[0];
    assert!(address.starts_with("default-scheduler-pool-tools."), "{address}");
    for (field, pools) in [
        ("spec.pools[tools]", json!([pool(json!({})), pool(json!({}))])),
        ("spec.pools[tools].env", json!([pool(json!({"env": [{"name": "ORRERY_LOG"}]}))])),
        ("spec.pools[tools].image", json!([pool(json!({"image": "a b"}))])),
        ("spec.pools[a.b].name", json!([pool(json!({"name": "a.b"}))])),
        (
            "spec.pools[tools].resources.requests.cpu",
            json!([pool(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}))]),
        ),
    ] {
        let refusal = with(pools).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidSpec, "{field}");
        assert_eq!(refusal.field.as_deref(), Some(field));
    }
    let reporting = pool(json!({"name": "reporting"}));
    let long = object(&"x".repeat(40), json!({"pools": [reporting]}));
    let refusal = validate(&long, &Referenced::default(), Carrier::Cluster).unwrap_err();
    assert_eq!(refusal.reason, Reason::NameTooLong);
    let refusal = alone(json!({"pools": [pool(json!({}))]}), Carrier::Local).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotOnThisCarrier);
}

#[test]
fn a_pod_template_keeps_the_restricted_profile() {
    let spec = json!({"podTemplate": {"spec": {"hostNetwork": true}}});
    let refusal = alone(spec, Carrier::Cluster).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("spec.podTemplate"));
}

#[test]
fn what_one_machine_cannot_do_is_said() {
    for spec in [
        json!({"rollout": {"strategy": "Gated"}}),
        json!({"adoptCronJobs": {"mode": "Annotated"}}),
        json!({"adoptCronJobs": {"mode": "Namespace"}}),
    ] {
        assert!(alone(spec.clone(), Carrier::Cluster).is_ok(), "{spec}");
        let refusal = alone(spec, Carrier::Local).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotOnThisCarrier);
    }
}

#[test]
fn several_pods_need_a_journal_elsewhere_and_its_secret() {
    let refused = alone(json!({"replicas": 2}), Carrier::Cluster).unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("spec.replicas"));
    assert!(refused.message.contains("Postgres, ObjectStore or Kafka"), "{}", refused.message);
    let spec = json!({"replicas": 2, "journal": {"backend": "Postgres", "ref": {"name": "s"}}});
    let asked = object("default", spec);
    let full = [("host", "db"), ("dbname", "d"), ("user", "u")];
    assert!(validate(&asked, &secret(&full), Carrier::Cluster).is_ok());
    for (inputs, field) in
        [(secret(&full[..2]), "spec.journal.ref"), (Referenced::default(), "spec.journal.ref")]
    {
        let refused = validate(&asked, &inputs, Carrier::Cluster).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some(field));
    }
    let refused = validate(&asked, &secret(&full), Carrier::Local).unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("spec.replicas"), "one machine has one pod");
}

/// A Backup that has succeeded, of an object of this kind.
fn with_backup(engine: Option<&str>) -> Referenced {
    let status = json!({
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "SnapshotTaken",
                        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "position": 1_764_120_000_500_000_i64, "epoch": 0, "engine": engine,
        "archive": {"folder": {"claimName": "backups"},
                    "object": {"namespace": "shop", "name": "old"}},
    });
    let status = serde_json::from_value(status).unwrap();
    Referenced { backups: BTreeMap::from([("b".to_owned(), status)]), ..Referenced::default() }
}

#[test]
fn a_backup_stands_for_a_moment_of_all_partitions_and_is_of_one_kind() {
    let of = |more: Value, inputs: &Referenced| {
        let mut recovery = json!({"backup": {"name": "b"}});
        recovery.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let new = object("new", json!({"bootstrap": {"recovery": recovery}}));
        validate(&new, inputs, Carrier::Cluster).map(|it| it.config.recovery.unwrap())
    };
    let inputs = with_backup(Some("Scheduler"));
    let file = of(json!({}), &inputs).unwrap();
    assert_eq!(file.from, "file:///recovery/shop/old");
    assert_eq!((file.target_time_us, file.target_position), (Some(1_764_120_000_500_000), None));
    let earlier = of(json!({"targetTime": "1970-01-01T00:00:01.5Z"}), &inputs).unwrap();
    assert_eq!((earlier.target_time_us, earlier.target_epoch), (Some(1_500_000), None));
    for other in [None, Some("KVCluster")] {
        let refusal = of(json!({}), &with_backup(other)).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("spec.bootstrap.recovery.backup"));
        assert!(refusal.message.contains("is that of a KVCluster"), "{refusal}");
    }
}

#[test]
fn an_archive_is_its_own_and_needs_its_credentials() {
    let bucket = json!({"archive": {"bucket": {"name": "abc", "secretRef": {"name": "s"}}}});
    let owned = object("jobs", bucket.clone());
    assert_eq!(Jobs::references(&owned), [Reference::Secret("s".into())]);
    let refusal = validate(&owned, &secret(&[]), Carrier::Cluster).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("spec.archive.bucket.secretRef"));
    let keys = secret(&[("AWS_ACCESS_KEY_ID", "u"), ("AWS_SECRET_ACCESS_KEY", "p")]);
    let file = validate(&owned, &keys, Carrier::Cluster).unwrap().config.archive.unwrap();
    assert_eq!(file.to, "s3://abc//jobs");
    let last = json!({"deletionPolicy": "Snapshot", "archive": {"folder": {"claimName": "a"}}});
    let refusal = alone(last, Carrier::Local).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotOnThisCarrier);
    let same = json!({
        "archive": {"folder": {"claimName": "a"}},
        "bootstrap": {"recovery": {"archive": {"folder": {"claimName": "a"},
                                               "object": {"namespace": "x", "name": "jobs"}}}},
    });
    let mut twice = object("jobs", same);
    twice.metadata.namespace = Some("x".into());
    let refusal = validate(&twice, &Referenced::default(), Carrier::Cluster).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("spec.archive"));
}
