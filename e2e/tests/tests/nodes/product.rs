//! The product as it is installed: image on every node, both charts, two replicas of the operator
//! with exactly the chart's rights. Installed once, by the test that comes first.
//!
//! On somebody's cluster (`ORRERY_TEST_KUBECONFIG`) the image must be there already, and
//! `ORRERY_TEST_IMAGE_NAME` names it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use kube::Api;
use kube::core::{ApiResource, DynamicObject};
use orrery_e2e_cluster::{
    Cluster, LogsIfFailed, Namespace, RealNodes, Turn, not_run, output_within, poll_for,
    write_image,
};
use orrery_e2e_tests::orrery_binary;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::page::theirs_or_ours;

/// Longest wait for something that takes seconds.
pub(crate) const LIMIT: Duration = Duration::from_mins(3);

/// For an installation that waits.
const HELM_LIMIT: Duration = Duration::from_mins(5);

/// Where the charts are installed.
pub(crate) const SYSTEM: &str = "orrery-system";

/// An archive that `scripts/image` wrote; without it one is made around the binary under test.
const ARCHIVE: &str = "ORRERY_TEST_IMAGE";

/// The image as an existing cluster knows it.
const NAME: &str = "ORRERY_TEST_IMAGE_NAME";

/// What `scripts/image orrery:e2e` names its image.
const OUR_NAME: &str = "localhost/orrery:e2e";

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// A namespace with restricted pods, and the product beside it.
pub(crate) struct Product {
    pub(crate) namespace: Namespace,
    /// Absent on a cluster that is not ours.
    pub(crate) nodes: Option<RealNodes>,
    _logs: Option<LogsIfFailed>,
    _turn: Option<Turn>,
}

