//! The API server is away: first it hangs, then it is gone. Data planes serve on, a primary with
//! followers too; when it is back, everything converges without a restart.
//!
//! `ORRERY_OUTAGE_SECONDS` sets the length, half of it for each kind of absence.

use std::time::{Duration, Instant};

use orrery_e2e_cluster::{Cluster, ClusterError, Options, not_run};
use orrery_e2e_tests::setting;

use crate::group::load::Load;
use crate::group::{LOSSLESS, TURN, cluster, goes_on, in_sync};
use crate::kubernetes::Stage;

const SECONDS: u64 = 20;

fn outage() -> Duration {
    Duration::from_secs(setting("ORRERY_OUTAGE_SECONDS", SECONDS))
}

/// A cluster of its own: all other tests need theirs.
pub(crate) async fn own_cluster() -> Option<Cluster> {
    if std::env::var_os("ORRERY_TEST_KUBECONFIG").is_some() {
        not_run("what this needs is not done to a cluster that is not ours");
        return None;
    }
    match Cluster::start(Options::default()).await {
        Ok(cluster) => Some(cluster),
        Err(ClusterError::Missing(reason)) => {
            not_run(&reason);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Identity of each pod.
async fn pods(stage: &Stage) -> String {
    let words = "-o=jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} \
                 {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    stage.kubectl(&["get", "pods", words]).await.expect("they are listed")
}

/// Writes go on for at least this long, in steps that each see more of them.
async fn writes_go_on(load: &Load, least: Duration, what: &str) {
    let begun = Instant::now();
    while begun.elapsed() < least {
        let wanted = load.acknowledged() + 100;
        let more = || async { load.acknowledged() >= wanted };
        let more = orrery_e2e_cluster::poll(what, Duration::from_mins(1), more).await;
        more.unwrap_or_else(|error| panic!("{error}: {} writes", load.acknowledged()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_planes_serve_while_the_api_server_is_away_and_it_converges_afterwards() {
    let _turn = TURN.lock().await;
    let Some(own) = own_cluster().await else { return };
    let nodes = own.nodes().expect("toy nodes are the default").clone();
    let mut stage = Stage::on(own, nodes, "outage").await;
    stage.apply(&cluster(&format!("{{{LOSSLESS}}}"))).await;
    stage.ready("kvcluster/a").await;
    in_sync(&stage, 2).await;
    let load = Load::start(&stage.namespace, "a", &stage.password("a").await);
    goes_on(&stage, &load, "the first writes").await;
    let before = pods(&stage).await;

    let half = outage() / 2;
    stage.cluster().freeze_api_server();
    writes_go_on(&load, half, "writes while the API server hangs").await;
    stage.cluster().kill_api_server().await;
    writes_go_on(&load, half, "writes while there is no API server").await;
    assert!(stage.operator.ended().is_none(), "the operator waits: {}", stage.operator.log_tail());
    stage.cluster().start_api_server().await.expect("it starts again");

    // A change is carried out, and those who served were left alone.
    goes_on(&stage, &load, "writes after the outage").await;
    in_sync(&stage, 2).await;
    assert_eq!(pods(&stage).await, before, "no pod was replaced or restarted");
    let change = format!("{{{LOSSLESS}, network: {{clients: Cluster}}}}");
    stage.apply(&cluster(&change)).await;
    stage.ready("kvcluster/a").await;
    let rule = "-o=jsonpath={.spec.ingress[0].from[0].namespaceSelector}";
    stage.until(&["get", "networkpolicy/a-kv", rule], |text| text == "{}").await;
    goes_on(&stage, &load, "writes after the change").await;
    load.check("an API server that was away");
}
