//! Writers of a cluster whose pods are processes: one for each shard, which asks the pods where its key
//! is after every error.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use orrery_e2e_cluster::{Namespace, poll_for};
use orrery_e2e_tests::load::{self, Writer};
use orrery_e2e_tests::slots;

use crate::kubernetes::LIMIT;

/// Between two looks at the pods.
const LOOK: Duration = Duration::from_millis(100);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const PORT: u16 = 6379;

/// Where the pods are now.
type Seeds = Arc<Mutex<Vec<SocketAddr>>>;

pub(super) struct Load {
    writers: load::Load,
    follower: tokio::task::JoinHandle<()>,
    seeds: Seeds,
    password: String,
    begun: Instant,
}

fn now(seeds: &Seeds) -> Vec<SocketAddr> {
    seeds.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Load {
    /// Starts a writer for each of so many shards.
    pub(super) async fn start(namespace: &Namespace, password: &str, shards: u32) -> Self {
        let seeds = Seeds::default();
        let follower = tokio::spawn(follow(namespace.api(), Arc::clone(&seeds)));
        let keys = poll_for("the keys of all shards", LIMIT, || async {
            tokio::task::block_in_place(|| slots::keys(&now(&seeds), password, shards, &dial))
        });
        let keys = keys.await.expect("some pod serves");
        let writers = keys.into_iter().map(|key| {
            let (seeds, password, own) = (Arc::clone(&seeds), password.to_owned(), key.clone());
            let (known, mut turn) = (password.clone(), 0);
            let dial_owner = move || {
                let mut nodes = now(&seeds);
                // Another one first every time: one that is paused would answer nothing.
                turn += 1;
                let first = turn % nodes.len().max(1);
                nodes.rotate_left(first);
                dial(slots::owner(&nodes, &password, &own, &dial)?)
            };
            Writer::new(&key, &known, 1, Duration::ZERO, dial_owner)
        });
        let writers = load::Load::start(writers.collect());
        let (password, begun) = (password.to_owned(), Instant::now());
        Self { writers, follower, seeds, password, begun }
    }

    /// Acknowledged writes so far, of each shard.
    pub(super) fn acknowledged(&self) -> Vec<u64> {
        self.writers.acknowledged()
    }

    /// The longest time without an acknowledged write of any shard since this was asked last.
    pub(super) fn take_gap(&self) -> Duration {
        self.writers.take_window().0
    }

    /// Stops the writers, prints how many wrote, and asserts that nothing is missing.
    pub(super) async fn check(self, what: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let books = self.writers.stop();
        let mut total = 0;
        for book in &books {
            let client = poll_for("the primary of a book", LIMIT, || async {
                tokio::task::block_in_place(|| {
                    let owner = slots::owner(&now(&self.seeds), &self.password, &book.key, &dial)?;
                    slots::log_in(owner, &self.password, &dial)
                })
            });
            let mut client = client.await.expect("it is somewhere");
            total += load::check(what, std::slice::from_ref(book), &mut client);
        }
        self.follower.abort();
        let rate = total as f64 / seconds;
        println!("{what}: {total} acknowledged writes, {rate:.0} in a second");
    }
}

fn dial(address: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&address, CONNECT_LIMIT).ok()
}

/// Keeps the addresses of the pods.
async fn follow(pods: Api<Pod>, seeds: Seeds) {
    loop {
        if let Ok(list) = pods.list(&kube::api::ListParams::default()).await {
            let ips = list.items.iter().filter_map(|pod| pod.status.as_ref()?.pod_ip.as_ref());
            let found: Vec<SocketAddr> =
                ips.filter_map(|ip| Some(SocketAddr::new(ip.parse().ok()?, PORT))).collect();
            *seeds.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
        tokio::time::sleep(LOOK).await;
    }
}
