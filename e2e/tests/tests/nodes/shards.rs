//! Shards that are spread over two machines, with their journals in a database, while clients of each of
//! them write: whatever happens to a machine, the other one goes on with all of them, nothing acknowledged
//! is lost, and the shards come home.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use orrery_e2e_cluster::{Dialer, RealNodes, poll, poll_for};
use orrery_e2e_tests::load::{self, Load, Writer};
use orrery_e2e_tests::{setting, slots};

use crate::group::database;
use crate::product::{LIMIT, Product};

const SHARDS: u32 = 4;
const OBJECT: &str = "{apiVersion: orrery.dev/v1alpha1, kind: KVCluster, metadata: {name: a}, \
    spec: {replicas: 2, shardsPerPod: 2, followers: 1, resp: {clusterMode: Slots}, \
    journal: {backend: Postgres, ref: {name: engine}}}}";
const PORT: u16 = 6379;
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Between two writes: enough to see a gap, and the machine has other work.
const PACE: Duration = Duration::from_millis(5);
/// Writes to each shard that say that it goes on.
const ENOUGH: u64 = 10;

struct Stage {
    product: Product,
    nodes: RealNodes,
    /// The machine that things happen to: clients and operator are on the other one.
    victim: String,
    /// The pods of either.
    pods: [String; 2],
    clients: Clients,
    load: Load,
}

/// Clients on a machine, who know the Service.
#[derive(Clone)]
struct Clients {
    dialer: Dialer,
    service: SocketAddr,
    password: String,
}

impl Clients {
    fn dial(&self) -> impl Fn(SocketAddr) -> Option<TcpStream> + use<> {
        let dialer = self.dialer.clone();
        move |address| dialer.dial(address, CONNECT_LIMIT).ok()
    }

    fn owner(&self, key: &str) -> Option<SocketAddr> {
        slots::owner(&[self.service], &self.password, key, &self.dial())
    }

    fn writer(&self, key: &str) -> Writer {
        let (own, of) = (self.clone(), key.to_owned());
        let dial = move || own.dial()(own.owner(&of)?);
        Writer::new(key, &self.password, 1, PACE, dial)
    }
}

