//! Goal: under random kills, pauses, deletions, node deaths, moves, restarts, upgrades and deaths of
//! the operator, with clients writing, nothing acknowledged is lost or doubled, and the object comes
//! to rest once the last fault is over. A printed seed gives the same faults again.
//!
//! `ORRERY_CHAOS_SECONDS` says how long, `ORRERY_CHAOS_SEED` gives the faults of another run.

use std::time::{Duration, Instant};

use orrery_e2e_cluster::Order;
use orrery_e2e_tests::setting;

use super::{LOSSLESS, SIGCONT, SIGSTOP, cluster, goes_on, in_sync, staged};

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_lose_and_double_nothing() {
    let seconds = setting("ORRERY_CHAOS_SECONDS", 0);
    if seconds == 0 {
        orrery_e2e_cluster::not_run("ORRERY_CHAOS_SECONDS says how long; make nightly sets it");
        return;
    }
    let lasts = Duration::from_secs(seconds);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = setting("ORRERY_CHAOS_SEED", now.map_or(1, |now| now.as_secs()));
    println!("chaos: ORRERY_CHAOS_SEED={seed}");
    let Some((mut stage, load, _turn)) = staged("chaos", LOSSLESS, 2).await else { return };
    let (mut dice, begun, mut told) = (Dice(seed), Instant::now(), Vec::new());
    let (mut restart, mut wish, mut release) = (0_u64, 0_u64, 0_u64);
    while begun.elapsed() < lasts {
        let pod = format!("a-kv-{}", dice.below(3));
        let namespace = stage.namespace.name().to_owned();
        let fault = match dice.below(8) {
            0 | 1 => {
                stage.nodes.order(&namespace, &pod, Order::Crash);
                format!("kill {pod}")
            }
            2 | 3 => {
                let pause = Duration::from_millis(500 + dice.below(7000));
                if stage.nodes.order(&namespace, &pod, Order::Signal(SIGSTOP)) {
                    tokio::time::sleep(pause).await;
                    stage.nodes.order(&namespace, &pod, Order::Signal(SIGCONT));
                }
                format!("pause {pod} for {} ms", pause.as_millis())
            }
            4 => {
                // It may be on its way already.
                _ = stage.kubectl(&["delete", "pod", &pod, "--wait=false"]).await;
                format!("delete {pod}")
            }
            5 => {
                wish = dice.below(3);
                "move the primary".to_owned()
            }
            6 => {
                restart += 1;
                "restart all".to_owned()
            }
            _ => {
                release += 1;
                stage.kill_operator(&format!("registry.example/orrery:r{release}"));
                "kill the operator and start the next release".to_owned()
            }
        };
        let spec = format!(
            "{{{LOSSLESS}, restart: r{restart}, failover: {{policy: NoLoss, primary: a-kv-{wish}}}}}"
        );
        stage.apply(&cluster(&spec)).await;
        told.push(format!("{:>6} ms {fault}", begun.elapsed().as_millis()));
        tokio::time::sleep(Duration::from_millis(dice.below(3000))).await;
    }
    let over = Instant::now();
    println!("{}", told.join("\n"));
    in_sync(&stage, 2).await;
    stage.ready("kvcluster/a").await;
    goes_on(&stage, &load, "after the last fault").await;
    println!("chaos: at rest {} ms after the last fault", over.elapsed().as_millis());
    load.check("chaos");
}
