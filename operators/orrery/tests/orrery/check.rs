//! `orrery check`: messages as people read them.

use crate::stage::Stage;

const HEAD: &str = "apiVersion: orrery.dev/v1alpha1\n";

/// Exit code and what was printed, with the folder's name taken out.
fn check(spec: &str) -> (Option<i32>, String) {
    let stage = Stage::new(spec);
    let output = stage.run(&["check", "specs"]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn namespace(spec: &str) -> String {
    format!("{HEAD}kind: KVNamespace\nmetadata: {{name: a}}\nspec:\n{spec}")
}

#[test]
fn bad_files_get_a_message_with_line_and_column() {
    let cases = [
        ("syntax", "a: [1, 2\nb: 3\n".to_owned()),
        ("kind", format!("{HEAD}kind: KVClustr\nmetadata: {{name: a}}\n")),
        ("version", "apiVersion: orrery.dev/v1\nkind: KVCluster\nmetadata: {name: a}\n".to_owned()),
        ("name", format!("{HEAD}kind: KVCluster\nmetadata: {{name: Bad_Name}}\nspec: {{}}\n")),
        (
            "unknown field",
            format!(
                "{HEAD}kind: KVCluster\nmetadata: {{name: a}}\nspec:\n  stroage: {{size: 1Gi}}\n"
            ),
        ),
        (
            "range",
            format!(
                "{HEAD}kind: KVCluster\nmetadata: {{name: a}}\nspec:\n  resp:\n    port: 70000\n"
            ),
        ),
        (
            "type",
            format!(
                "{HEAD}kind: KVCluster\nmetadata: {{name: a}}\nspec:\n  resp:\n    port: '6379'\n"
            ),
        ),
        ("class", namespace("  match: {prefix: \"a:\"}\n  class: Cahce\n")),
        ("two matches", namespace("  match: {prefix: \"a:\", database: 3}\n  class: Cache\n")),
        (
            "no such engine",
            namespace("  clusterRef: {name: nowhere}\n  match: {prefix: \"a:\"}\n  class: Cache\n"),
        ),
        (
            "not yet",
            format!("{HEAD}kind: KVCluster\nmetadata: {{name: a}}\nspec:\n  followers: 2\n"),
        ),
    ];
    let mut all = String::new();
    for (name, spec) in cases {
        let (code, text) = check(&spec);
        assert_eq!(code, Some(1), "{name}: {text}");
        assert!(text.contains("specs/kv.yaml:"), "{name}: {text}");
        all = format!("{all}# {name}\n{text}\n");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_good_file_says_what_it_would_change_against_what_ran_last() {
    let cluster =
        format!("{HEAD}kind: KVCluster\nmetadata: {{name: a}}\nspec:\n  resp: {{databases: 16}}\n");
    let stage = Stage::new(&cluster);
    let text = |output: std::process::Output| String::from_utf8(output.stdout).unwrap();
    let first = text(stage.run(&["check", "specs"]));
    assert_eq!(first, "1 resource is right; this would change:\n  + KVCluster default/a\n");
    let up = stage.up();
    stage.ready("KVCluster", "a", 1);
    up.interrupt();
    let same = text(stage.run(&["check", "specs"]));
    assert_eq!(same, "1 resource is right; nothing would change\n");
    stage.write("kv.yaml", &cluster.replace("16", "32"));
    let other = text(stage.run(&["check", "specs"]));
    let expected = "1 resource is right; this would change:\n  ~ KVCluster default/a\n      spec.resp.databases: 16 → 32\n";
    assert_eq!(other, expected);
}

#[test]
fn a_field_that_cannot_change_is_refused_against_what_ran_last() {
    let cluster = |size: &str| {
        format!(
            "{HEAD}kind: KVCluster\nmetadata: {{name: a}}\nspec:\n  storage: {{size: {size}}}\n"
        )
    };
    let stage = Stage::new(&cluster("2Gi"));
    let up = stage.up();
    stage.ready("KVCluster", "a", 1);
    up.interrupt();
    stage.write("kv.yaml", &cluster("1Gi"));
    let output = stage.run(&["check", "specs"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("kv.yaml:5:"), "{said}");
}

#[test]
fn an_object_that_one_machine_does_not_carry_out_is_named_with_what_to_do() {
    let backup =
        format!("{HEAD}kind: Backup\nmetadata: {{name: b}}\nspec:\n  cluster: {{name: a}}\n");
    let release = "spec: {release: {catalog: main, version: 9.0.0}}";
    let cluster = format!("{HEAD}kind: KVCluster\nmetadata: {{name: a}}\n{release}\n");
    let catalog = format!(
        "{HEAD}kind: ReleaseCatalog\nmetadata: {{name: main}}\n\
         spec: {{releases: [{{version: 9.0.0, image: \"orrery:9\"}}]}}\n"
    );
    let stage = Stage::new(&format!("{cluster}---\n{backup}---\n{catalog}"));
    let checked = stage.run(&["check", "specs"]);
    let said = String::from_utf8(checked.stdout).unwrap();
    let told =
        "Backup default/b does nothing here (NotOnThisCarrier): Backups are taken by the operator";
    assert!(checked.status.success() && said.contains(told), "{said}");
    assert!(said.contains("ReleaseCatalog default/main does nothing here"), "{said}");
    let up = stage.up();
    stage.ready("KVCluster", "a", 1);
    up.says("Backup default/b does nothing here (NotOnThisCarrier)");
    let listed = String::from_utf8(stage.run(&["get", "backup", "-o", "wide"]).stdout).unwrap();
    let described = String::from_utf8(stage.run(&["describe", "backup", "b"]).stdout).unwrap();
    assert!(described.contains("`spec.archive` of the object keeps every change"), "{described}");
    assert!(listed.contains("NotOnThisCarrier"), "{listed}");
    up.interrupt();
}

/// A Schedule of a stage, with this rule.
fn schedule(when: &str) -> String {
    format!(
        "{HEAD}kind: Schedule\nmetadata: {{name: report}}\nspec:\n  when: {{{when}}}\n  \
         action: {{http: {{url: \"http://127.0.0.1:1/\"}}}}\n"
    )
}

#[test]
fn a_change_of_a_schedule_says_which_runs_it_brings_and_which_it_leaves_out() {
    let stage = Stage::new(&schedule(r#"cron: "30 2 * * *", timeZone: Europe/Paris"#));
    let checked = || {
        let output = stage.run(&["check", "specs"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let new = checked();
    assert!(new.contains("  + Schedule default/report\n      next at "), "{new}");
    assert!(new.contains("T02:30:00 does not exist there and is left out"), "{new}");
    assert!(new.contains("T02:30:00 comes twice and is run the first time"), "{new}");
    let up = stage.up();
    stage.ready("Schedule", "report", 1);
    up.interrupt();
    assert!(checked().contains("nothing would change"));
    stage.write("kv.yaml", &schedule(r#"cron: "30 2,5 * * *", timeZone: Europe/Paris"#));
    let other = checked();
    assert!(other.contains("      adds "), "{other}");
    assert!(other.contains("T05:30:00") && !other.contains("leaves out"), "{other}");
    stage.write("kv.yaml", &schedule(r#"cron: "30 25 * * *""#));
    let refused = stage.run(&["check", "specs"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("kv.yaml:5:") && said.contains("(InvalidExpression)"), "{said}");
    stage.write("kv.yaml", &schedule(r#"cron: "0 0 31 2 *""#));
    let never = stage.run(&["check", "specs"]);
    let said = String::from_utf8_lossy(&never.stderr);
    assert!(said.contains("(NeverFires)"), "{said}");
}
