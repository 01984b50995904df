//! Objects that cannot be: the API server refuses them, or the object says what is wrong and goes
//! on as soon as it is mended.

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::kubernetes::Stage;

/// The tables that the rules of the kinds are tested with, without a server, beside the kinds.
const TABLES: &str = "../../operators/api/tests/cel";

#[derive(Debug, Deserialize)]
struct Table {
    kind: String,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    spec: Value,
    old: Option<Value>,
    refused: Option<Refused>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    message: String,
}

fn object(kind: &str, name: &str, spec: &Value) -> String {
    let object = serde_json::json!({
        "apiVersion": "orrery.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    });
    object.to_string()
}

fn tables() -> Vec<Table> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLES);
    let files = std::fs::read_dir(folder).expect("the tables are beside the kinds");
    let read = |path: &Path| std::fs::read_to_string(path).expect("it is a file");
    files
        .map(|file| read(&file.expect("it lists").path()))
        .map(|text| serde_saphyr::from_str(&text).expect("it is a table"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_and_refuses_what_the_tables_say() {
    let Some(stage) = Stage::new("tables").await else { return };
    let mut wrong = String::new();
    for table in tables() {
        for (number, case) in table.cases.iter().enumerate() {
            let name = format!("case-{number}");
            if let Some(old) = &case.old {
                stage.apply(&object(&table.kind, &name, old)).await;
            }
            let new = object(&table.kind, &name, &case.spec);
            let result = stage.dry_run(&new).await;
            let told = match (&case.refused, &result) {
                (None, Ok(())) => continue,
                (Some(refused), Err(text)) if text.contains(&refused.message) => continue,
                (_, Ok(())) => "it was taken",
                (_, Err(text)) => text,
            };
            writeln!(wrong, "{} {}: {told}", table.kind, case.name).expect("a string takes it");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A spec that the schema takes and that cannot be carried out; the condition and reason it gets;
/// and what mends it.
struct Wrong {
    kind: &'static str,
    name: &'static str,
    spec: &'static str,
    condition: &'static str,
    reason: &'static str,
    mended: &'static str,
}

const WRONG: &[Wrong] = &[
    Wrong {
        kind: "KVCluster",
        name: "cached",
        spec: "{memcached: {mode: 'On'}, operation: Hibernate}",
        condition: "Stalled",
        reason: "NotYetSupported",
        mended: "{memcached: {mode: 'Off'}, operation: Hibernate}",
    },
    Wrong {
        kind: "KVCluster",
        name: "crowded",
        spec: "{shardsPerPod: 2, resp: {clusterMode: Slots, port: 9399}, operation: Hibernate}",
        condition: "Stalled",
        reason: "InvalidSpec",
        mended: "{shardsPerPod: 2, resp: {clusterMode: Slots, port: 9396}, operation: Hibernate}",
    },
    Wrong {
        kind: "KVCluster",
        name: "secretive",
        spec: "{resp: {auth: {secretRef: {name: nowhere}}}, operation: Hibernate}",
        condition: "Ready",
        reason: "RefNotFound",
        mended: "{operation: Hibernate}",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_says_why_and_recovers_when_it_is_mended() {
    let Some(stage) = Stage::new("wrong").await else { return };
    for wrong in WRONG {
        let manifest = |spec: &str| {
            format!(
                "apiVersion: orrery.dev/v1alpha1\nkind: {}\nmetadata: {{name: {}}}\nspec: {spec}\n",
                wrong.kind, wrong.name
            )
        };
        let target = format!("{}/{}", wrong.kind.to_lowercase(), wrong.name);
        let reason = |condition: &str| {
            format!("-o=jsonpath={{.status.conditions[?(@.type==\"{condition}\")].reason}}")
        };
        stage.apply(&manifest(wrong.spec)).await;
        let asked = reason(wrong.condition);
        stage.until(&["get", &target, &asked], |text| text == wrong.reason).await;
        stage.apply(&manifest(wrong.mended)).await;
        let asked = reason("Ready");
        stage.until(&["get", &target, &asked], |text| text == "Hibernated").await;
    }

    // A name that leaves no room for the children's is refused for good: another object mends it.
    let long = "a".repeat(63);
    stage
        .apply(&format!(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: {long}}}\nspec: {{}}\n"
        ))
        .await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Stalled\")].reason}";
    let target = format!("kvcluster/{long}");
    stage.until(&["get", &target, reason], |text| text == "NameTooLong").await;
    stage.kubectl(&["delete", &target, "--wait"]).await.expect("it goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_noticed_when_it_appears_and_gives_the_password() {
    let Some(stage) = Stage::new("secret").await else { return };
    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: a}\n\
             spec: {resp: {auth: {secretRef: {name: mine}}}}\n",
        )
        .await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    stage.until(&["get", "kvcluster/a", reason], |text| text == "RefNotFound").await;
    let make = ["create", "secret", "generic", "mine", "--from-literal=password=hunter2"];
    stage.kubectl(&make).await.expect("it is made");
    stage.ready("kvcluster/a").await;
    let mut client = stage.connect_with("a", "hunter2").await;
    let ok = client.call(&["SET", "k", "v"]).expect("it answers");
    assert_eq!(ok, orrery_e2e_tests::client::Reply::Simple("OK".into()));
}
