//! What a thousand KVClusters cost the operator's own process: memory, time until each is reported,
//! requests at rest. Their pods are on toy nodes and answer as data planes do.
//!
//! `ORRERY_SCALE_OBJECTS` says how many and `ORRERY_BIN` names a release build; `make nightly` sets
//! both. The figures are printed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{CustomResourceExt, ResourceExt};
use orrery_api::ConditionType;
use orrery_api::backup::{Backup, BackupSchedule};
use orrery_api::condition::{find, is_true};
use orrery_api::kv::{KVCluster, KVClusterSpec};
use orrery_e2e_cluster::poll;
use tokio::sync::watch;

use crate::kv::{clusters, kv_stage};
use crate::operand::Answering;

/// For all objects to be ready, on a machine that runs the control plane as well.
const LIMIT: Duration = Duration::from_mins(40);
/// What the operator may take with a thousand objects.
const RESIDENT_MIB_MAX: u64 = 200;
/// From creation to the first status, of 99 in 100 objects.
const REPORTED_MAX: Duration = Duration::from_secs(30);
/// Length of one look at the request counters.
const WINDOW: Duration = Duration::from_secs(20);
/// A watch that the server ends is opened again: that many requests of a window are rest.
const WATCHES_MAX: u64 = 4;
/// Looks before the operator is said never to rest.
const WINDOWS_MAX: usize = 30;

/// The operator's process; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Resident memory in MiB: now, and the most there was.
    fn resident_mib(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.0.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let kib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        (kib("VmRSS") >> 10, kib("VmHWM") >> 10)
    }
}

/// Calls to the API server so far, watches included.
fn requests(port: u16) -> u64 {
    let page = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let page = page().expect("the operator answers");
    let samples = page.lines().filter(|line| line.starts_with("rest_client_requests_total"));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// When each object was first reported, and when it was ready.
#[derive(Debug, Default, Clone)]
struct Times {
    reported: HashMap<String, Instant>,
    ready: HashMap<String, Instant>,
}

/// Notes the times from a watch that begins before the first object is made.
async fn note(api: kube::Api<KVCluster>, times: Arc<watch::Sender<Times>>) {
    let mut version = "0".to_owned();
    loop {
        let params = WatchParams::default().timeout(200);
        let Ok(events) = api.watch(&params, &version).await else { continue };
        let mut events = events.boxed();
        while let Ok(Some(event)) = events.try_next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
                continue;
            };
            version = object.resource_version().unwrap_or_default();
            let Some(status) = &object.status else { continue };
            let conditions = &status.common.conditions;
            let (name, now) = (object.name_any(), Instant::now());
            if find(conditions, ConditionType::Ready).is_some() {
                times.send_modify(|times| {
                    times.reported.entry(name.clone()).or_insert(now);
                    if is_true(conditions, ConditionType::Ready) {
                        times.ready.entry(name).or_insert(now);
                    }
                });
            }
        }
    }
}

/// The half, the 99th of a hundred, and the last, in order of length.
fn spread(created: &HashMap<String, Instant>, seen: &HashMap<String, Instant>) -> [Duration; 3] {
    let mut all: Vec<Duration> =
        seen.iter().map(|(name, at)| at.duration_since(created[name])).collect();
    all.sort();
    let at = |percent: usize| all[(all.len() * percent / 100).min(all.len() - 1)];
    [at(50), at(99), at(100)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_kvclusters_cost_little_memory_and_no_requests_at_rest() {
    let objects = std::env::var("ORRERY_SCALE_OBJECTS").ok().and_then(|text| text.parse().ok());
    let (Some(objects), Some(binary)) = (objects, std::env::var_os("ORRERY_BIN")) else {
        eprintln!("not run: ORRERY_SCALE_OBJECTS and ORRERY_BIN are set by make nightly");
        return;
    };
    let Some(stage) = kv_stage("scale").await else { return };
    let cluster = stage.namespace.cluster();
    let others = [Backup::crd(), BackupSchedule::crd()];
    cluster.install_crds(&others).await.expect("valid definitions");
    let nodes = cluster.nodes().expect("a cluster of our own");
    nodes.run_with(stage.name(), Arc::new(Answering::default()));
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = port.expect("a port").port();
    let operator = Command::new(binary)
        .args(["operator", "--image", "registry.example/orrery:test", "--no-lease"])
        .args(["--namespaces", stage.name(), "--http", &format!("127.0.0.1:{port}")])
        .env("KUBECONFIG", cluster.kubeconfig_path())
        .env("ORRERY_LOG_LEVEL", "warn")
        .stdout(Stdio::null())
        .spawn();
    let operator = Process(operator.expect("the operator starts"));
    let up = || async { TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() };
    poll("the operator listens", LIMIT, up).await.expect("it starts");

    let times = Arc::new(watch::channel(Times::default()).0);
    let noting = tokio::spawn(note(clusters(&stage), Arc::clone(&times)));
    let (begun, mut created) = (Instant::now(), HashMap::new());
    for number in 0..objects {
        let name = format!("c{number}");
        let object = KVCluster::new(&name, KVClusterSpec::default());
        clusters(&stage).create(&PostParams::default(), &object).await.expect("a valid object");
        created.insert(name, Instant::now());
    }
    eprintln!("{objects} objects created in {:.1} s", begun.elapsed().as_secs_f32());
    let all = || async { times.borrow().ready.len() == objects };
    let all = poll("all are ready", LIMIT, all).await;
    noting.abort();
    let seen = times.borrow().clone();
    all.unwrap_or_else(|error| panic!("{error}: {} of {objects}", seen.ready.len()));
    let (reported, ready) = (spread(&created, &seen.reported), spread(&created, &seen.ready));

    let mut windows = Vec::new();
    while windows.last().is_none_or(|sent| *sent > WATCHES_MAX) {
        assert!(windows.len() < WINDOWS_MAX, "requests in each window: {windows:?}");
        let before = requests(port);
        tokio::time::sleep(WINDOW).await;
        windows.push(requests(port) - before);
    }
    let (now, most) = operator.resident_mib();
    eprintln!(
        "{objects} KVClusters: {now} MiB resident, {most} MiB at most; first status after {:.1} s \
         (half), {:.1} s (p99), {:.1} s (last); ready after {:.1} s, {:.1} s, {:.1} s; requests in \
         windows of {} s: {windows:?}",
        reported[0].as_secs_f32(),
        reported[1].as_secs_f32(),
        reported[2].as_secs_f32(),
        ready[0].as_secs_f32(),
        ready[1].as_secs_f32(),
        ready[2].as_secs_f32(),
        WINDOW.as_secs(),
    );
    assert!(most <= RESIDENT_MIB_MAX, "{most} MiB resident");
    assert!(reported[1] <= REPORTED_MAX, "the 99th of a hundred: {reported:?}");
}
