//! A group on two machines and the clients that write to it: what the tests of groups need.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use orrery_e2e_cluster::{RealNodes, poll};
use orrery_e2e_tests::client::Client;
use orrery_e2e_tests::load::{self, Load, Writer};
use orrery_e2e_tests::setting;

use crate::product::{LIMIT, Product};

const NODE: &str = "-o=jsonpath={.spec.nodeName}";
const PORT: u16 = 6379;

/// Writers that keep a connection, beside one that makes a new one for every write.
const WRITERS: u64 = 3;
/// Between two writes: enough to see a gap, and the machine has other work.
const PACE: Duration = Duration::from_millis(5);
const PACE_BY_NAME: Duration = Duration::from_millis(50);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Writes of each writer that say that it goes on.
const ENOUGH: u64 = 10;

/// When a step began, and what was acknowledged by then.
pub(super) struct Begun {
    pub(super) at: Instant,
    acknowledged: Vec<u64>,
}

pub(super) struct Stage {
    pub(super) product: Product,
    pub(super) nodes: RealNodes,
    /// The machine that has one pod of the group.
    pub(super) victim: String,
    /// The one with the others and with the clients.
    pub(super) home: String,
    /// The pod on `victim`.
    pub(super) alone: String,
    password: String,
    load: std::sync::Mutex<Load>,
    /// When the clients began.
    begun: Instant,
}

impl Stage {
    /// A group of three that is made as `spec` says.
    pub(super) async fn new(product: Product, nodes: RealNodes, spec: &str) -> Self {
        let group = format!(
            "{{apiVersion: orrery.dev/v1alpha1, kind: KVCluster, metadata: {{name: a}}, \
             spec: {spec}}}"
        );
        product.apply(&group).await;
        product.ready("kvcluster/a").await;
        let placed = "-o=jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
        let placed = product.kubectl(&["get", "pods", placed]).await.expect("they are there");
        let pods: Vec<(&str, &str)> =
            placed.lines().filter_map(|line| line.split_once(' ')).collect();
        assert_eq!(pods.len(), 3, "{placed}");
        let of_node = |node: &str| pods.iter().filter(|(_, at)| *at == node).count();
        let (alone, victim) = pods
            .iter()
            .find(|(_, node)| of_node(node) == 1)
            .unwrap_or_else(|| panic!("the pods are not spread over the nodes: {placed}"));
        let home = nodes.names().iter().find(|name| name != victim).expect("there are two");
        let key = "-o=go-template={{.data.password|base64decode}}";
        let password = product.kubectl(&["get", "secret/a-kv", key]).await.expect("a password");
        let load = Load::start(writers(&product, &nodes, home, &password).await);
        let stage = Self {
            victim: (*victim).to_owned(),
            home: home.clone(),
            alone: (*alone).to_owned(),
            load: std::sync::Mutex::new(load),
            begun: Instant::now(),
            product,
            nodes,
            password,
        };
        stage.is_whole(Instant::now(), "first start").await;
        let begun = stage.begin();
        stage.goes_on(&begun, "first writes").await;
        stage
    }

