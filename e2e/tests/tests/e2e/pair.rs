//! Two operators as processes, as the chart runs them with two replicas: one that is stopped, killed
//! or loses its Lease writes nothing after another has taken over.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use orrery_e2e_cluster::poll;
use orrery_e2e_tests::orrery_binary;
use orrery_e2e_tests::process::Process;
use orrery_kit::suite::free_port;

use crate::account;
use crate::kubernetes::{LIMIT, Stage};

/// Short times, in their order: a standby takes over within seconds.
const LEASE: [&str; 3] =
    ["--lease-duration=8s", "--lease-renew-deadline=5s", "--lease-retry-period=1s"];

/// A replica of the operator.
struct Replica {
    process: Process,
    http: u16,
}

impl Replica {
    fn start(stage: &Stage, name: &str) -> Self {
        let http = free_port();
        let mut command = Command::new(orrery_binary().expect("make test builds it first"));
        command.args(["operator", "--image", "registry.example/orrery:test"]);
        command.args(["--namespaces", stage.namespace(), "--lease-namespace", stage.namespace()]);
        command
            .args(["--lease-name", "orrery"])
            .args(LEASE)
            .args(["--http", &format!("127.0.0.1:{http}")]);
        command.env("KUBECONFIG", account::kubeconfig_in(stage.folder()));
        command.env("ORRERY_LOG", "text").env("ORRERY_POD", name);
        let log = stage.folder().join(format!("{name}.log"));
        let process = Process::start(command, &log, None).expect("the operator starts");
        Self { process, http }
    }

    fn leads(&self) -> bool {
        let page = metrics(self.http).unwrap_or_default();
        page.lines()
            .any(|line| line.starts_with("leader_election_master_status") && line.ends_with(" 1"))
    }

    async fn takes_over(&self) {
        let led = poll("it leads", LIMIT, || async { self.leads() }).await;
        led.unwrap_or_else(|error| panic!("{error}\n{}", self.process.log_tail()));
    }
}

/// The page of the metrics; a process that is stopped does not answer in time.
fn metrics(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn object(databases: u32) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: a}}\n\
         spec: {{operation: Hibernate, resp: {{databases: {databases}}}}}\n"
    )
}

/// Waits until the operator has carried this number out.
async fn carried_out(stage: &Stage, databases: u32) {
    let file = ["get", "configmap/a-kv", "-o=jsonpath={.data.kv\\.yaml}"];
    let line = format!("databases: {databases}");
    stage.until(&file, |text| text.lines().any(|found| found == line)).await;
}

/// Version of every child and of the object.
async fn versions(stage: &Stage) -> BTreeMap<String, String> {
    let kinds = "serviceaccounts,secrets,configmaps,services,networkpolicies,statefulsets,\
                 poddisruptionbudgets,kvclusters";
    let words = "-o=jsonpath={range .items[*]}{.kind}/{.metadata.name} \
                 {.metadata.resourceVersion}{\"\\n\"}{end}";
    let text = stage.kubectl(&["get", kinds, words]).await.expect("they are listed");
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// Who holds the lease.
async fn holder(stage: &Stage) -> String {
    let path = "-o=jsonpath={.spec.holderIdentity}";
    stage.kubectl(&["get", "lease/orrery", path]).await.expect("it is there")
}

/// [`versions`], once other controllers have come to rest.
async fn settled(stage: &Stage) -> BTreeMap<String, String> {
    let still = || async {
        let before = versions(stage).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        versions(stage).await == before
    };
    poll("nothing changes for two seconds", LIMIT, still).await.expect("they rest");
    versions(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_writes_whatever_happens_to_the_other() {
    let Some(mut stage) = Stage::new("pair").await else { return };
    stage.operator.stop().expect("it ends by itself");
    stage.apply(&object(16)).await;
    let first = Replica::start(&stage, "first");
    first.takes_over().await;
    carried_out(&stage, 16).await;
    let second = Replica::start(&stage, "second");

    // Stopped for longer than its lease.
    first.process.signal("STOP");
    second.takes_over().await;
    stage.apply(&object(17)).await;
    carried_out(&stage, 17).await;
    // Now the second is stopped too, with a change that nobody has carried out: what is written
    // from here on, the first writes.
    second.process.signal("STOP");
    stage.apply(&object(18)).await;
    let before = settled(&stage).await;
    assert!(before.len() >= 9, "{before:?}");
    assert!(holder(&stage).await.starts_with("second"));
    first.process.signal("CONT");
    // It may write again once the second's lease has run out and it has taken it, and not before:
    // by the time a write of it is seen, the lease must be its own.
    let wrote = || async { versions(&stage).await != before };
    poll("the first is a candidate like any other", LIMIT, wrote).await.expect("it takes over");
    let holder_then = holder(&stage).await;
    assert!(holder_then.starts_with("first"), "written under the lease of {holder_then}");
    carried_out(&stage, 18).await;

    // The second wakes up and finds that it was replaced. Killed, the other one takes over.
    second.process.signal("CONT");
    let (mut first, second) = (first, second);
    first.process.kill();
    stage.apply(&object(19)).await;
    second.takes_over().await;
    carried_out(&stage, 19).await;

    // Somebody else's lease by now: nothing is written until that has run out as well.
    let thief = "{\"spec\":{\"holderIdentity\":\"thief\"}}";
    let steal = ["patch", "lease/orrery", "--type=merge", "-p", thief];
    stage.kubectl(&steal).await.expect("it is taken");
    let noticed = poll("the second no longer leads", LIMIT, || async { !second.leads() }).await;
    noticed.unwrap_or_else(|error| panic!("{error}\n{}", second.process.log_tail()));
    let _third = Replica::start(&stage, "third");
    stage.apply(&object(20)).await;
    carried_out(&stage, 20).await;
    assert_ne!(holder(&stage).await, "thief");
}