impl Stage {
    async fn new(product: Product, nodes: RealNodes) -> Self {
        product.apply(OBJECT).await;
        product.ready("kvcluster/a").await;
        let on = |pod: &'static str| {
            let product = &product;
            async move {
                let node = ["get", pod, "-o=jsonpath={.spec.nodeName}"];
                product.kubectl(&node).await.expect("it is there")
            }
        };
        let (first, victim) = (on("pod/a-kv-0").await, on("pod/a-kv-1").await);
        assert_ne!(first, victim, "the pods are on different machines");
        let ip = ["get", "service/a-kv-rw", "-o=jsonpath={.spec.clusterIP}"];
        let ip = product.kubectl(&ip).await.expect("the Service is there");
        let key = "-o=go-template={{.data.password|base64decode}}";
        let clients = Clients {
            dialer: nodes.dialer(&first).expect("it lives"),
            service: SocketAddr::new(ip.parse().expect("an address"), PORT),
            password: product.kubectl(&["get", "secret/a-kv", key]).await.expect("a password"),
        };
        let keys = poll_for("the keys of all shards", LIMIT, || async {
            let Clients { service, password, .. } = &clients;
            let find = || slots::keys(&[*service], password, SHARDS, &clients.dial());
            tokio::task::block_in_place(find)
        });
        let keys = keys.await.expect("some pod serves");
        let load = Load::start(keys.iter().map(|key| clients.writer(key)).collect());
        let pods = ["a-kv-0".to_owned(), "a-kv-1".to_owned()];
        let stage = Self { product, nodes, victim, pods, clients, load };
        stage.is_whole("first start").await;
        stage.goes_on("first writes").await;
        stage
    }

    /// Waits until writes to every shard are acknowledged by its primary of now, and prints the longest
    /// time without.
    async fn goes_on(&self, what: &str) {
        let before = self.load.acknowledged();
        let more = poll(what, LIMIT, || async {
            let mut now = self.load.acknowledged().into_iter().zip(&before);
            now.all(|(now, before)| now >= before + ENOUGH)
        });
        if let Err(error) = more.await {
            let now = self.load.acknowledged();
            panic!("{error}: {before:?} {now:?}\n{}", self.describe().await);
        }
        let (gap, failed) = self.load.take_window();
        println!("{what}: longest gap of a shard {} ms, {failed} writes failed", gap.as_millis());
    }

    async fn owners(&self) -> Vec<String> {
        let object = self.product.object("kvcluster/a").await.unwrap_or_default();
        let shards = object["status"]["shards"].as_array().cloned().unwrap_or_default();
        shards.iter().map(|shard| shard["owner"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until every shard is at home, and its follower has everything.
    async fn is_whole(&self, what: &str) {
        let since = Instant::now();
        let [first, second] = &self.pods;
        let home = [first, second, first, second].map(String::clone);
        let whole = poll(what, LIMIT, || async {
            let object = self.product.object("kvcluster/a").await.unwrap_or_default();
            let followers = object["status"]["followers"].as_array().cloned().unwrap_or_default();
            self.owners().await == home
                && followers.len() == 2
                && followers.iter().all(|follower| follower["state"] == "InSync")
        });
        if let Err(error) = whole.await {
            panic!("{error}\n{}", self.describe().await);
        }
        self.product.ready("kvcluster/a").await;
        println!("{what}: whole after {} ms", since.elapsed().as_millis());
    }

    /// Waits until the pod on the other machine is primary of all shards.
    async fn taken_over(&self, what: &str) {
        let taken = poll(what, LIMIT, || async {
            let owners = self.owners().await;
            owners.len() == SHARDS as usize && owners.iter().all(|owner| *owner == self.pods[0])
        });
        if let Err(error) = taken.await {
            panic!("{error}\n{}", self.describe().await);
        }
    }

    /// The other machine is killed, stopped and cut off, and comes back each time.
    async fn loses_a_machine(&self) {
        self.nodes.kill(&self.victim).await.expect("it is killed");
        self.taken_over("node of two shards killed").await;
        self.goes_on("node of two shards killed").await;
        self.nodes.start_node(&self.victim).await.expect("it boots");
        self.is_whole("node of two shards killed").await;
        self.goes_on("home again").await;

        let stopped = self.nodes.pause(&self.victim).await.expect("it is stopped");
        self.taken_over("node of two shards stopped").await;
        self.goes_on("node of two shards stopped").await;
        drop(stopped);
        self.is_whole("node of two shards stopped").await;

        let cut = self.nodes.isolate(&self.victim).await.expect("it is cut off");
        self.taken_over("node of two shards cut off").await;
        self.goes_on("node of two shards cut off").await;
        drop(cut);
        self.is_whole("node of two shards cut off").await;
    }

    async fn describe(&self) -> String {
        let object = self.product.kubectl(&["get", "kvcluster/a", "-o=yaml"]).await;
        let pods = self.product.kubectl(&["get", "pods,leases", "-o=wide"]).await;
        let logs = ["logs", "--selector=app.kubernetes.io/name=orrery", "--tail=40", "--prefix"];
        let logs = self.product.system(&logs).await;
        [object, pods, logs].map(|part| part.unwrap_or_else(|error| error)).join("\n")
    }

    /// Stops the clients and looks everything up that was acknowledged to them.
    async fn check(self) {
        let mut total = 0;
        for book in self.load.stop() {
            let client = poll_for("the primary of a book", LIMIT, || async {
                tokio::task::block_in_place(|| {
                    let owner = self.clients.owner(&book.key)?;
                    slots::log_in(owner, &self.clients.password, &self.clients.dial())
                })
            });
            let mut client = client.await.expect("it is somewhere");
            total += load::check("the shards", std::slice::from_ref(&book), &mut client);
        }
        println!("{total} acknowledged writes, none lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_keep_every_acknowledged_write_whatever_happens_to_a_machine() {
    let Some((product, nodes)) = Product::with_nodes("shards").await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let Some(_database) = database(&product, &nodes, folder.path()).await else { return };
    let stage = Stage::new(product, nodes).await;

    // Once, and again for as long as `ORRERY_CHAOS_SECONDS` says.
    let until = Instant::now() + Duration::from_secs(setting("ORRERY_CHAOS_SECONDS", 0));
    loop {
        stage.loses_a_machine().await;
        if Instant::now() >= until {
            break;
        }
    }
    let drain = ["drain", &stage.victim, "--ignore-daemonsets", "--delete-emptydir-data"];
    let drain = [&drain[..], &["--timeout=120s"]].concat();
    stage.product.kubectl(&drain).await.expect("nothing stops the drain");
    stage.goes_on("node of two shards drained").await;
    stage.product.kubectl(&["uncordon", &stage.victim]).await.expect("it takes pods again");
    stage.is_whole("node of two shards drained").await;
    stage.check().await;
}
