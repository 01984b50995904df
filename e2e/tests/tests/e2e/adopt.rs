//! A running Redis is taken over: it is followed, and one day nobody needs it any more.

use orrery_e2e_tests::client::Reply;
use orrery_e2e_tests::servers::{self, RedisMode};

use crate::kubernetes::Stage;
use crate::not_run::or_not_run;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_is_followed_and_then_left() {
    let _ = or_not_run!(servers::redis_server());
    let Some(stage) = Stage::new("adopt").await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let redis = servers::redis(folder.path(), RedisMode::Memory, None).expect("it starts");
    let mut source = redis.client().expect("it listens");
    source.call(&["SET", "early", "1"]).expect("it answers");

    let cluster = |spec: &str| {
        format!(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: a}}\nspec: {spec}\n"
        )
    };
    let adopting = cluster("{adoptFrom: {secretRef: {name: old-redis}}}");
    stage.apply(&adopting).await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    stage.until(&["get", "kvcluster/a", reason], |reason| reason == "RefNotFound").await;
    let secret = |address: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: old-redis}}\n\
             stringData: {{address: '{address}'}}\n"
        )
    };
    stage.apply(&secret(&redis.address.to_string())).await;
    let adopt = ["get", "kvcluster/a", "-o=jsonpath={.status.adopt}"];
    let following = r#"{"lagBytes":0,"state":"Following"}"#;
    stage.until(&adopt, |state| state == following).await;
    stage.ready("kvcluster/a").await;
    source.call(&["RPUSH", "late", "x", "y"]).expect("it answers");

    let password = stage.password("a").await;
    let mut client = stage.connect_with("a", &password).await;
    let refused = client.call(&["SET", "mine", "1"]).expect("it answers");
    assert!(matches!(refused, Reply::Error(text) if text.starts_with("READONLY")));
    // The source hears that it is on this disk.
    let waited = source.call(&["WAIT", "1", "30000"]).expect("it answers");
    assert_eq!(waited, Reply::Integer(1));

    stage.apply(&cluster("{}")).await;
    stage.until(&adopt, str::is_empty).await;
    stage.ready("kvcluster/a").await;
    drop(redis);
    let mut client = stage.connect_with("a", &password).await;
    assert_eq!(client.call(&["GET", "early"]).expect("it answers").text(), "1");
    assert_eq!(client.call(&["LLEN", "late"]).expect("it answers"), Reply::Integer(2));
    assert_eq!(client.call(&["SET", "mine", "1"]).expect("it answers"), Reply::Simple("OK".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_speaks_tls_is_followed_once_its_certificate_is_trusted() {
    let _ = or_not_run!(servers::redis_server());
    let Some(stage) = Stage::new("adopt-tls").await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let made = || rcgen::generate_simple_self_signed(["redis.example".to_owned()]);
    let (own, other) = (made().expect("a certificate"), made().expect("a certificate"));
    std::fs::write(folder.path().join("tls.crt"), own.cert.pem()).expect("writable");
    let key = own.signing_key.serialize_pem();
    std::fs::write(folder.path().join("tls.key"), key).expect("writable");
    let (redis, tls_port) = servers::redis_with_tls(folder.path()).expect("it starts");
    let mut source = redis.client().expect("it listens");
    source.call(&["SET", "early", "1"]).expect("it answers");
    let secret = |name: &str, key: &str, value: &str| {
        let value = value.replace('\n', "\\n");
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\n\
             stringData: {{{key}: \"{value}\"}}\n"
        )
    };
    stage.apply(&secret("old-redis", "address", &format!("127.0.0.1:{tls_port}"))).await;
    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: a}\n\
             spec:\n  adoptFrom:\n    secretRef: {name: old-redis}\n    \
             tls: {secretRef: {name: trust}, serverName: redis.example}\n",
        )
        .await;
    let condition = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")]}";
    let ready = ["get", "kvcluster/a", condition];
    stage
        .until(&ready, |ready| ready.contains("RefNotFound") && ready.contains("Secret trust"))
        .await;
    stage.apply(&secret("trust", "ca.crt", &other.cert.pem())).await;
    stage
        .until(&ready, |ready| {
            ready.contains("AdoptionFailing") && ready.contains("of no authority in ca.crt")
        })
        .await;
    // The Secret is read again: no restart, no change of the object.
    stage.apply(&secret("trust", "ca.crt", &own.cert.pem())).await;
    let adopt = ["get", "kvcluster/a", "-o=jsonpath={.status.adopt}"];
    let following = r#"{"lagBytes":0,"state":"Following"}"#;
    stage.until(&adopt, |state| state == following).await;
    stage.ready("kvcluster/a").await;
    source.call(&["RPUSH", "late", "x", "y"]).expect("it answers");
    let waited = source.call(&["WAIT", "1", "30000"]).expect("it answers");
    assert_eq!(waited, Reply::Integer(1));
    let mut client = stage.connect_with("a", &stage.password("a").await).await;
    assert_eq!(client.call(&["GET", "early"]).expect("it answers").text(), "1");
    assert_eq!(client.call(&["LLEN", "late"]).expect("it answers"), Reply::Integer(2));
}
