//! Pods as processes of this machine: what a data plane will meet in the end-to-end tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use orrery_e2e_cluster::{Cluster, Namespace, Nodes, Options, Order, Processes, poll, poll_for};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(1);
const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;

const SERVER: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {text: first}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 1
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: main
        image: registry.example/e2e-toy-server:1
        args: [--page=/etc/page/text, --data=/data]
        env:
        - {name: ORRERY_LISTEN_HTTP, value: '0.0.0.0:8080'}
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        ports: [{name: http, containerPort: 8080}]
        readinessProbe:
          {httpGet: {path: /readyz, port: http}, periodSeconds: 1, failureThreshold: 1}
        volumeMounts: [{name: data, mountPath: /data}, {name: page, mountPath: /etc/page}]
      volumes:
      - {name: page, configMap: {name: page}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

/// A namespace whose pods run as processes, or nothing where there are no toy nodes.
async fn namespace(name: &str) -> Option<(Namespace, Nodes)> {
    let (cluster, nodes) = Cluster::shared_with_nodes().await?;
    let namespace = cluster.namespace(name).await.expect("a namespace");
    let runner = Processes::new().program("e2e-toy-server", env!("CARGO_BIN_EXE_e2e-toy-server"));
    nodes.run_with(namespace.name(), Arc::new(runner));
    Some((namespace, nodes))
}

/// The pod's address once it is ready.
async fn ready_at(pods: &Api<Pod>, name: &str) -> String {
    let ready = async || {
        let status = pods.get_opt(name).await.ok()??.status?;
        let mut conditions = status.conditions?.into_iter();
        conditions.find(|held| held.type_ == "Ready" && held.status == "True")?;
        status.pod_ip
    };
    poll_for(&format!("{name} ready"), LIMIT, ready).await.expect("it becomes ready")
}

/// The body of an answer; empty when nobody answers.
fn get(address: &str, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((address, 8080))?;
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
    };
    ask().unwrap_or_default()
}

/// Why the container of the pod `job` waits.
async fn waiting(pods: &Api<Pod>) -> Option<String> {
    let status = pods.get("job").await.ok()?.status?.container_statuses?.into_iter().next()?;
    status.state?.waiting?.message
}

async fn phase(pods: &Api<Pod>, name: &str, wanted: &str) -> Pod {
    let reached = async || {
        let pod = pods.get_opt(name).await.ok()??;
        (pod.status.as_ref()?.phase.as_deref() == Some(wanted)).then_some(pod)
    };
    poll_for(&format!("{name} {wanted}"), LIMIT, reached).await.expect("it gets there")
}

#[tokio::test]
async fn a_server_serves_its_config_and_keeps_its_volume() {
    let Some((namespace, nodes)) = namespace("server").await else { return };
    namespace.apply_yaml(SERVER).await.expect("it is applied");
    let pods = namespace.api::<Pod>();
    let address = ready_at(&pods, "web-0").await;
    assert!(address.starts_with("127."), "{address}");
    assert_eq!((get(&address, "/page"), get(&address, "/name")), ("first".into(), "web-0".into()));

    let text = Patch::Merge(json!({ "data": { "text": "second" } }));
    let maps = namespace.api::<ConfigMap>();
    maps.patch("page", &PatchParams::default(), &text).await.expect("it is changed");
    let changed = async || get(&address, "/page") == "second";
    poll("the new page", LIMIT, changed).await.expect("the volume follows its config map");

    assert!(nodes.order(namespace.name(), "web-0", Order::Crash));
    let restarted = async || get(&address, "/starts") == "2";
    poll("a second start", LIMIT, restarted).await.expect("it restarts at the same address");

    ready_at(&pods, "web-0").await;
    let first = pods.get("web-0").await.expect("a pod").metadata.uid;
    pods.delete("web-0", &DeleteParams::default()).await.expect("it is deleted");
    let another = async || {
        let pod = pods.get_opt("web-0").await.ok()??;
        (pod.metadata.uid != first).then_some(())
    };
    poll_for("another pod", LIMIT, another).await.expect("it comes back");
    let address = ready_at(&pods, "web-0").await;
    assert_eq!(get(&address, "/starts"), "3", "the volume is the same");
    let log = nodes.log(namespace.name(), "web-0", "main").expect("a log");
    assert_eq!(log.matches("listening at").count(), 3, "{log}");
}

#[tokio::test]
async fn a_stopped_process_is_not_ready_until_it_goes_on() {
    let Some((namespace, nodes)) = namespace("stopped").await else { return };
    namespace.apply_yaml(SERVER).await.expect("it is applied");
    let pods = namespace.api::<Pod>();
    ready_at(&pods, "web-0").await;
    let pid = nodes.process_id(namespace.name(), "web-0", "main").await.expect("a pod");
    assert!(pid.is_some());
    assert!(nodes.order(namespace.name(), "web-0", Order::Signal(SIGSTOP)));
    let unready = async || {
        let pod = pods.get("web-0").await.expect("the pod is there");
        let statuses = pod.status.and_then(|status| status.container_statuses);
        statuses.into_iter().flatten().all(|status| !status.ready && status.restart_count == 0)
    };
    poll("web-0 not ready", LIMIT, unready).await.expect("the probe gets no answer");
    assert!(nodes.order(namespace.name(), "web-0", Order::Signal(SIGCONT)));
    ready_at(&pods, "web-0").await;
}

