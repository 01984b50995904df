//! `orrery up`: start, edits, crashes, the end.

use nix::sys::signal::{Signal, kill};

use crate::stage::{Stage, connect, until};

const CLUSTER: &str = "\
apiVersion: orrery.dev/v1alpha1
kind: KVCluster
metadata: {name: default}
spec:
  resp: {databases: 16}
";

fn namespace(name: &str, prefix: &str) -> String {
    format!(
        "---\napiVersion: orrery.dev/v1alpha1\nkind: KVNamespace\nmetadata: {{name: {name}}}\nspec:\n  match: {{prefix: \"{prefix}\"}}\n  class: Cache\n"
    )
}

#[test]
fn a_file_becomes_a_service_that_keeps_its_data_over_ctrl_c() {
    let stage = Stage::new(&format!("{CLUSTER}{}", namespace("pages", "page:")));
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    stage.ready("KVNamespace", "pages", 1);
    up.says("redis-cli -p ");
    let mut client = connect(&cluster);
    assert_eq!(client.ask(&["PING"]), "+PONG");
    assert_eq!(client.ask(&["SET", "order:1", "paid"]), "+OK");
    up.interrupt();
    assert!(!stage.run(&["get"]).status.success(), "nothing runs any more");
    let up = stage.up();
    let again = stage.ready("KVCluster", "default", 1);
    let endpoint = |object: &serde_json::Value| object["status"]["endpoints"][0].clone();
    assert_eq!(endpoint(&again), endpoint(&cluster), "ports are kept");
    assert_eq!(connect(&again).ask(&["GET", "order:1"]), "paid");
    up.interrupt();
}

#[test]
fn an_edit_takes_effect_and_a_wrong_one_is_refused_while_the_old_state_serves() {
    let stage = Stage::new(CLUSTER);
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    let mut client = connect(&cluster);
    assert_eq!(client.ask(&["SET", "a", "1"]), "+OK");
    assert!(client.ask(&["SELECT", "20"]).starts_with("-ERR"), "there are 16 databases");

    stage.write("kv.yaml", &CLUSTER.replace("databases: 16", "databasse: 16"));
    up.says("specs/kv.yaml:5:10: spec.resp.databasse: is no field of this kind; did you mean \"databases\"?");
    up.says("what ran before goes on");
    assert_eq!(client.ask(&["GET", "a"]), "1");
    let get = stage.run(&["get"]);
    assert!(String::from_utf8_lossy(&get.stderr).contains("kv.yaml:5:10"), "{get:?}");

    stage.write("kv.yaml", &CLUSTER.replace("databases: 16", "databases: 32"));
    let cluster = stage.ready("KVCluster", "default", 2);
    let mut client = connect(&cluster);
    assert_eq!(client.ask(&["GET", "a"]), "1");
    assert_eq!(client.ask(&["SELECT", "20"]), "+OK");

    let before = stage.pid();
    stage.write("more.yaml", &namespace("pages", "page:"));
    stage.ready("KVNamespace", "pages", 1);
    assert_eq!(stage.pid(), before, "a declared object needs no restart");
    stage.remove("more.yaml");
    until("the namespace is gone", || stage.object("KVNamespace", "pages").is_none().then_some(()));
    up.interrupt();
}

#[test]
fn a_data_plane_that_is_killed_comes_back_with_everything_acknowledged() {
    let stage = Stage::new(CLUSTER);
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    for round in 0..3 {
        let mut client = connect(&cluster);
        let key = format!("key:{round}");
        until("the write is acknowledged", || {
            let answer = client.try_ask(&["SET", &key, "kept"]);
            if let Ok(answer) = answer {
                return (answer == "+OK").then_some(());
            }
            client = connect(&cluster);
            None
        });
        let old = stage.pid();
        kill(old, Signal::SIGKILL).unwrap();
        until("another process runs", || {
            let text = String::from_utf8(stage.run(&["describe", "kvcluster"]).stdout).unwrap();
            let line = text.lines().skip_while(|line| !line.contains("PROCESS")).nth(1)?;
            let pid = line.split_whitespace().nth(1)?;
            (pid != "-" && pid != old.to_string() && line.trim_end().ends_with("ready"))
                .then_some(())
        });
        let mut client = connect(&cluster);
        for earlier in 0..=round {
            assert_eq!(client.ask(&["GET", &format!("key:{earlier}")]), "kept");
        }
    }
    up.says("it was ended by SIGKILL");
    up.interrupt();
}

#[test]
fn a_second_up_on_the_same_folder_is_refused_and_told_who_has_it() {
    let stage = Stage::new(CLUSTER);
    let up = stage.up();
    stage.ready("KVCluster", "default", 1);
    let second = stage.run(&["up", "specs"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&format!("is in use by process {}", up.pid())), "{said}");
    up.interrupt();
}

#[test]
fn what_a_killed_up_leaves_behind_is_no_danger_to_the_next() {
    let stage = Stage::new(CLUSTER);
    let mut up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    assert_eq!(connect(&cluster).ask(&["SET", "a", "1"]), "+OK");
    let child = stage.pid();
    up.signal(Signal::SIGKILL);
    up.ended();
    if cfg!(target_os = "linux") {
        until("the data plane ends with its parent", || kill(child, None).is_err().then_some(()));
    }
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    assert_eq!(connect(&cluster).ask(&["GET", "a"]), "1");
    up.interrupt();
}

#[test]
fn a_namespace_alone_creates_the_engine_called_default() {
    let stage = Stage::new(&namespace("pages", "page:"));
    let up = stage.up();
    stage.ready("KVCluster", "default", 1);
    let pages = stage.ready("KVNamespace", "pages", 1);
    assert_eq!(pages["status"]["conditions"][0]["reason"], "AcceptedByEngine", "{pages}");
    up.interrupt();
}

#[test]
fn a_wrong_file_at_the_start_starts_nothing() {
    let stage = Stage::new("kind: KVCluster\n");
    let output = stage.run(&["up", "specs"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("apiVersion: is required"), "{said}");
    assert!(said.contains("nothing was started"), "{said}");
}
