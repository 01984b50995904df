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

/// What load as this user says.
fn bench(stage: &Stage, user: &str, more: &[&str]) -> String {
    let file = stage.data().with_file_name("password");
    std::fs::write(&file, "hunter2\n").expect("writable");
    let few = ["--seconds", "1", "--clients", "2", "--keys", "50"];
    let who = ["--user", user, "--password-file", file.to_str().expect("text")];
    let output = stage.run(&[&["bench", "default"], &few[..], &who, more].concat());
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
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
    let secret = "passwordSecret: {name: shop}";
    let load = r#"["+get", "+set", "+unlink", "~load:*"]"#;
    let user = format!(
        "{{name: shop, {secret}, rules: {rules}}}, {{name: load, {secret}, rules: {load}}}"
    );
    stage.write("kv.yaml", &specs(&format!("{{resp: {{users: [{user}]}}}}")));
    let mut shop = until("the user is let in", || {
        let mut client = connect(&cluster);
        (client.ask(&["AUTH", "shop", "hunter2"]) == "+OK").then_some(client)
    });
    assert_eq!(shop.ask(&["GET", "a"]), "1");
    assert!(shop.ask(&["SET", "a", "2"]).starts_with("-NOPERM"));
    let said = bench(&stage, "shop", &[]);
    assert!(said.contains("the user may not ask with DBSIZE"), "{said}");
    let said = bench(&stage, "shop", &["--yes"]);
    assert!(said.contains("does not let keys be removed: -NOPERM"), "{said}");
    let said = bench(&stage, "load", &["--yes", "--prefix", "load:"]);
    assert!(said.contains("errors      0") && said.contains("keys below load:"), "{said}");

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
