//! Real nodes run pods as any Kubernetes does, fail as machines do, and leave nothing behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::DeleteParams;
use orrery_e2e_cluster::{
    CONTROL_PLANE, Cluster, ClusterError, LogsIfFailed, Namespace, RealNodes, Turn, clean, not_run,
    poll, poll_for, tool, write_image,
};

const LIMIT: Duration = Duration::from_mins(2);

const IMAGE: &str = "localhost/toy:1";

/// A server with a volume, allowed in a restricted namespace, on the node that is asked for.
const SERVER: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: NODE}
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, fsGroup: 4711, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: main
        image: IMAGE
        args: [serve]
        readinessProbe: {httpGet: {path: /name, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

struct Stage {
    namespace: Namespace,
    nodes: RealNodes,
    _logs: LogsIfFailed,
    _turn: Turn,
}

impl Stage {
    /// The server on `node-2`, ready.
    async fn new(name: &str) -> Option<Self> {
        let (cluster, nodes) = Cluster::shared_with_real_nodes().await?;
        let turn = nodes.turn().await.expect("all nodes run");
        let logs = nodes.logs_if_failed(name);
        let folder = tempfile::tempdir().expect("a folder");
        let archive = folder.path().join("toy.tar");
        write_image(IMAGE, &tool("toy").expect("it is built"), &archive).expect("it is written");
        nodes.load_image(&archive).await.expect("it is imported");
        let namespace = cluster.namespace(name).await.expect("a namespace");
        namespace.enforce_restricted().await.expect("it is labelled");
        let yaml = SERVER.replace("NODE", "node-2").replace("IMAGE", IMAGE);
        namespace.apply_yaml(&yaml).await.expect("it is applied");
        let stage = Self { namespace, nodes, _logs: logs, _turn: turn };
        stage.pod_ready(None).await;
        Some(stage)
    }

    /// Waits for a ready pod that is not `old`; its identity.
    async fn pod_ready(&self, old: Option<&str>) -> String {
        let pods = self.namespace.api::<Pod>();
        let ready = async || {
            let pod = pods.get_opt("web-0").await.ok().flatten()?;
            let conditions = pod.status?.conditions.unwrap_or_default();
            let held = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
            let fresh = pod.metadata.deletion_timestamp.is_none();
            pod.metadata.uid.filter(|uid| held && fresh && old != Some(uid))
        };
        poll_for("the server ready", LIMIT, ready).await.expect("it is ready")
    }

    /// What the server answers to a node that asks the Service by its name.
    async fn ask(&self, node: &str, path: &str) -> Result<String, ClusterError> {
        let name = format!("web.{}.svc.cluster.local", self.namespace.name());
        self.ask_at(node, &name, path).await
    }

    async fn ask_at(&self, node: &str, name: &str, path: &str) -> Result<String, ClusterError> {
        let mut command = Command::new(tool("toy")?);
        command.args(["get", &format!("http://{name}/{path}")]);
        let output = self.nodes.run_on(node, command).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let command = path.to_owned();
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            Err(ClusterError::Command { command, output: said() })
        }
    }

    async fn answers(&self, node: &str, path: &str, wanted: &str) {
        let what = format!("{path} of the server is {wanted} for {node}");
        let answer = async || self.ask(node, path).await.is_ok_and(|text| text == wanted);
        poll(&what, LIMIT, answer).await.expect("it answers");
    }

    async fn node_is(&self, name: &str, ready: &str) {
        let nodes: Api<Node> = Api::all(self.namespace.cluster().client());
        let seen = async || {
            let status = nodes.get(name).await.ok().and_then(|node| node.status);
            let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
            conditions.iter().any(|it| it.type_ == "Ready" && it.status == ready)
        };
        poll(&format!("{name} ready: {ready}"), LIMIT, seen).await.expect("it is seen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_pod_keeps_its_data_and_is_found_by_name() {
    let Some(stage) = Stage::new("restricted").await else { return };
    stage.answers("node-1", "starts", "1").await;
    let log = stage.namespace.kubectl(&["logs", "web-0"]).await.expect("its log");
    assert!(log.contains("serving as user 65532"), "{log}");
    let name = format!("http://web.{}.svc.cluster.local/starts", stage.namespace.name());
    let asked = ["exec", "web-0", "--", "/toy", "get", &name];
    let answer = async || stage.namespace.kubectl(&asked).await.is_ok_and(|text| text == "1");
    poll("the pod finds its own Service", LIMIT, answer).await.expect("it answers");

    let old = stage.pod_ready(None).await;
    let pods = stage.namespace.api::<Pod>();
    pods.delete("web-0", &DeleteParams::default()).await.expect("it is deleted");
    stage.pod_ready(Some(&old)).await;
    stage.answers("node-1", "starts", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_noticed_and_comes_back_with_its_disk() {
    let Some(stage) = Stage::new("killed").await else { return };
    let old = stage.pod_ready(None).await;
    stage.nodes.kill("node-2").await.expect("it is killed");
    stage.ask("node-1", "starts").await.expect_err("nobody answers");
    stage.node_is("node-2", "Unknown").await;

    stage.nodes.declare_dead("node-2").await.expect("it is tainted");
    let pods = stage.namespace.api::<Pod>();
    let gone = async || {
        let pod = pods.get_opt("web-0").await;
        pod.is_ok_and(|pod| pod.is_none_or(|pod| pod.metadata.uid.as_deref() != Some(&old)))
    };
    poll("its pod removed", LIMIT, gone).await.expect("the controllers let go of it");

    stage.nodes.start_node("node-2").await.expect("it boots");
    stage.pod_ready(Some(&old)).await;
    stage.answers("node-1", "starts", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_cut_off_paused_and_slowed() {
    let Some(stage) = Stage::new("faults").await else { return };
    let cut = stage.nodes.cut("node-1", "node-2").await.expect("they are cut");
    stage.ask("node-1", "name").await.expect_err("it is cut off");
    stage.answers("node-2", "name", "web-0").await;
    drop(cut);
    stage.answers("node-1", "name", "web-0").await;

    let paused = stage.nodes.pause("node-2").await.expect("it is stopped");
    stage.ask("node-1", "name").await.expect_err("it answers no more");
    stage.node_is("node-2", "Unknown").await;
    drop(paused);
    stage.node_is("node-2", "True").await;
    stage.answers("node-1", "name", "web-0").await;

    let isolated = stage.nodes.isolate("node-2").await.expect("it is unplugged");
    stage.ask("node-1", "name").await.expect_err("it is not reached");
    stage.node_is("node-2", "Unknown").await;
    drop(isolated);
    stage.node_is("node-2", "True").await;

    let cut = stage.nodes.cut(CONTROL_PLANE, "node-2").await.expect("they are cut");
    stage.node_is("node-2", "Unknown").await;
    // The Service has no endpoint any more; the pod itself still serves other nodes.
    let words = ["get", "pod/web-0", "-o=jsonpath={.status.podIP}:8080"];
    let pod = stage.namespace.kubectl(&words).await.expect("its address");
    assert_eq!(stage.ask_at("node-1", &pod, "name").await.expect("it answers"), "web-0");
    drop(cut);
    stage.node_is("node-2", "True").await;
    stage.answers("node-1", "name", "web-0").await;

    match stage.nodes.delay("node-2", Duration::from_millis(100)).await {
        Ok(delayed) => {
            stage.answers("node-1", "name", "web-0").await;
            drop(delayed);
        }
        Err(ClusterError::Missing(reason)) => not_run(&reason),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_leaves_nothing() {
    // What this machine lacks was said by the first that asked.
    let Some((_, nodes)) = Cluster::shared_with_real_nodes().await else { return };
    let _turn = nodes.turn().await.expect("all nodes run");
    let mut run = Command::new(env!("CARGO_BIN_EXE_e2e-cluster"))
        .arg("up-nodes")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let out = run.stdout.take().expect("it is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a line");
    run.kill().expect("it is killed");
    run.wait().expect("it ends");
    let kubeconfig = line.trim().strip_prefix("export KUBECONFIG=").expect("its kubeconfig");
    let folder = Path::new(kubeconfig).ancestors().nth(2).expect("the folder of the run");
    let id = folder.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(!groups(&id).is_empty(), "it had groups");

    tokio::task::spawn_blocking(clean).await.expect("no panic").expect("it cleans");
    assert!(!folder.exists());
    assert!(groups(&id).is_empty());
    let mounts = std::fs::read_to_string("/proc/mounts").expect("mounts");
    assert!(!mounts.contains(&id), "{mounts}");
    let alive = async || !processes().iter().any(|command| command.contains(&id));
    poll("its processes gone", LIMIT, alive).await.expect("the kernel ended them");
}

/// The cgroups of a run.
fn groups(id: &str) -> Vec<String> {
    let below = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let root = below(Path::new("/sys/fs/cgroup"));
    let all = root.iter().flat_map(|path| below(path)).chain(root.iter().cloned());
    all.map(|path| path.display().to_string()).filter(|path| path.contains(id)).collect()
}

/// The command lines of all processes.
fn processes() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
}