impl Product {
    /// None when there is no cluster to be had; the reason was printed.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let existing = std::env::var_os("ORRERY_TEST_KUBECONFIG").filter(|path| !path.is_empty());
        let (cluster, nodes) = match existing {
            Some(_) if std::env::var_os(NAME).is_none() => {
                not_run(&format!("{NAME} must name an image that the cluster has"));
                return None;
            }
            Some(_) => (Cluster::shared().await?, None),
            None => {
                let (cluster, nodes) = Cluster::shared_with_real_nodes().await?;
                (cluster, Some(nodes))
            }
        };
        let turn = match &nodes {
            Some(nodes) => Some(nodes.turn().await.expect("all nodes run")),
            None => None,
        };
        let logs = nodes.as_ref().map(|nodes| nodes.logs_if_failed(test));
        INSTALLED.get_or_init(|| install(&cluster, nodes.as_ref())).await;
        let namespace = cluster.namespace(test).await.expect("a namespace");
        namespace.enforce_restricted().await.expect("it is labelled");
        Some(Self { namespace, nodes, _logs: logs, _turn: turn })
    }

    /// [`Self::new`] for tests that break nodes.
    pub(crate) async fn with_nodes(test: &str) -> Option<(Self, RealNodes)> {
        let product = Self::new(test).await?;
        if let Some(nodes) = product.nodes.clone() {
            return Some((product, nodes));
        }
        not_run("nodes are broken by the harness, and this cluster is not its own");
        None
    }

    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.namespace.kubectl(args).await.map_err(|error| error.to_string())
    }

    /// kubectl on objects of the operator.
    pub(crate) async fn system(&self, args: &[&str]) -> Result<String, String> {
        let mut words = vec!["--namespace", SYSTEM];
        words.extend(args);
        let output = self.namespace.cluster().kubectl(words).await.expect("kubectl runs");
        text(&output)
    }

    /// Our own command line on the objects of the test.
    pub(crate) fn orrery(&self, args: &[&str]) -> String {
        let mut command = Command::new(orrery_binary().expect("make test builds it first"));
        command.env("KUBECONFIG", self.namespace.cluster().kubeconfig_path());
        command.args(args).args(["-n", self.namespace.name()]);
        let output = output_within(&mut command, LIMIT);
        text(&output.expect("it runs")).expect("it succeeds")
    }

    pub(crate) async fn apply(&self, yaml: &str) {
        self.namespace.apply_yaml(yaml).await.expect("it is applied");
    }

    /// Waits until kubectl prints what is wanted.
    pub(crate) async fn until(&self, args: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let seen = Mutex::new(String::new());
        let what = args.join(" ");
        let held = poll_for(&what, LIMIT, || async {
            let text = self.kubectl(args).await.unwrap_or_else(|error| error);
            let found = wanted(text.trim()).then(|| text.trim().to_owned());
            *seen.lock().expect("nobody panics with it") = text;
            found
        });
        let held = held.await;
        held.unwrap_or_else(|error| panic!("{error}\nlast: {}", seen.lock().expect("as above")))
    }

    /// An object of ours such as `kvcluster/a`, or what stood in the way. It is looked at often, and
    /// a kubectl for every look would take the machine from the product.
    pub(crate) async fn object(&self, object: &str) -> Result<Value, String> {
        let (kind, name) = object.split_once('/').ok_or("kind/name")?;
        let resource = ApiResource {
            group: "orrery.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "orrery.dev/v1alpha1".to_owned(),
            kind: kind.to_owned(),
            plural: format!("{kind}s"),
        };
        let client = self.namespace.client();
        let api: Api<DynamicObject> =
            Api::namespaced_with(client, self.namespace.name(), &resource);
        let found = api.get(name).await.map_err(|error| error.to_string())?;
        serde_json::to_value(found).map_err(|error| error.to_string())
    }

    /// Waits until the operator says of the newest spec that it is ready.
    pub(crate) async fn ready(&self, object: &str) {
        let seen = Mutex::new(String::new());
        let held = poll_for(object, LIMIT, || async {
            let found = self.object(object).await.unwrap_or_else(Value::from);
            let conditions = found["status"]["conditions"].as_array().into_iter().flatten();
            let ready = conditions.into_iter().any(|condition| {
                condition["type"] == "Ready"
                    && condition["status"] == "True"
                    && condition["observedGeneration"] == found["metadata"]["generation"]
            });
            *seen.lock().expect("nobody panics with it") = format!("{found:#}");
            ready.then_some(())
        });
        let held = held.await;
        held.unwrap_or_else(|error| panic!("{error}\nlast: {}", seen.lock().expect("as above")));
    }

    /// What a Redis client prints that dials the Service for reads and writes by its name.
    pub(crate) async fn redis(&self, name: &str, words: &[&str]) -> Result<String, String> {
        let secret = format!("secret/{name}-kv");
        let password = "-o=go-template={{.data.password|base64decode}}";
        let password = self.kubectl(&["get", &secret, password]).await?;
        let service = format!("{name}-kv-rw");
        let client = |host: &str, port: &str| {
            let mut command = Command::new("timeout");
            command.args(["5", "redis-cli", "-e", "-h", host, "-p", port]).args(words);
            command.env("REDISCLI_AUTH", &password);
            command
        };
        if let Some(nodes) = &self.nodes {
            let host = format!("{service}.{}.svc.cluster.local", self.namespace.name());
            for node in nodes.names() {
                // Any node that lives will do.
                if let Ok(output) = nodes.run_on(node, client(&host, "6379")).await {
                    return text(&output);
                }
            }
            return Err("no node lives".to_owned());
        }
        let mut forward = Forward::start(self, &service)?;
        let port = forward.port()?;
        let output = output_within(&mut client("127.0.0.1", &port), LIMIT);
        text(&output.map_err(|error| error.to_string())?)
    }

    /// Waits for an answer of the service.
    pub(crate) async fn answers(&self, name: &str, words: &[&str], wanted: &str) {
        let seen = Mutex::new(String::new());
        let what = words.join(" ");
        let held = poll_for(&what, LIMIT, || async {
            let text = self.redis(name, words).await.unwrap_or_else(|error| error);
            let found = (text.trim() == wanted).then_some(());
            *seen.lock().expect("nobody panics with it") = text;
            found
        });
        let held = held.await;
        held.unwrap_or_else(|error| panic!("{error}\nlast: {}", seen.lock().expect("as above")));
    }

    /// The pod that works, by the Lease of the operator.
    pub(crate) async fn leader(&self) -> String {
        let asked = ["get", "lease/orrery", "-o=jsonpath={.spec.holderIdentity}"];
        let held = poll_for("a leader", LIMIT, || async {
            // The holder is the pod and what tells its process from the last one.
            let holder = self.system(&asked).await.ok()?;
            holder.split('_').next().filter(|pod| !pod.is_empty()).map(str::to_owned)
        });
        held.await.expect("one works")
    }
}

