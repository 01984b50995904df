//! The product on a real API server: the operator runs as in its pod, data planes run as processes
//! of a node stand-in, and the user has kubectl and a Redis client.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use orrery_e2e_cluster::{Cluster, Namespace, Nodes, Processes, output_within, poll, poll_for};
use orrery_e2e_tests::client::{Client, Reply};
use orrery_e2e_tests::orrery_binary;
use orrery_e2e_tests::process::Process;
use orrery_kit::suite::free_port;

use crate::account;

/// Longest wait for something that takes seconds.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// A namespace with an operator for it, and nodes that run `orrery serve`.
pub(crate) struct Stage {
    cluster: Cluster,
    pub(crate) namespace: Namespace,
    pub(crate) operator: Process,
    /// Port of the operator's metrics and probes.
    pub(crate) http: u16,
    pub(crate) nodes: Nodes,
    folder: tempfile::TempDir,
}

/// The operator has the rights of the chart and no others.
fn start(namespace: &Namespace, http: u16, image: &str, folder: &Path) -> Process {
    let command = command(namespace, http, image, folder);
    let log = folder.join("operator.log");
    Process::start(command, &log, None).expect("the operator starts")
}

fn command(namespace: &Namespace, http: u16, image: &str, folder: &Path) -> Command {
    let mut command = Command::new(orrery_binary().expect("make test builds it first"));
    command.args(["operator", "--image", image, "--no-lease"]);
    command.args(["--namespaces", namespace.name(), "--lease-namespace", namespace.name()]);
    // Nobody here reads authorities but the pods, and those say when they have.
    command.args(["--lease-name", "orrery", "--authority-overlap", "0s"]);
    command.args(["--http", &format!("127.0.0.1:{http}")]);
    command.env("KUBECONFIG", account::kubeconfig_in(folder)).env("ORRERY_LOG", "text");
    command
}

impl Stage {
    /// None when there is no cluster to be had; the reason was printed.
    pub(crate) async fn new(name: &str) -> Option<Self> {
        let (cluster, nodes) = Cluster::shared_with_nodes().await?;
        Some(Self::on(cluster, nodes, name).await)
    }

    /// A stage on a cluster with toy nodes.
    pub(crate) async fn on(cluster: Cluster, nodes: Nodes, name: &str) -> Self {
        let binary = orrery_binary().expect("make test builds it first");
        let crds =
            output_within(Command::new(&binary).arg("crds"), LIMIT).expect("the binary runs");
        let crds = String::from_utf8(crds.stdout).expect("YAML is text");
        let applied = cluster
            .kubectl_with_input(["apply", "--server-side", "-f", "-"], &crds)
            .await
            .expect("kubectl runs");
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        assert!(cluster.kubectl(wait).await.expect("kubectl runs").status.success());

        let namespace = cluster.namespace(name).await.expect("a namespace");
        nodes.run_with(namespace.name(), Arc::new(Processes::new().program("orrery", &binary)));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let http = free_port();
        let image = "registry.example/orrery:test";
        account::install(&cluster, "orrery", namespace.name(), Some(namespace.name())).await;
        account::kubeconfig(&cluster, namespace.name(), "orrery", folder.path()).await;
        let operator = start(&namespace, http, image, folder.path());
        Self { cluster, namespace, operator, http, nodes, folder }
    }

    /// SIGKILL for the operator, and another one in its place.
    pub(crate) fn kill_operator(&mut self, image: &str) {
        self.operator.kill();
        let folder = self.folder.path();
        self.operator = start(&self.namespace, self.http, image, folder);
    }

    /// The operator of another release takes the place of the one that runs.
    pub(crate) fn upgrade(&mut self, image: &str) {
        self.operator.stop().expect("it ends by itself");
        let folder = self.folder.path();
        self.operator = start(&self.namespace, self.http, image, folder);
    }

