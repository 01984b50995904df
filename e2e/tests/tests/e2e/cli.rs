//! The commands against a cluster: by name, and as a plugin of kubectl.

use std::process::Command;

use orrery_e2e_cluster::{output_within, tool};
use orrery_e2e_tests::client::Reply;
use orrery_e2e_tests::orrery_binary;

use crate::kubernetes::{LIMIT, Stage};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(stage: &Stage, program: &std::path::Path, args: &[&str]) -> Said {
    run_with(stage, program, args, "")
}

/// The same with a password for those commands that log in.
fn run_with(stage: &Stage, program: &std::path::Path, args: &[&str], password: &str) -> Said {
    let binary = orrery_binary().expect("make test builds it first");
    let folder = tempfile::tempdir().expect("a folder");
    // Installed as a plugin: kubectl finds it by its name.
    let plugin = folder.path().join("kubectl-orrery");
    std::os::unix::fs::symlink(binary, plugin).expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.args(args).args(["-n", stage.namespace()]).env("KUBECONFIG", stage.kubeconfig());
    command.envs((!password.is_empty()).then_some(("ORRERY_PASSWORD", password)));
    command.env("PATH", format!("{}:{path}", folder.path().display()));
    let output = output_within(&mut command, LIMIT).expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_show_and_change_objects_by_name_and_as_a_plugin() {
    let Some(stage) = Stage::new("cli").await else { return };
    let orrery = orrery_binary().expect("make test builds it first");
    let none = run(&stage, &orrery, &["status"]);
    assert!(none.code == Some(0) && none.out.starts_with("there is none"), "{}", none.out);
    stage
        .apply("apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: a}\nspec: {}\n")
        .await;
    stage.ready("kvcluster/a").await;

    let status = run(&stage, &orrery, &["status", "a"]);
    assert_eq!(status.code, Some(0), "{}", status.err);
    for line in [
        &*format!("KVCluster {}/a   ", stage.namespace()),
        "├─ StatefulSet a-kv ",
        "│  └─ Pod a-kv-0 ",
        "1 of 1 pods ready",
        "Secret a-kv",
        "port 6379",
    ] {
        assert!(status.out.contains(line), "{line} is missing in\n{}", status.out);
    }
    assert!(!status.out.contains('\x1b'), "no colours off a terminal");
    let kubectl = tool("kubectl").expect("it was built with the cluster");
    let plugin = run(&stage, &kubectl, &["orrery", "status", "kvcluster/a"]);
    assert_eq!(plugin.out, status.out, "{}", plugin.err);

    let bundle = tempfile::tempdir().expect("a folder");
    let file = bundle.path().join("report.tar.gz");
    let file = file.to_str().expect("text");
    let report = run(&stage, &orrery, &["report", "-o", file]);
    assert_eq!(report.code, Some(0), "{}", report.err);
    let again = run(&stage, &orrery, &["report", "-o", file]);
    assert!(again.code == Some(1) && again.err.contains("--output FILE"), "{}", again.err);
    let listed = Command::new("tar").args(["tzf", file]).output().expect("it runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for path in [
        "/report.json",
        "/kvcluster-a/object.json",
        "/kvcluster-a/statefulset-a-kv.json",
        "/kvcluster-a/secret-a-kv",
        "/kvcluster-a/pod-a-kv-0.json",
        "/events.json",
        "/nodes.json",
        // These nodes keep no logs, and that is said.
        "/left-out.txt",
    ] {
        assert!(listed.contains(path), "{path} is missing in\n{listed}");
    }
    // Whether writes are wanted is no secret.
    let values = "-o=go-template={{range .items}}{{range $k, $v := .data}}{{if ne $k \"fenced\"}}\
                  {{$v}} {{$v|base64decode}} {{end}}{{end}}{{end}}";
    let secrets = stage.kubectl(&["get", "secrets", values]).await.expect("they can be read here");
    let secrets: Vec<&str> = secrets.split_whitespace().collect();
    let all = Command::new("tar").args(["xzOf", file]).output().expect("it runs").stdout;
    let all = String::from_utf8_lossy(&all).into_owned();
    assert!(!secrets.is_empty(), "there is something that must not be told");
    assert!(secrets.iter().all(|secret| !all.contains(secret)), "a secret was told");

    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    let slept = run(&stage, &orrery, &["hibernate", "a"]);
    assert!(slept.out.contains("see how it goes: orrery status a"), "{}{}", slept.out, slept.err);
    stage.until(&["get", "kvcluster/a", reason], |text| text == "Hibernated").await;
    let refused = run(&stage, &orrery, &["restart", "a"]);
    assert!(refused.code == Some(1) && refused.err.contains("orrery resume"), "{}", refused.err);
    assert_eq!(run(&stage, &kubectl, &["orrery", "resume", "kvcluster", "a"]).code, Some(0));
    stage.ready("kvcluster/a").await;
    let uid = ["get", "pod/a-kv-0", "-o=jsonpath={.metadata.uid}"];
    let before = stage.until(&uid, |uid| !uid.is_empty() && !uid.starts_with("Error")).await;
    assert_eq!(run(&stage, &orrery, &["restart", "a"]).code, Some(0));
    stage.until(&uid, |uid| !uid.is_empty() && !uid.starts_with("Error") && uid != before).await;
    let owned = ["get", "kvcluster/a", "--show-managed-fields", "-o=yaml"];
    let object = stage.kubectl(&owned).await.expect("it is there");
    assert!(object.contains("manager: orrery-cli"), "{object}");

    assert_eq!(run(&stage, &orrery, &["pause", "a"]).code, Some(0));
    stage.until(&["get", "kvcluster/a", reason], |text| text == "Paused").await;
    let alone = run(&stage, &orrery, &["promote", "a", "--to", "a-kv-1"]);
    assert!(alone.err.contains("it has no followers"), "{}", alone.err);
    let missing = run(&stage, &orrery, &["status", "nobody"]);
    assert!(missing.code == Some(1) && missing.err.contains("not found"), "{}", missing.err);
    let engine = run(&stage, &orrery, &["restart", "kvnamespace/x"]);
    assert!(engine.err.contains("name the engine it is bound to"), "{}", engine.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_service_refuses_writes_and_nobody_takes_over() {
    let Some(stage) = Stage::new("cli-fence").await else { return };
    let orrery = orrery_binary().expect("make test builds it first");
    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: a}\n\
             spec: {followers: 1, synchronousFollowers: 1}\n",
        )
        .await;
    stage.ready("kvcluster/a").await;
    let password = stage.password("a").await;
    let mut client = stage.connect_with("a", &password).await;
    assert_eq!(client.call(&["SET", "a", "x"]).expect("it answers"), Reply::Simple("OK".into()));
    let early = run(&stage, &orrery, &["unfence", "a"]);
    assert!(early.code == Some(1) && early.err.contains("it is not fenced"), "{}", early.err);

    let fenced = run(&stage, &orrery, &["fence", "a"]);
    assert!(fenced.out.contains("refuses writes as soon as"), "{}{}", fenced.out, fenced.err);
    let ready =
        "-o=jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.reason}{end}";
    let is_fenced = |text: &str| text == "True FencedBySpec";
    stage.until(&["get", "kvcluster/a", ready], is_fenced).await;
    let available = "-o=jsonpath={.status.conditions[?(@.type==\"Available\")].status}";
    assert_eq!(stage.kubectl(&["get", "kvcluster/a", available]).await.as_deref(), Ok("False"));
    let refused = client.call(&["SET", "a", "y"]).expect("it answers");
    let says_so = |reply: &Reply| matches!(reply, Reply::Error(text) if text.starts_with("READONLY this service is fenced"));
    assert!(says_so(&refused), "{refused:?}");
    assert_eq!(client.call(&["GET", "a"]).expect("it answers"), Reply::Bulk(b"x".to_vec()));
    stage
        .until(&["get", "events", "-o=jsonpath={.items[*].reason}"], |text| {
            text.contains("FencedBySpec")
        })
        .await;

    // A change of the spec that needs other pods waits; pods that are deleted come back fenced.
    let uids = ["get", "pods", "-o=jsonpath={.items[*].metadata.uid}"];
    let before = stage.kubectl(&uids).await.expect("they are there");
    let restart = r#"{"spec":{"restart":"now"}}"#;
    stage.kubectl(&["patch", "kvcluster/a", "--type=merge", "-p", restart]).await.expect("valid");
    stage
        .until(&["get", "kvcluster/a", "-o=jsonpath={.status.observedGeneration}"], |text| {
            text == "3"
        })
        .await;
    stage.until(&["get", "kvcluster/a", ready], is_fenced).await;
    assert_eq!(stage.kubectl(&uids).await.as_deref(), Ok(before.as_str()), "no pod is replaced");
    stage.kubectl(&["delete", "pods", "--all"]).await.expect("they are there");
    stage
        .until(&uids, |now| {
            now.split(' ').count() == 2 && now.split(' ').all(|uid| !before.contains(uid))
        })
        .await;
    stage.until(&["get", "kvcluster/a", ready], is_fenced).await;
    let mut client = stage.connect_with("a", &password).await;
    let refused = client.call(&["SET", "a", "y"]).expect("it answers");
    assert!(says_so(&refused), "{refused:?}");

    assert_eq!(run(&stage, &orrery, &["unfence", "a"]).code, Some(0));
    stage.until(&["get", "kvcluster/a", ready], |text| text == "True Serving").await;
    let kept = stage.kubectl(&uids).await.expect("they are there");
    assert!(kept.split(' ').all(|uid| !before.contains(uid)), "{kept}");
    let mut client = stage.connect_with("a", &password).await;
    assert_eq!(client.call(&["SET", "a", "y"]).expect("it answers"), Reply::Simple("OK".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_waited_for_and_load_leaves_nothing_behind() {
    let Some(stage) = Stage::new("cli-load").await else { return };
    let orrery = orrery_binary().expect("make test builds it first");
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: backups}\n\
                 spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\n";
    let object = "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: a}\n\
                  spec: {archive: {folder: {claimName: backups, path: kv}}}\n";
    stage.apply(&format!("{claim}{object}")).await;
    stage.ready("kvcluster/a").await;
    let password = stage.password("a").await;

    let bench = |more: &[&str]| {
        let all = ["bench", "a", "--cluster", "--seconds", "1", "--clients", "4", "--keys", "100"];
        run_with(&stage, &orrery, &[&all, more].concat(), &password)
    };
    let stranger = run(&stage, &orrery, &["bench", "a", "--cluster", "--seconds", "1"]);
    let asked = stranger.code == Some(1) && stranger.err.contains("set ORRERY_PASSWORD");
    assert!(asked, "{}{}", stranger.out, stranger.err);
    let done = bench(&["--pipeline", "8", "--reads", "50"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    for part in [
        "4 clients, pipeline 8, 100 keys, values of 100 bytes, 50 % reads",
        "a second)",
        "p999 ",
        "errors      0",
        " keys are removed again",
    ] {
        assert!(done.out.contains(part), "{part} is missing in\n{}", done.out);
    }
    assert!(!done.out.contains(&password) && !done.err.contains(&password));
    let mut client = stage.connect("a").await;
    assert_eq!(client.call(&["DBSIZE"]).expect("it answers"), Reply::Integer(0));
    client.call(&["SET", "mine", "1"]).expect("it answers");
    let refused = bench(&[]);
    assert!(refused.code == Some(1) && refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(bench(&["--yes"]).code, Some(0));
    assert_eq!(client.call(&["KEYS", "*"]).expect("it answers").items().len(), 1);

    let made = run(&stage, &orrery, &["backup", "a", "--name", "one", "--wait"]);
    assert_eq!(made.code, Some(0), "{}{}", made.out, made.err);
    assert!(made.out.contains("backup/one is at ") && made.out.contains(", position "));
    let again = run(&stage, &orrery, &["backup", "a", "--name", "one"]);
    assert!(again.code == Some(1) && again.err.contains("already exists"), "{}", again.err);
    let other = run(&stage, &orrery, &["backup", "a"]);
    assert!(other.out.contains("see how it goes: kubectl get backup a-2"), "{}", other.out);
}