/// `kubectl port-forward` to a Service of somebody's cluster; ends when dropped.
struct Forward {
    child: std::process::Child,
    /// Open to the end: kubectl does not survive a line that it cannot write.
    out: BufReader<ChildStdout>,
}

impl Forward {
    fn start(product: &Product, service: &str) -> Result<Self, String> {
        let mut command = Command::new(theirs_or_ours("kubectl"));
        command.env("KUBECONFIG", product.namespace.cluster().kubeconfig_path());
        command.args(["-n", product.namespace.name(), "port-forward"]);
        command.args([&format!("service/{service}"), ":6379"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let out = child.stdout.take().ok_or("it is not piped")?;
        Ok(Self { child, out: BufReader::new(out) })
    }

    /// From the line `Forwarding from 127.0.0.1:40123 -> 6379`.
    fn port(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.out.read_line(&mut line).map_err(|error| error.to_string())?;
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        port.map(str::to_owned).ok_or(format!("no port is forwarded: {line}"))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn install(cluster: &Cluster, nodes: Option<&RealNodes>) {
    let name = match nodes {
        Some(nodes) => {
            let folder = tempfile::tempdir().expect("a folder");
            let given = std::env::var_os(ARCHIVE).map(PathBuf::from);
            let archive = given.unwrap_or_else(|| {
                let archive = folder.path().join("image.tar");
                let binary = orrery_binary().expect("make test builds it first");
                write_image(OUR_NAME, &binary, &archive).expect("it is written");
                archive
            });
            nodes.load_image(&archive).await.expect("every node takes the image");
            OUR_NAME.to_owned()
        }
        None => std::env::var(NAME).expect("it was checked"),
    };
    let (repository, tag) = name.rsplit_once(':').expect("a name with a tag");
    let label = "pod-security.kubernetes.io/enforce: restricted";
    let system = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}, labels: {{{label}}}}}\n"
    );
    cluster.apply_yaml(&system).await.expect("the namespace is made");
    helm(cluster, &["upgrade", "--install", "orrery-crds", &chart("orrery-crds")]);
    let image = [&format!("image.repository={repository}"), &format!("image.tag={tag}")];
    let mut words = vec!["upgrade", "--install", "orrery"];
    let chart = chart("orrery");
    words.extend([chart.as_str(), "--set", image[0], "--set", image[1], "--set", "replicas=2"]);
    // Two replicas on two nodes, as the test of a dead leader needs them.
    let spread = r#"affinity={"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app.kubernetes.io/name":"orrery"}}}]}}"#;
    words.extend(["--set-json", spread, "--wait", "--timeout", "3m"]);
    helm(cluster, &words);
}

fn helm(cluster: &Cluster, words: &[&str]) {
    let mut command = Command::new(theirs_or_ours("helm"));
    command.env("KUBECONFIG", cluster.kubeconfig_path()).args(["--namespace", SYSTEM]);
    let output = output_within(command.args(words), HELM_LIMIT).expect("helm runs");
    text(&output).unwrap_or_else(|what| panic!("helm: {what}"));
}

fn chart(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("charts").join(name).display().to_string()
}

/// What a program printed, or what it complained about.
fn text(output: &Output) -> Result<String, String> {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    Err(format!("{printed}{}", String::from_utf8_lossy(&output.stderr)))
}