    /// The operator starts anew, with more in its environment.
    pub(crate) fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.restart(&[], environment);
    }

    /// The operator starts anew, with more arguments.
    pub(crate) fn restart_flagged(&mut self, arguments: &[&str]) {
        self.restart(arguments, &[]);
    }

    fn restart(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        self.operator.stop().expect("it ends by itself");
        let folder = self.folder.path();
        let image = "registry.example/orrery:test";
        let mut command = command(&self.namespace, self.http, image, folder);
        command.args(arguments).envs(environment.iter().copied());
        self.operator = Process::start(command, &folder.join("operator.log"), None)
            .expect("the operator starts");
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where the operator's log and kubeconfig are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.namespace.name()
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        self.cluster.kubeconfig_path()
    }

    /// Everything the operators of this stage wrote.
    pub(crate) fn operator_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("operator.log")).expect("there is a log")
    }

    /// kubectl in the namespace of the test; its output, or what it complained about.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        let mut words = vec!["--namespace", self.namespace.name()];
        words.extend(args);
        let output = self.cluster.kubectl(words).await.expect("kubectl runs");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub(crate) async fn apply(&self, yaml: &str) {
        self.namespace.apply_yaml(yaml).await.expect("it is applied");
    }

    /// Waits until kubectl prints what is wanted; the log of the operator when it never does.
    pub(crate) async fn until(&self, args: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let seen = std::sync::Mutex::new(String::new());
        let what = args.join(" ");
        let held = poll_for(&what, LIMIT, || async {
            let text = self.kubectl(args).await.unwrap_or_else(|error| error);
            let found = wanted(text.trim()).then(|| text.trim().to_owned());
            *seen.lock().expect("nobody panics with it") = text;
            found
        });
        match held.await {
            Ok(text) => text,
            Err(error) => {
                let seen = seen.lock().expect("nobody panics with it");
                panic!("{error}\nlast: {seen}\noperator:\n{}", self.operator.log_tail());
            }
        }
    }

    pub(crate) async fn ready(&self, object: &str) {
        let path = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        self.until(&["get", object, path], |text| text == "True").await;
    }

    /// Whether the server would take it; what it complains about.
    pub(crate) async fn dry_run(&self, yaml: &str) -> Result<(), String> {
        let namespace = self.namespace.name();
        let words = ["--namespace", namespace, "apply", "--dry-run=server", "-f", "-"];
        let output = self.cluster.kubectl_with_input(words, yaml).await.expect("kubectl runs");
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The password of the generated Secret.
    pub(crate) async fn password(&self, name: &str) -> String {
        let secret = format!("secret/{name}-kv");
        let path = "-o=go-template={{.data.password|base64decode}}";
        self.until(&["get", &secret, path], |text| text.len() > 8).await
    }

    /// A connection to the pod, with the password of the generated Secret.
    pub(crate) async fn connect(&self, name: &str) -> Client {
        let secret = format!("secret/{name}-kv");
        let path = "-o=go-template={{.data.password|base64decode}}";
        let password = self.kubectl(&["get", &secret, path]).await.expect("the Secret is there");
        self.connect_with(name, &password).await
    }

    pub(crate) async fn connect_with(&self, name: &str, password: &str) -> Client {
        self.connect_pod(&format!("{name}-kv-0"), password).await
    }

    pub(crate) async fn connect_pod(&self, pod: &str, password: &str) -> Client {
        let pod = format!("pod/{pod}");
        let asked = ["get", &pod, "-o=jsonpath={.status.podIP}"];
        let ip = self.until(&asked, |ip| !ip.is_empty()).await;
        let address: IpAddr = ip.parse().expect("an address");
        let mut client = Client::connect(SocketAddr::new(address, 6379)).expect("it listens");
        let refused = client.call(&["GET", "a"]).expect("it answers");
        assert!(matches!(refused, Reply::Error(text) if text.starts_with("NOAUTH")));
        let ok = client.call(&["AUTH", password]).expect("it answers");
        assert_eq!(ok, Reply::Simple("OK".into()));
        client
    }
}

