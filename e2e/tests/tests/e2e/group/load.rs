//! The writers of a group whose pods are processes: they connect to whatever pod the Service `-rw`
//! selects, as kube-proxy would let them, and go back to it after every error.
//!
//! `ORRERY_WRITERS` says how many connections write, `ORRERY_PIPELINE` how many writes each of them
//! sends before it waits for the answers.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use orrery_e2e_cluster::Namespace;
use orrery_e2e_tests::client::Client;
use orrery_e2e_tests::load::{self, Writer};
use orrery_e2e_tests::setting;

/// Between two looks at the Service.
const LOOK: Duration = Duration::from_millis(100);
/// Longest look at it.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Longest wait for a primary at the end.
const PATIENCE: Duration = Duration::from_mins(1);
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// Where the Service leads now.
type Target = Arc<Mutex<Option<SocketAddr>>>;

pub(crate) struct Load {
    writers: load::Load,
    follower: tokio::task::JoinHandle<()>,
    target: Target,
    password: String,
    begun: Instant,
}

impl Load {
    pub(crate) fn start(namespace: &Namespace, object: &str, password: &str) -> Self {
        let target: Target = Arc::default();
        let follower = tokio::spawn(follow(
            namespace.api(),
            namespace.api(),
            format!("{object}-kv-rw"),
            Arc::clone(&target),
        ));
        let pipeline = setting("ORRERY_PIPELINE", 1);
        let writers = (0..setting("ORRERY_WRITERS", 4)).map(|writer| {
            let target = Arc::clone(&target);
            let dial = move || {
                let address = (*target.lock().unwrap_or_else(PoisonError::into_inner))?;
                TcpStream::connect_timeout(&address, CONNECT_LIMIT).ok()
            };
            Writer::new(&format!("book:{writer}"), password, pipeline, Duration::ZERO, dial)
        });
        let writers = load::Load::start(writers.collect());
        let (password, begun) = (password.to_owned(), Instant::now());
        Self { writers, follower, target, password, begun }
    }

    /// Acknowledged writes so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.writers.acknowledged().iter().sum()
    }

    /// Stops the writers; for tests in which writes may be lost.
    pub(crate) fn stop(self) {
        self.writers.stop();
        self.follower.abort();
    }

    /// Stops the writers, prints the longest gap, and asserts that nothing is missing.
    pub(crate) fn check(self, what: &str) {
        let (gap, _) = self.writers.take_window();
        let seconds = self.begun.elapsed().as_secs_f64();
        let address = primary(&self.target);
        let books = self.writers.stop();
        self.follower.abort();
        let mut client = Client::connect(address).expect("it listens");
        client.call(&["AUTH", &self.password]).expect("it answers");
        let total = load::check(what, &books, &mut client);
        let (gap, rate) = (gap.as_millis(), total as f64 / seconds);
        println!(
            "{what}: {total} acknowledged writes, {rate:.0} in a second, longest gap {gap} ms"
        );
    }
}

/// Where the Service leads; waits while a look at it fails or its pod is not ready.
fn primary(target: &Target) -> SocketAddr {
    let until = Instant::now() + PATIENCE;
    loop {
        let address = *target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = address {
            return address;
        }
        assert!(Instant::now() < until, "the Service leads nowhere");
        tokio::task::block_in_place(|| std::thread::sleep(LOOK));
    }
}

/// Keeps the address the Service leads to.
async fn follow(services: Api<Service>, pods: Api<Pod>, service: String, target: Target) {
    loop {
        let found = async {
            let spec = services.get(&service).await.ok()?.spec?;
            let pod = pods.get(spec.selector?.get(POD_NAME)?).await.ok()?;
            let port = u16::try_from(spec.ports?.first()?.port).ok()?;
            let status = pod.status?;
            let ready = status.conditions.iter().flatten();
            let is_ready = ready.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
            let ip = status.pod_ip?.parse().ok()?;
            is_ready.then(|| SocketAddr::new(ip, port))
        };
        // One that was asked of an API server that went away may never be answered.
        let found = tokio::time::timeout(LOOK_LIMIT, found).await.unwrap_or_default();
        *target.lock().unwrap_or_else(PoisonError::into_inner) = found;
        tokio::time::sleep(LOOK).await;
    }
}