#[tokio::test]
async fn a_pod_that_completes_hands_files_from_init_to_main() {
    let Some((namespace, nodes)) = namespace("complete").await else { return };
    let yaml = "
apiVersion: v1
kind: Pod
metadata: {name: job}
spec:
  restartPolicy: Never
  initContainers:
  - {name: first, image: none, command: [sh, -c, 'echo $(WORD) > /shared/file'],
     env: [{name: WORD, value: hello}], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - {name: main, image: none, command: [sh, -c, 'cat /in/file'],
     volumeMounts: [{name: shared, mountPath: /in}]}
  volumes: [{name: shared, emptyDir: {}}]
";
    namespace.apply_yaml(yaml).await.expect("it is applied");
    phase(&namespace.api::<Pod>(), "job", "Succeeded").await;
    assert_eq!(nodes.log(namespace.name(), "job", "main").expect("a log"), "hello\n");
}

#[tokio::test]
async fn a_failing_command_fails_its_pod_with_the_code() {
    let Some((namespace, _)) = namespace("failing").await else { return };
    let yaml = "{apiVersion: v1, kind: Pod, metadata: {name: job}, spec: {restartPolicy: Never, \
                containers: [{name: main, image: none, command: [sh, -c, 'exit 70']}]}}";
    namespace.apply_yaml(yaml).await.expect("it is applied");
    let pod = phase(&namespace.api::<Pod>(), "job", "Failed").await;
    let statuses = pod.status.and_then(|status| status.container_statuses).expect("statuses");
    let ended = statuses[0].state.as_ref().and_then(|state| state.terminated.as_ref());
    assert_eq!(ended.map(|ended| ended.exit_code), Some(70));
}

#[tokio::test]
async fn a_pod_waits_for_its_secret() {
    let Some((namespace, _)) = namespace("secret").await else { return };
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: job}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: none
    command: [sh, -c, 'test $(cat /secrets/password) = \"$PASSWORD\"']
    env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: late, key: password}}}]
    volumeMounts: [{name: secrets, mountPath: /secrets}]
  volumes: [{name: secrets, secret: {secretName: late}}]
";
    namespace.apply_yaml(pod).await.expect("it is applied");
    let pods = namespace.api::<Pod>();
    let message = poll_for("a waiting container", LIMIT, async || waiting(&pods).await);
    let message = message.await.expect("it waits");
    assert!(message.contains("late"), "{message}");
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: late}, \
                  stringData: {password: s3cret}}";
    namespace.apply_yaml(secret).await.expect("it is applied");
    phase(&pods, "job", "Succeeded").await;
}

#[tokio::test]
async fn what_a_toy_node_cannot_do_is_said() {
    let Some((namespace, _)) = namespace("unknown").await else { return };
    let yaml = "{apiVersion: v1, kind: Pod, metadata: {name: job}, spec: {containers: [{name: main, \
                image: none, command: [sh], livenessProbe: {exec: {command: ['true']}}}]}}";
    namespace.apply_yaml(yaml).await.expect("it is applied");
    let pods = namespace.api::<Pod>();
    let message = poll_for("a waiting container", LIMIT, async || waiting(&pods).await);
    let message = message.await.expect("it waits");
    assert!(message.contains("HTTP and TCP only"), "{message}");
}

#[tokio::test]
async fn a_dead_node_is_seen_and_starts_its_pods_again_when_it_is_back() {
    // A node of the shared cluster would take other tests' pods with it.
    if Cluster::shared_with_nodes().await.is_none() {
        return;
    }
    let options = Options { node_grace: Duration::from_secs(10), nodes: 1, ..Options::default() };
    let cluster = Cluster::start(options).await.expect("a cluster of its own");
    let nodes = cluster.nodes().expect("a toy node").clone();
    let namespace = cluster.namespace("death").await.expect("a namespace");
    let runner = Processes::new().program("e2e-toy-server", env!("CARGO_BIN_EXE_e2e-toy-server"));
    nodes.run_with(namespace.name(), Arc::new(runner));
    namespace.apply_yaml(SERVER).await.expect("it is applied");
    let pods = namespace.api::<Pod>();
    let address = ready_at(&pods, "web-0").await;

    assert!(nodes.fail("toy-1"));

    let silent = async || get(&address, "/name").is_empty();
    poll("nobody answering", LIMIT, silent).await.expect("its process is gone");
    let all: Api<Node> = Api::all(cluster.client());
    let ready = async || {
        let conditions = all.get("toy-1").await.ok()?.status?.conditions?;
        conditions.into_iter().find(|held| held.type_ == "Ready").map(|held| held.status)
    };
    let lost = async || ready().await.as_deref() == Some("Unknown");
    poll("the node lost", LIMIT, lost).await.expect("its lease ran out");

    nodes.recover("toy-1").await.expect("it comes back");

    let back = async || ready().await.as_deref() == Some("True");
    poll("the node ready", LIMIT, back).await.expect("it is alive again");
    let address = ready_at(&pods, "web-0").await;
    assert_eq!(get(&address, "/starts"), "2", "the same volume, a second start");
}

#[tokio::test]
async fn a_process_that_does_not_listen_is_killed_after_its_grace() {
    let Some((namespace, nodes)) = namespace("stubborn").await else { return };
    let yaml = "
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: none, command: [sh, -c, 'trap \"echo no\" TERM; while :; do sleep 0.1; done']}
";
    namespace.apply_yaml(yaml).await.expect("it is applied");
    let pods = namespace.api::<Pod>();
    ready_at(&pods, "stubborn").await;
    let pid = nodes.process_id(namespace.name(), "stubborn", "main").await.expect("a pod");
    let status = format!("/proc/{}/stat", pid.expect("it runs"));
    pods.delete("stubborn", &DeleteParams::default()).await.expect("it is deleted");
    let gone = async || pods.get_opt("stubborn").await.is_ok_and(|pod| pod.is_none());
    poll("the pod gone", LIMIT, gone).await.expect("it is killed");
    assert!(!std::path::Path::new(&status).exists(), "its process is gone before the pod is");
}
