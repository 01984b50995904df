//! KVNamespaces that are taken or refused, and what is said about them.

use orrery_api::not_yet::NOT_YET;
use serde_json::json;

use super::*;

fn namespace(name: &str, spec: Value) -> KVNamespace {
    KVNamespace::new(name, serde_json::from_value(spec).unwrap())
}

fn alone(spec: Value) -> Result<Value, Refusal> {
    let object = namespace("a", spec);
    Namespaces::validate(&object, &[&object], &Referenced::default())
}

#[test]
fn the_engine_gets_the_spec_as_it_stands() {
    let spec = json!({
        "match": {"prefix": "sess:"},
        "class": "Session",
        "ttl": {"defaultSeconds": 86400, "maxSeconds": 2_592_000},
        "quota": {"memory": "512Mi", "opsPerSecond": 50000, "maxValueBytes": 1_048_576},
    });
    assert_eq!(alone(spec.clone()), Ok(spec));
}

#[test]
fn every_field_that_is_not_done_yet_is_refused_by_name() {
    let cases = [
        ("spec.match.user", json!({"match": {"user": "u"}})),
        ("spec.class", json!({"match": {"prefix": "a"}, "class": "Flag"})),
        ("spec.revisions", json!({"match": {"prefix": "a"}, "revisions": 3})),
        (
            "spec.entries",
            json!({"match": {"prefix": "a"}, "entries": [{"key": "a", "value": "b"}]}),
        ),
        (
            "spec.eviction.policy",
            json!({"match": {"prefix": "a"}, "class": "Cache", "eviction": {"policy": "WTinyLfu"}}),
        ),
        ("spec.quota.connections", json!({"match": {"prefix": "a"}, "quota": {"connections": 5}})),
    ];
    for (field, spec) in &cases {
        let refusal = alone(spec.clone()).expect_err(field);
        assert_eq!(refusal.reason, Reason::NotYetSupported);
        assert_eq!(refusal.field.as_deref(), Some(*field));
    }
    let listed = NOT_YET.iter().filter(|entry| entry.kind == "KVNamespace").map(|e| e.field);
    let tested: Vec<&str> = cases.iter().map(|(field, _)| *field).collect();
    assert_eq!(listed.collect::<Vec<_>>(), tested, "the table and its test name the same fields");
}

#[test]
fn each_bad_spec_gets_its_field() {
    let cases = [
        (json!({"match": {}}), "spec.match"),
        (json!({"match": {"prefix": "a", "database": 1}}), "spec.match"),
        (json!({"match": {"prefix": "a"}, "class": "Session"}), "spec.ttl"),
        (
            json!({"match": {"prefix": "a"}, "ttl": {"defaultSeconds": 2, "maxSeconds": 1}}),
            "spec.ttl",
        ),
        (json!({"match": {"prefix": "a"}, "eviction": {}}), "spec.eviction"),
        (json!({"match": {"prefix": "a"}, "quota": {"memory": "0"}}), "spec.quota.memory"),
        (json!({"match": {"prefix": "a"}, "quota": {"memory": "much"}}), "spec.quota.memory"),
        (json!({"match": {"prefix": "a"}, "quota": {"memory": "9000Ei"}}), "spec.quota.memory"),
    ];
    for (spec, field) in cases {
        let refusal = alone(spec.clone()).expect_err(&spec.to_string());
        assert_eq!(refusal.reason, Reason::InvalidSpec, "{spec}");
        assert_eq!(refusal.field.as_deref(), Some(field), "{spec}");
    }
}

#[test]
fn of_two_that_match_the_same_keys_the_older_wins() {
    let spec = json!({"match": {"prefix": "a:"}});
    let (old, new) = (namespace("z-old", spec.clone()), namespace("a-new", spec));
    let siblings = [&old, &new];
    assert!(Namespaces::validate(&old, &siblings, &Referenced::default()).is_ok());
    let refusal = Namespaces::validate(&new, &siblings, &Referenced::default()).unwrap_err();
    assert_eq!(refusal.reason, Reason::Conflict);
    assert!(refusal.message.contains("z-old"), "{refusal}");
}

#[test]
fn overlapping_matches_are_fine_and_a_refused_object_claims_nothing() {
    let old = namespace("old", json!({"match": {"prefix": "a:"}, "class": "Session"}));
    let longer = namespace("longer", json!({"match": {"prefix": "a:b:"}}));
    let same = namespace("same", json!({"match": {"prefix": "a:"}}));
    let siblings = [&old, &longer, &same];
    assert!(
        Namespaces::validate(&old, &siblings, &Referenced::default()).is_err(),
        "a session without a time to live"
    );
    assert!(Namespaces::validate(&longer, &siblings, &Referenced::default()).is_ok());
    assert!(Namespaces::validate(&same, &siblings, &Referenced::default()).is_ok());
}

#[test]
fn without_a_reference_it_belongs_to_the_default_engine() {
    let object = namespace("a", json!({"match": {"database": 3}}));
    assert_eq!(Namespaces::engine_name(&object), "default");
    let other = namespace("a", json!({"match": {"database": 3}, "clusterRef": {"name": "big"}}));
    assert_eq!(Namespaces::engine_name(&other), "big");
    assert_eq!(Namespaces::default_engine().metadata.name.as_deref(), Some("default"));
}

#[test]
fn the_status_is_bound_when_accepted_and_its_figure_moves_in_steps() {
    let object = namespace("a", json!({"match": {"prefix": "c:"}}));
    let say = |accepted: bool, percent: i64| {
        let acceptance = Acceptance {
            accepted,
            figures: [(USED_MEMORY_PERCENT.to_owned(), percent)].into(),
            ..Acceptance::default()
        };
        Namespaces::summary(&object, CommonStatus::default(), Some(&acceptance))
    };
    let status = say(true, 42);
    assert_eq!(status.bound_to.as_deref(), Some("default"));
    assert_eq!(status.match_.as_deref(), Some("prefix c:"));
    assert_eq!(status.used_memory_percent, Some(40));
    assert_eq!(say(true, 43).used_memory_percent, Some(45));
    assert_eq!(say(true, i64::MAX).used_memory_percent, Some(1000));
    assert_eq!(say(false, 42).bound_to, None);
}
