//! What changes without a restart on one machine: users, and whether writes are refused.

use crate::stage::{Stage, connect, until};

const SECRET: &str = "\
---
apiVersion: v1
kind: Secret
metadata: {name: shop}
stringData: {password: hunter2}
";

fn specs(spec: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: default}}\n\
         spec: {spec}\n{SECRET}"
    )
}

#[test]
fn users_and_a_fence_come_and_go_without_a_restart() {
    let stage = Stage::new(&specs("{}"));
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    let pid = stage.pid();
    let mut default = connect(&cluster);
    assert_eq!(default.ask(&["SET", "a", "1"]), "+OK");

    let rules = r#"["+get", "allkeys"]"#;
    let user = format!("{{name: shop, passwordSecret: {{name: shop}}, rules: {rules}}}");
    stage.write("kv.yaml", &specs(&format!("{{resp: {{users: [{user}]}}}}")));
    let mut shop = until("the user is let in", || {
        let mut client = connect(&cluster);
        (client.ask(&["AUTH", "shop", "hunter2"]) == "+OK").then_some(client)
    });
    assert_eq!(shop.ask(&["GET", "a"]), "1");
    assert!(shop.ask(&["SET", "a", "2"]).starts_with("-NOPERM"));

    stage.write("kv.yaml", &specs(&format!("{{operation: Fence, resp: {{users: [{user}]}}}}")));
    let fenced = stage.ready("KVCluster", "default", 3);
    let conditions = fenced["status"]["conditions"].to_string();
    assert!(conditions.contains(r#""reason":"FencedBySpec""#), "{conditions}");
    assert!(default.ask(&["SET", "a", "2"]).starts_with("-READONLY this service is fenced"));
    assert_eq!(default.ask(&["GET", "a"]), "1", "reads go on");
    stage.write("kv.yaml", &specs("{}"));
    stage.ready("KVCluster", "default", 4);
    assert_eq!(default.ask(&["SET", "a", "2"]), "+OK", "the same connection");
    until("the user's connection ends", || shop.try_ask(&["GET", "a"]).err());
    assert_eq!(stage.pid(), pid, "the same process");
    up.interrupt();
}