    fn load(&self) -> std::sync::MutexGuard<'_, Load> {
        self.load.lock().expect("nobody panics with it")
    }

    /// A step begins: windows of the last one are forgotten.
    pub(super) fn begin(&self) -> Begun {
        self.load().take_window();
        Begun { at: Instant::now(), acknowledged: self.load().acknowledged() }
    }

    /// Waits until every writer's writes are acknowledged again by the primary of now, and prints
    /// the longest time without.
    pub(super) async fn goes_on(&self, begun: &Begun, what: &str) {
        // What was acknowledged before the fault took effect is no sign.
        let quiet = self.since(begun);
        let more = poll(what, LIMIT, || async {
            let now = self.since(begun);
            now.iter().zip(&quiet).all(|(now, quiet)| *now >= quiet + ENOUGH)
        });
        if let Err(error) = more.await {
            panic!("{error}: {:?} of each writer\n{}", self.since(begun), self.describe().await);
        }
        let (gap, failed) = self.load().take_window();
        println!("{what}: longest gap {} ms, {failed} writes failed", gap.as_millis());
    }

    fn since(&self, begun: &Begun) -> Vec<u64> {
        let now = self.load().acknowledged();
        now.iter().zip(&begun.acknowledged).map(|(now, before)| now - before).collect()
    }

    /// Waits until all pods serve and are in sync, and prints how long that took.
    pub(super) async fn is_whole(&self, since: Instant, what: &str) {
        let whole = poll(what, LIMIT, || async {
            let object = self.product.object("kvcluster/a").await.unwrap_or_default();
            let followers = object["status"]["followers"].as_array().cloned().unwrap_or_default();
            followers.len() == 2 && followers.iter().all(|one| one["state"] == "InSync")
        });
        if let Err(error) = whole.await {
            panic!("{error}\n{}", self.describe().await);
        }
        self.product.ready("kvcluster/a").await;
        println!("{what}: whole after {} ms", since.elapsed().as_millis());
    }

    pub(super) async fn patch(&self, change: &str) {
        let patch = ["patch", "kvcluster/a", "--type=merge", "-p", change];
        self.product.kubectl(&patch).await.expect("it is taken");
    }

    /// The spec names the primary from now on: once it is in sync it takes over again.
    pub(super) async fn prefer(&self, pod: &str) {
        self.patch(&format!("{{\"spec\":{{\"failover\":{{\"primary\":\"{pod}\"}}}}}}")).await;
    }

    pub(super) async fn primary_is(&self, pod: &str) {
        let moved = poll("the primary is where the spec wants it", LIMIT, || async {
            let object = self.product.object("kvcluster/a").await.unwrap_or_default();
            object["status"]["primary"] == pod
        });
        if let Err(error) = moved.await {
            panic!("{error}\n{}", self.describe().await);
        }
        self.is_whole(Instant::now(), "primary where the spec wants it").await;
    }

    /// Both replicas of the operator run, and the one on this machine works.
    pub(super) async fn operator_works_on(&self, node: &str) {
        let both = ["rollout", "status", "deployment/orrery", "--timeout=120s"];
        self.product.system(&both).await.expect("both replicas run");
        let moved = poll("the operator works there", LIMIT, || async {
            let leader = self.product.leader().await;
            let at = self.product.system(&["get", &format!("pod/{leader}"), NODE]).await;
            match at {
                Ok(at) if at == node => true,
                Ok(_) => {
                    // It gives the lease up, and the other one takes it.
                    let delete = ["delete", &format!("pod/{leader}"), "--timeout=60s"];
                    _ = self.product.system(&delete).await;
                    false
                }
                Err(_) => false,
            }
        });
        moved.await.expect("it moves");
        self.product.system(&both).await.expect("both replicas run");
    }

    /// How often the container of a pod of the operator was started again.
    pub(super) async fn restarts(&self, pod: &str) -> String {
        let count = "-o=jsonpath={.status.containerStatuses[0].restartCount}";
        self.product.system(&["get", &format!("pod/{pod}"), count]).await.expect("it is there")
    }

    pub(super) async fn uids(&self) -> Vec<String> {
        let path = "-o=jsonpath={.items[*].metadata.uid}";
        let text = self.product.kubectl(&["get", "pods", path]).await.unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    pub(super) async fn all_replaced(&self, before: &[String]) {
        assert_eq!(before.len(), 3);
        let replaced = poll("every pod is new", LIMIT, || async {
            let now = self.uids().await;
            now.len() == 3 && now.iter().all(|uid| !before.contains(uid))
        });
        if let Err(error) = replaced.await {
            panic!("{error}\n{}", self.describe().await);
        }
    }

    /// A writer on the primary's machine that dials its pod and nobody else.
    pub(super) async fn writer_beside_the_primary(&self) -> Load {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let key = format!("beside:{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let ip = ["get", &format!("pod/{}", self.alone), "-o=jsonpath={.status.podIP}"];
        let ip = self.product.kubectl(&ip).await.expect("it has an address");
        let address = SocketAddr::new(ip.parse().expect("an address"), PORT);
        let dialer = self.nodes.dialer(&self.victim).expect("it lives");
        let dial = move || dialer.dial(address, CONNECT_LIMIT).ok();
        Load::start(vec![Writer::new(&key, &self.password, 1, PACE, dial)])
    }

    /// What was acknowledged beside the old primary is there under the new one: it was acknowledged
    /// before it was cut off, or after it was primary again.
    pub(super) fn no_other_epoch(&self, beside: Load) {
        load::check("beside the old primary", &beside.stop(), &mut self.client());
    }

    /// Stops the clients and looks everything up that was acknowledged to them.
    pub(super) fn check(&self) {
        let load = std::mem::replace(&mut *self.load(), Load::start(Vec::new()));
        let total = load::check("the group", &load.stop(), &mut self.client());
        let rate = total as f64 / self.begun.elapsed().as_secs_f64();
        println!("{total} acknowledged writes, {rate:.0} in a second, none lost");
    }

    /// A client of the Service on the machine of the clients.
    fn client(&self) -> Client {
        let address = tokio::task::block_in_place(|| {
            let handle = tokio::runtime::Handle::current();
            handle.block_on(service_address(&self.product))
        });
        let dialer = self.nodes.dialer(&self.home).expect("it lives");
        let stream = dialer.dial(address, Duration::from_secs(5)).expect("the Service answers");
        let mut client = Client::over(stream).expect("a connection");
        client.call(&["AUTH", &self.password]).expect("it answers");
        client
    }

    /// Everything that may say why something did not happen.
    async fn describe(&self) -> String {
        let object = self.product.kubectl(&["get", "kvcluster/a", "-o=yaml"]).await;
        let pods = self.product.kubectl(&["get", "pods,services,endpointslices", "-o=wide"]).await;
        let operators = self.product.system(&["get", "pods,leases", "-o=wide"]).await;
        let logs = ["logs", "--selector=app.kubernetes.io/name=orrery", "--tail=40", "--prefix"];
        let logs = self.product.system(&logs).await;
        let parts = [object, pods, operators, logs];
        parts.map(|part| part.unwrap_or_else(|error| error)).join("\n")
    }
}

async fn service_address(product: &Product) -> SocketAddr {
    let ip = ["get", "service/a-kv-rw", "-o=jsonpath={.spec.clusterIP}"];
    let ip = product.kubectl(&ip).await.expect("the Service is there");
    SocketAddr::new(ip.parse().expect("an address"), PORT)
}

/// Clients on `home`: some keep a connection to the address of the Service, one is redis-cli that
/// dials the Service by its name for every write.
async fn writers(product: &Product, nodes: &RealNodes, home: &str, password: &str) -> Vec<Writer> {
    let address = service_address(product).await;
    let dialer = nodes.dialer(home).expect("it lives");
    let pipeline = setting("ORRERY_PIPELINE", 1);
    let mut writers: Vec<Writer> = (0..setting("ORRERY_WRITERS", WRITERS))
        .map(|number| {
            let dialer = dialer.clone();
            let dial = move || dialer.dial(address, CONNECT_LIMIT).ok();
            Writer::new(&format!("book:{number}"), password, pipeline, PACE, dial)
        })
        .collect();
    let host = format!("a-kv-rw.{}.svc.cluster.local", product.namespace.name());
    let (nodes, home, password) = (nodes.clone(), home.to_owned(), password.to_owned());
    let runtime = tokio::runtime::Handle::current();
    writers.push(Writer::by_program("book:names", PACE_BY_NAME, move |number| {
        let mut command = Command::new("timeout");
        command.args(["2", "redis-cli", "-e", "-h", &host, "SADD", "book:names"]);
        command.arg(number.to_string()).env("REDISCLI_AUTH", &password);
        let output = runtime.block_on(nodes.run_on(&home, command));
        output.is_ok_and(|output| output.status.success())
    }));
    writers
}
