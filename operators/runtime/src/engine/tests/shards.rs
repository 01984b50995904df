//! An object of two shards in two pods, against processes that answer: each shard has a primary, a
//! Lease and an epoch of its own, and every process knows where both are.

use std::net::SocketAddr;

use super::process::{Own, Seen, World, start};
use super::*;
use crate::children::store::CachedPod;
use crate::labels;
use crate::observation::PodView;
use orrery_operand::v1::Role;

const PODS: [&str; 2] = ["a-toy-0", "a-toy-1"];
/// Rounds within which anything here is over.
const ROUNDS_MAX: usize = 40;

struct Shards {
    bench: Bench,
    toy: Toy,
    world: World,
}

fn lease(shard: u32) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/ns/leases/a-toy-{shard}")
}

impl Shards {
    /// Two pods of the template "old", which is the newest.
    async fn new() -> Self {
        let bench = Bench::new();
        let toy = toy(ToySpec { shards: 2, replicas: 2, ..ToySpec::default() });
        let shards = Self { bench, toy, world: World::default() };
        shards.bench.reconcile(&shards.toy).await.expect("no faults");
        for pod in 0..2 {
            shards.begin(pod, "old").await;
        }
        shards.newest("old");
        shards
    }

    /// A pod is made and its process starts.
    async fn begin(&self, pod: usize, revision: &str) {
        let host = ["127.0.0.2", "127.0.0.3"][pod];
        let address = start(&self.world, PODS[pod], host, &[0, 1]).await;
        self.show(pod, address, revision);
    }

    fn show(&self, pod: usize, address: SocketAddr, revision: &str) {
        let meta = ObjectMeta {
            name: Some(PODS[pod].into()),
            namespace: Some("ns".into()),
            labels: Some(labels::child("toy", "a", "server", "1.0")),
            ..ObjectMeta::default()
        };
        let view = PodView {
            name: PODS[pod].into(),
            uid: format!("{revision}-{pod}"),
            revision: Some(revision.into()),
            ip: Some(address.ip().to_string()),
            ready: true,
            ..PodView::default()
        };
        let management_port = Some(address.port());
        let pod = CachedPod { view, management_port, replication_port: None, identity: None };
        self.bench.engine.ctx.children.apply_pod(&meta, &pod);
    }

    /// The newest template.
    fn newest(&self, revision: &str) {
        self.bench.watched();
        let children = &self.bench.engine.ctx.children;
        let mut set = children.get(ChildKind::StatefulSet, "ns", "a-toy").expect("watched");
        let view = set.workload.as_mut().expect("a workload");
        (view.revision, view.updated_replicas) = (Some(revision.into()), 2);
        let script = self.bench.script.lock().expect("no test panics inside");
        let stored = &script.objects["/apis/apps/v1/namespaces/ns/statefulsets/a-toy"];
        let meta = serde_json::from_value(stored["metadata"].clone()).expect("metadata");
        children.apply(ChildKind::StatefulSet, &meta, set);
    }

    fn seen(&self, pod: &str) -> Seen {
        let world = self.world.lock().expect("no test panics inside");
        world.get(pod).cloned().unwrap_or_default()
    }

    /// Pod and epoch of the primary that a shard has.
    fn primary(&self, shard: u32) -> Option<(&'static str, u64)> {
        PODS.into_iter().find_map(|pod| {
            let own: Own = self.seen(pod).shards.get(&shard)?.clone();
            (own.role == Role::Primary).then_some((pod, own.epoch))
        })
    }

    /// The primary that the Lease of a shard names.
    fn holder(&self, shard: u32) -> Value {
        let script = self.bench.script.lock().expect("no test panics inside");
        script
            .objects
            .get(&lease(shard))
            .map_or(Value::Null, |it| it["spec"]["holderIdentity"].clone())
    }

    fn deletes(&self) -> Vec<String> {
        let requests = self.bench.script.lock().expect("no test panics inside").happened();
        requests.into_iter().filter(|request| request.starts_with("DELETE")).collect()
    }

    /// Rounds until something is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..ROUNDS_MAX {
            if is_so(self) {
                return;
            }
            let round = self.bench.reconcile(&self.toy).await;
            round.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        panic!("{what}: {:#?}", self.world);
    }

    /// Rounds within a time in which leases run out.
    async fn in_time(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let rounds = async {
            while !is_so(self) {
                _ = self.bench.reconcile(&self.toy).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_mins(1), rounds).await;
        in_time.unwrap_or_else(|_| panic!("{what}: {:#?}", self.world));
    }

    fn is_settled(&self) -> bool {
        let has_copy = |shard: u32| {
            let (primary, epoch) = self.primary(shard)?;
            let other = PODS.into_iter().find(|pod| *pod != primary)?;
            let own = self.seen(other).shards.get(&shard)?.clone();
            (own.role == Role::Follower && own.epoch == epoch).then_some(primary)
        };
        (0..2).all(|shard| has_copy(shard) == Some(PODS[shard as usize]))
    }

    async fn settled(&self) {
        self.until("each shard is led at home", Self::is_settled).await;
    }
}