const EXAMPLES: &str = include_str!("../../../../examples/kv.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn a_user_applies_the_example_and_keeps_the_data_after_deleting_it() {
    let Some(stage) = Stage::new("example").await else { return };
    stage.apply(EXAMPLES).await;
    stage.ready("kvcluster/default").await;
    let children = [
        "serviceaccount/default-kv",
        "configmap/default-kv",
        "secret/default-kv",
        "service/default-kv-rw",
        "service/default-kv-ro",
        "service/default-kv-headless",
        "networkpolicy/default-kv",
        "poddisruptionbudget/default-kv",
        "statefulset/default-kv",
    ];
    for child in children {
        stage.kubectl(&["get", child]).await.unwrap_or_else(|error| panic!("{child}: {error}"));
    }
    let table = stage.kubectl(&["get", "kvclusters"]).await.expect("it lists");
    for column in ["READY", "SHARDS", "DURABILITY", "ENDPOINT", "VERSION", "AGE"] {
        assert!(table.contains(column), "{table}");
    }
    assert!(table.contains("single-volume"), "{table}");
    let help = stage.kubectl(&["explain", "kvcluster.spec", "--recursive"]).await;
    assert!(help.expect("it explains").contains("defaultClass"));

    let mut client = stage.connect("default").await;
    let ok = client.call(&["SET", "order:1", "paid"]).expect("it answers");
    assert_eq!(ok, Reply::Simple("OK".into()));
    let namespaces = stage.kubectl(&["get", "kvnamespaces", "-o=name"]).await.expect("it lists");
    assert_eq!(namespaces.lines().count(), 3, "{namespaces}");
    for object in namespaces.lines() {
        stage.ready(object).await;
    }

    let uid = ["get", "statefulset/default-kv", "-o=jsonpath={.metadata.uid}"];
    let before = stage.until(&uid, |uid| !uid.is_empty()).await;
    stage.kubectl(&["delete", "kvcluster/default", "--wait"]).await.expect("it is deleted");
    // The namespaces are still declared, so the engine comes back by itself, with its data.
    stage.until(&uid, |uid| !uid.starts_with("Error") && !uid.is_empty() && uid != before).await;
    let volumes = stage.kubectl(&["get", "pvc", "-o=name"]).await.expect("it lists");
    assert!(volumes.contains("data-default-kv-0"), "the volume must stay: {volumes:?}");

    stage.ready("kvcluster/default").await;
    let mut client = stage.connect("default").await;
    let kept = client.call(&["GET", "order:1"]).expect("it answers");
    assert_eq!(kept, Reply::Bulk(b"paid".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_alone_makes_the_engine_default() {
    let Some(stage) = Stage::new("alone").await else { return };
    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVNamespace\nmetadata: {name: cache}\n\
             spec: {match: {prefix: 'c:'}, class: Cache}\n",
        )
        .await;
    stage.ready("kvcluster/default").await;
    stage.ready("kvnamespace/cache").await;
    let bound = ["get", "kvnamespace/cache", "-o=jsonpath={.status.boundTo}"];
    assert_eq!(stage.until(&bound, |text| !text.is_empty()).await, "default");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_object_says_what_is_wrong_and_recovers_when_corrected() {
    let Some(stage) = Stage::new("bad").await else { return };
    let cluster = |spec: &str| {
        format!(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: a}}\nspec: {spec}\n"
        )
    };
    stage.apply(&cluster("{memcached: {mode: 'On'}}")).await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Stalled\")].reason}";
    stage.until(&["get", "kvcluster/a", reason], |text| text == "NotYetSupported").await;
    stage.apply(&cluster("{memcached: {mode: 'Off'}}")).await;
    stage.ready("kvcluster/a").await;

    let refused = stage.namespace.apply_yaml(&cluster("{resp: {databases: 0}}")).await;
    assert!(refused.is_err(), "the schema must refuse it");
    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVNamespace\nmetadata: {name: lost}\n\
             spec: {clusterRef: {name: nowhere}, match: {prefix: 'x:'}}\n",
        )
        .await;
    let ready = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    stage
        .until(&["get", "kvnamespace/lost", ready], |text| {
            text == "EngineMissing" || text == "RefNotFound"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_object_is_left_alone_and_a_hibernated_one_wakes_with_its_data() {
    let Some(stage) = Stage::new("sleep").await else { return };
    let cluster = |operation: &str| {
        format!(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: a}}\n\
             spec: {{operation: {operation}}}\n"
        )
    };
    stage.apply(&cluster("Run")).await;
    stage.ready("kvcluster/a").await;
    let mut client = stage.connect("a").await;
    client.call(&["SET", "k", "v"]).expect("it answers");
    stage.apply(&cluster("Hibernate")).await;
    stage.until(&["get", "pods", "-o=name"], str::is_empty).await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    stage.until(&["get", "kvcluster/a", reason], |text| text == "Hibernated").await;
    stage.apply(&cluster("Run")).await;
    stage.ready("kvcluster/a").await;
    let mut client = stage.connect("a").await;
    assert_eq!(client.call(&["GET", "k"]).expect("it answers"), Reply::Bulk(b"v".to_vec()));

    stage.apply(&cluster("Pause")).await;
    stage.until(&["get", "kvcluster/a", reason], |text| text == "Paused").await;
    stage.kubectl(&["delete", "service/a-kv-ro"]).await.expect("it is deleted");
    stage.apply(&cluster("Run")).await;
    let back = poll("the deleted Service comes back", LIMIT, || async {
        stage.kubectl(&["get", "service/a-kv-ro"]).await.is_ok()
    });
    back.await.expect("drift is repaired once it runs again");
}
