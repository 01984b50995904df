//! The commands beside `up`.

use crate::stage::{Stage, connect, until};

const SPEC: &str = "\
apiVersion: orrery.dev/v1alpha1
kind: KVCluster
metadata: {name: default, namespace: shop}
spec: {}
";

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn get_describe_logs_and_down_talk_to_a_detached_up() {
    let stage = Stage::new(SPEC);
    let up = stage.run(&["up", "specs", "--detach"]);
    assert!(up.status.success(), "{up:?}");
    let said = text(&up);
    assert!(said.contains("redis-cli -p ") && said.contains("runs in the background"), "{said}");

    let list = text(&stage.run(&["get", "kv"]));
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("NAMESPACE   NAME      READY"), "{list}");
    assert!(lines[1].starts_with("shop        default   True"), "{list}");
    let yaml = text(&stage.run(&["get", "kvcluster", "default", "-o", "yaml"]));
    assert!(yaml.contains("\nkind: KVCluster\n") && yaml.contains("type: Ready"), "{yaml}");

    let described = text(&stage.run(&["describe", "kvcluster", "default"]));
    for part in ["Conditions:", "Processes:", "Events:", "default-kv-0", "Serving"] {
        assert!(described.contains(part), "{part} is missing: {described}");
    }
    until("the log has lines", || {
        (!text(&stage.run(&["logs", "kvcluster", "default"])).is_empty()).then_some(())
    });

    let verify = stage.run(&["verify"]);
    assert!(verify.status.success(), "{verify:?}");
    for part in ["the data is in use by process", "1 of 1 journals are whole"] {
        assert!(text(&verify).contains(part), "{part} is missing: {verify:?}");
    }
    let salvage = stage.run(&["verify", "--salvage", "rescued"]);
    assert_eq!(salvage.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&salvage.stderr).contains("`orrery down` first"));

    let down = stage.run(&["down"]);
    assert!(down.status.success(), "{down:?}");
    assert!(text(&stage.run(&["down"])).contains("nothing runs here"));
    let verify = stage.run(&["verify"]);
    assert!(verify.status.success(), "{verify:?}");
    assert!(text(&verify).contains("1 of 1 journals are whole"), "{verify:?}");
}

#[test]
fn damage_is_found_by_verify() {
    let stage = Stage::new(SPEC);
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    let mut client = connect(&cluster);
    for key in ["a", "b", "c"] {
        assert_eq!(client.ask(&["SET", key, "some value to be damaged"]), "+OK");
    }
    up.interrupt();
    let volume = stage.data().join("volumes/shop/data-default-kv-0");
    let segment = until("there is a segment", || find_segment(&volume));
    let mut bytes = std::fs::read(&segment).unwrap();
    let needle = b"some value";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let verify = stage.run(&["verify"]);
    assert_eq!(verify.status.code(), Some(1), "{verify:?}");
    assert!(text(&verify).contains("segment-"), "{verify:?}");

    let before = std::fs::read(&segment).unwrap();
    let salvage = stage.run(&["verify", "--salvage", "rescued"]);
    assert!(salvage.status.success(), "{salvage:?}");
    let said = text(&salvage);
    for part in ["salvaged into rescued/volumes/shop/", "ends at segment-", "lost: at least "] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    assert!(std::fs::read(&segment).unwrap() == before, "what is damaged stays as it is");
    let again = stage.run(&["verify", "--salvage", "rescued"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");

    // The data plane goes on with what is good.
    let journal = segment.parent().unwrap();
    let rescued = stage.data().parent().unwrap().join("rescued");
    let salvaged = rescued.join(journal.strip_prefix(stage.data()).unwrap());
    std::fs::rename(journal, journal.with_extension("damaged")).unwrap();
    std::fs::rename(salvaged, journal).unwrap();
    std::fs::remove_dir_all(journal.with_extension("damaged")).unwrap();
    assert!(stage.run(&["verify"]).status.success());
    let _up = stage.up();
    let mut client = connect(&stage.ready("KVCluster", "default", 1));
    assert_eq!(client.ask(&["GET", "a"]), "$-1", "the damage hit the first of them");
    assert_eq!(client.ask(&["SET", "a", "again"]), "+OK");
}

fn find_segment(folder: &std::path::Path) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let is_segment = entry.file_name().to_string_lossy().starts_with("segment-");
        if path.is_dir() {
            if let Some(found) = find_segment(&path) {
                return Some(found);
            }
        } else if is_segment {
            return Some(path);
        }
    }
    None
}

#[test]
fn errors_say_what_to_do_next() {
    let stage = Stage::new(SPEC);
    for (arguments, hint) in [
        (&["get"][..], "start with `orrery up`"),
        (&["crds", "kvclutser"][..], "known kinds: kvclusters"),
    ] {
        let output = stage.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
}

#[test]
fn definitions_completions_and_the_version_are_printed() {
    let stage = Stage::new(SPEC);
    let crds = text(&stage.run(&["crds"]));
    assert!(crds.contains("name: kvclusters.orrery.dev"), "{crds}");
    for plural in ["kvnamespaces", "backups", "backupschedules", "releasecatalogs"] {
        assert!(crds.contains(&format!("name: {plural}.orrery.dev")), "{crds}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&stage.run(&["completion", shell]));
        assert!(script.contains("orrery") && script.contains("describe"), "{shell}");
    }
    assert!(text(&stage.run(&["version"])).contains("systems: kv"));
}

#[test]
fn down_ends_an_up_that_runs_no_process() {
    let stage = Stage::new(&SPEC.replace("spec: {}", "spec: {operation: Hibernate}"));
    let up = stage.run(&["up", "specs", "--detach"]);
    assert!(up.status.success(), "{up:?}");
    let list = text(&stage.run(&["get", "kvcluster"]));
    assert!(!list.contains(".svc"), "a name of a cluster means nothing here: {list}");
    let down = text(&stage.run(&["down"]));
    assert!(down.contains("stopped; all data is kept"), "{down}");
    assert!(!stage.run(&["get"]).status.success());
}

#[test]
fn load_is_put_on_a_service_of_this_machine_and_nothing_is_left() {
    let stage = Stage::new(SPEC);
    let _up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    let bench = |more: &[&str]| {
        let all = ["bench", "default", "--seconds", "1", "--clients", "3", "--keys", "600"];
        stage.run(&[&all, more].concat())
    };
    let done = bench(&["--pipeline", "4"]);
    assert!(done.status.success(), "{done:?}");
    assert!(text(&done).contains("errors      0"), "{done:?}");
    let mut client = connect(&cluster);
    assert_eq!(client.ask(&["DBSIZE"]), ":0");
    assert_eq!(client.ask(&["SET", "mine", "1"]), "+OK");
    let refused = bench(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it holds 1 keys"), "{refused:?}");
    assert!(bench(&["--yes"]).status.success());
    assert_eq!(client.ask(&["DBSIZE"]), ":1");
    let nobody = stage.run(&["bench", "nobody"]);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("nothing of the name nobody"));
}
