//! Users of the spec: their passwords come from Secrets, and every change arrives without a restart.

use orrery_e2e_tests::client::{Client, Reply};

use crate::kubernetes::Stage;

fn secret(password: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: shop}}\nstringData: {{password: '{password}'}}\n"
    )
}

fn cluster(users: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: a}}\n\
         spec: {{resp: {{users: [{users}]}}}}\n"
    )
}

fn user(name: &str, rules: &str) -> String {
    format!("{{name: {name}, passwordSecret: {{name: shop}}, rules: {rules}}}")
}

/// A connection as this user, once the service lets it in.
async fn logged_in(stage: &Stage, name: &str, password: &str) -> Client {
    let own = stage.password("a").await;
    let started = std::time::Instant::now();
    loop {
        let mut client = stage.connect_with("a", &own).await;
        let said = client.call(&["AUTH", name, password]).expect("it answers");
        if said == Reply::Simple("OK".into()) {
            return client;
        }
        assert!(started.elapsed().as_secs() < 180, "{name} is not let in: {said:?}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_from_secrets_and_change_without_a_restart() {
    let Some(stage) = Stage::new("users").await else { return };
    let shop = user("shop", r#"["+@read", "+set", "~shop:*"]"#);
    stage.apply(&cluster(&shop)).await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    stage.until(&["get", "kvcluster/a", reason], |reason| reason == "RefNotFound").await;
    stage.apply(&secret("hunter2")).await;
    stage.ready("kvcluster/a").await;
    let uid = ["get", "pod/a-kv-0", "-o=jsonpath={.metadata.uid}"];
    let pod = stage.kubectl(&uid).await.expect("it is there");

    let mut client = logged_in(&stage, "shop", "hunter2").await;
    let ok = Reply::Simple("OK".into());
    assert_eq!(client.call(&["SET", "shop:1", "x"]).expect("it answers"), ok);
    let refused = client.call(&["SET", "other", "x"]).expect("it answers");
    assert!(matches!(refused, Reply::Error(text) if text.starts_with("NOPERM")));

    // Another user and fewer rights: the connection stays, and the pod does.
    let fewer = user("shop", r#"["+@read", "~shop:*"]"#);
    let blog = user("blog", r#"["+@all", "-@dangerous", "allkeys"]"#);
    stage.apply(&cluster(&format!("{fewer}, {blog}"))).await;
    let mut other = logged_in(&stage, "blog", "hunter2").await;
    assert_eq!(other.call(&["SET", "other", "x"]).expect("it answers"), ok);
    let refused = client.call(&["SET", "shop:1", "y"]).expect("it is connected");
    assert!(matches!(refused, Reply::Error(text) if text.starts_with("NOPERM")));
    assert_eq!(client.call(&["GET", "shop:1"]).expect("it is connected").text(), "x");

    // Another password; nobody told the operator.
    stage.apply(&secret("swordfish")).await;
    logged_in(&stage, "shop", "swordfish").await;
    assert_eq!(client.call(&["GET", "shop:1"]).expect("it is connected").text(), "x");

    // A user that is gone takes its connections along, and no other.
    stage.apply(&cluster(&fewer)).await;
    let started = std::time::Instant::now();
    while other.call(&["PING"]).is_ok() {
        assert!(started.elapsed().as_secs() < 180, "its user is gone");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert_eq!(client.call(&["GET", "shop:1"]).expect("it is connected").text(), "x");
    assert_eq!(stage.kubectl(&uid).await.expect("it is there"), pod, "the same pod");

    let wrong = user("shop", r#"["+@raed"]"#);
    stage.apply(&cluster(&wrong)).await;
    let message = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    stage.until(&["get", "kvcluster/a", message], |text| text.contains("+@raed: Unknown")).await;
    let told = [
        stage.operator_log(),
        stage
            .kubectl(&["get", "kvcluster,configmap,events", "-o=yaml"])
            .await
            .expect("they are read"),
    ];
    let hash = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    for text in told {
        assert!(!text.contains("hunter2") && !text.contains("swordfish") && !text.contains(hash));
    }
}
