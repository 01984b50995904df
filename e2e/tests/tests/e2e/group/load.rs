//! Clients that write all the time, and the book of what was acknowledged to them.
//!
//! They connect to whatever pod the Service `-rw` selects, as kube-proxy would let them, and go back
//! to it after every error. Every number is sent once: a write whose reply did not come may or may not
//! be there, one that was acknowledged must be, and none may be there twice.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use orrery_e2e_cluster::Namespace;
use orrery_e2e_tests::client::{Client, Reply};

const WRITERS: usize = 4;
/// Between two looks at the Service.
const LOOK: Duration = Duration::from_millis(100);
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// Where the Service leads now.
type Target = Arc<Mutex<Option<SocketAddr>>>;

pub(super) struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Book>>,
    follower: tokio::task::JoinHandle<()>,
    acknowledged: Arc<AtomicU64>,
    target: Target,
    password: String,
}

/// What one writer knows.
struct Book {
    writer: usize,
    acknowledged: BTreeSet<u64>,
    /// Longest time between two acknowledged writes.
    gap: Duration,
}

impl Load {
    pub(super) fn start(namespace: &Namespace, object: &str, password: &str) -> Self {
        let target: Target = Arc::default();
        let follower = tokio::spawn(follow(
            namespace.api(),
            namespace.api(),
            format!("{object}-kv-rw"),
            Arc::clone(&target),
        ));
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let writers = (0..WRITERS).map(|writer| {
            let (stop, target) = (Arc::clone(&stop), Arc::clone(&target));
            let (count, password) = (Arc::clone(&acknowledged), password.to_owned());
            std::thread::spawn(move || write(writer, &stop, &target, &count, &password))
        });
        let (writers, password) = (writers.collect(), password.to_owned());
        Self { stop, writers, follower, acknowledged, target, password }
    }

    /// Acknowledged writes so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops the writers; for tests in which writes may be lost.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().for_each(|writer| drop(writer.join().expect("no panic")));
        self.follower.abort();
    }

    /// Stops the writers, prints the longest gap, and asserts that nothing is missing.
    pub(super) fn check(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let books: Vec<Book> =
            self.writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
        self.follower.abort();
        let address = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = Client::connect(address.expect("a primary")).expect("it listens");
        client.call(&["AUTH", &self.password]).expect("it answers");
        let gap = books.iter().map(|book| book.gap).max().unwrap_or_default();
        let total: usize = books.iter().map(|book| book.acknowledged.len()).sum();
        println!("{what}: {total} acknowledged writes, longest gap {} ms", gap.as_millis());
        for book in books {
            let list = client.call(&["LRANGE", &key(book.writer), "0", "-1"]).expect("it answers");
            let list: Vec<u64> =
                list.items().iter().map(|item| item.text().parse().expect("a number")).collect();
            assert!(list.is_sorted(), "{what}: writer {}: out of order", book.writer);
            let found: BTreeSet<u64> = list.iter().copied().collect();
            assert_eq!(found.len(), list.len(), "{what}: writer {}: doubled", book.writer);
            let lost: Vec<&u64> = book.acknowledged.difference(&found).take(10).collect();
            assert!(lost.is_empty(), "{what}: writer {} lost {lost:?} …", book.writer);
        }
    }
}

fn key(writer: usize) -> String {
    format!("book:{writer}")
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
        let found = found.await;
        *target.lock().unwrap_or_else(PoisonError::into_inner) = found;
        tokio::time::sleep(LOOK).await;
    }
}

fn write(
    writer: usize,
    stop: &AtomicBool,
    target: &Target,
    count: &AtomicU64,
    password: &str,
) -> Book {
    let (mut client, mut number): (Option<Client>, u64) = (None, 0);
    let mut book = Book { writer, acknowledged: BTreeSet::new(), gap: Duration::ZERO };
    let mut last: Option<Instant> = None;
    while !stop.load(Ordering::Relaxed) {
        let address = *target.lock().unwrap_or_else(PoisonError::into_inner);
        if client.is_none() {
            client = address.and_then(|address| connect(address, password));
        }
        let Some(connection) = &mut client else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        number += 1;
        let reply = connection.call(&["RPUSH", &key(writer), &number.to_string()]);
        if let Ok(Reply::Integer(_)) = reply {
            book.acknowledged.insert(number);
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(before) = last.replace(Instant::now()) {
                book.gap = book.gap.max(before.elapsed());
            }
        } else {
            client = None;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    book
}

/// A connection with short deadlines: what does not answer is left.
fn connect(address: SocketAddr, password: &str) -> Option<Client> {
    let mut client = Client::connect(address).ok()?;
    client.stream().set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let ok = client.call(&["AUTH", password]).ok()?;
    (ok == Reply::Simple("OK".into())).then_some(client)
}