#[tokio::test]
async fn each_shard_has_its_own_primary_and_lease_and_all_processes_know_where() {
    let shards = Shards::new().await;
    shards.settled().await;
    assert_eq!((shards.holder(0), shards.holder(1)), (json!(PODS[0]), json!(PODS[1])));
    let knows = |shards: &Shards, pod: &str| {
        let routes = shards.seen(pod).routes.shards;
        let of = |route: &orrery_operand::v1::ShardRoute| {
            let primary = route.primary.as_ref().map(|node| node.address.clone());
            (route.id, primary, route.followers.len())
        };
        let first = (0, Some("127.0.0.2:7000".to_owned()), 1);
        let second = (1, Some("127.0.0.3:7001".to_owned()), 1);
        routes.iter().map(of).eq([first, second])
    };
    let all_know = |shards: &Shards| PODS.into_iter().all(|pod| knows(shards, pod));
    shards.until("all know the routes", all_know).await;
    let told = shards.seen(PODS[0]).told;
    shards.bench.reconcile(&shards.toy).await.expect("no faults");
    assert_eq!(shards.seen(PODS[0]).told, told, "what is known is not told again");
}

#[tokio::test]
async fn a_beat_renews_each_shard_under_its_own_epoch() {
    let shards = Shards::new().await;
    shards.settled().await;
    let ctx = &shards.bench.engine.ctx;
    let (pulses, children) = (Arc::clone(&ctx.pulses), Arc::clone(&ctx.children));
    let beats = tokio::spawn(pulses.run(children, Arc::clone(&ctx.gate)));
    let renewed = || {
        (0..2).all(|shard: u32| {
            let (_, epoch) = shards.primary(shard).expect("it is settled");
            PODS.into_iter().all(|pod| {
                let renewal = shards.seen(pod).shards[&shard].renewed;
                renewal
                    .is_some_and(|it| (it.shard, it.epoch) == (shard, epoch) && it.followers == 1)
            })
        })
    };
    let wait = async {
        while !renewed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("every shard is renewed");
    beats.abort();
}

#[tokio::test]
async fn a_shard_whose_lease_cannot_be_written_keeps_no_other_from_its_primary() {
    let shards = Shards::new().await;
    let break_at = |path: Option<String>| {
        shards.bench.script.lock().expect("no test panics inside").broken = path;
    };
    break_at(Some("/apis/coordination.k8s.io/v1/namespaces/ns/leases".into()));
    let error = shards.bench.reconcile(&shards.toy).await.expect_err("no Lease can be made");
    assert_eq!(error.class(), Class::Transient);
    break_at(None);
    shards.settled().await;
    shards.newest("new");
    break_at(Some(lease(1)));
    for _ in 0..4 {
        // Shard 1 is to leave the last pod, and its grant cannot be written.
        _ = shards.bench.reconcile(&shards.toy).await;
    }
    assert_eq!(shards.holder(1), json!(PODS[1]), "its grant was not written");
    assert_eq!(shards.primary(0).map(|(pod, _)| pod), Some(PODS[0]), "the other goes on");
    assert_eq!(shards.deletes(), Vec::<String>::new(), "and no pod is replaced meanwhile");
    break_at(None);
    let moved = |shards: &Shards| shards.primary(1).is_some_and(|(pod, _)| pod == PODS[0]);
    shards.until("it leaves", moved).await;
}

#[tokio::test]
async fn a_lost_pod_loses_what_it_was_primary_of_and_gets_it_back() {
    let shards = Shards::new().await;
    shards.settled().await;
    let before = shards.primary(0);
    shards.world.lock().expect("no test panics inside").remove(PODS[1]);
    // Nobody answers there any more.
    shards.show(1, SocketAddr::from(([127, 0, 0, 3], 1)), "old");
    let taken = |shards: &Shards| shards.holder(1) == json!(PODS[0]);
    shards.in_time("the other pod takes over", taken).await;
    assert_eq!(shards.primary(0), before, "the other shard does not notice");
    shards.begin(1, "old").await;
    shards.in_time("it goes home", Shards::is_settled).await;
    assert_eq!(shards.primary(0), before);
}

#[tokio::test]
async fn pods_are_replaced_one_by_one_after_their_shards_left_and_all_go_home() {
    let shards = Shards::new().await;
    shards.settled().await;
    shards.deletes();
    shards.newest("new");
    for pod in [1, 0] {
        let other = PODS[1 - pod];
        let gone = format!("DELETE pods/{}", PODS[pod]);
        let mut deleted = Vec::new();
        for _ in 0..ROUNDS_MAX {
            shards.bench.reconcile(&shards.toy).await.expect("no faults");
            deleted = shards.deletes();
            if !deleted.is_empty() {
                break;
            }
        }
        assert_eq!(deleted, [gone], "one pod at a time");
        for shard in 0..2 {
            let primary = shards.primary(shard).map(|(pod, _)| pod);
            assert_eq!(primary, Some(other), "what it was primary of was taken over before");
        }
        shards.begin(pod, "new").await;
    }
    shards.settled().await;
    assert_eq!(shards.deletes(), Vec::<String>::new());
}
