//! Goal: an operator that starts on a view of the past destroys nothing and ends where one that
//! sees the present does. Method: lists are answered from an older revision and watches deliver
//! nothing, so that it acts on the old view alone; then the watches are let go.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::ListParams;
use orrery_e2e_cluster::poll;
use orrery_runtime::faults::Faults;
use orrery_runtime::labels;

use crate::kv::{
    State, change, clusters, create, delete, kv_stage, operator, operator_with, reaches, rested,
    rounds,
};
use crate::stage::{LIMIT, Running, Stage, options};

/// Both kinds of the system were listed in the past.
const LISTS_MIN: usize = 2;
/// Rounds that decide from the old view alone.
const ROUNDS_MIN: u64 = 2;

/// The revision that the server is at.
pub(crate) async fn revision(stage: &Stage) -> String {
    let list = clusters(stage).list(&ListParams::default()).await.expect("a list");
    list.metadata.resource_version.expect("a list has a revision")
}

/// UID of each child: one that was deleted and made again has another.
pub(crate) async fn identities(stage: &Stage) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    let selector = labels::managed_by_selector();
    let ours = ListParams::default().labels(&selector);
    macro_rules! collect {
        ($($kind:ty),*) => { $(
            for object in stage.namespace.api::<$kind>().list(&ours).await.expect("a list") {
                found.insert(format!("{} {}", stringify!($kind), object.name_any()), object.uid());
            }
        )* };
    }
    collect!(ServiceAccount, Secret, ConfigMap, Service, NetworkPolicy, PodDisruptionBudget);
    collect!(StatefulSet);
    found
}

/// An operator that has acted on the view of `revision` and knows nothing newer yet.
pub(crate) async fn in_the_past(stage: &Stage, revision: &str, rounds_min: u64) -> Running {
    let faults = Faults::default();
    faults.lists_at(Some(revision));
    faults.hold_watches(true);
    let mut options = options(stage.name());
    options.watch.streaming_lists = false;
    let running = operator_with(stage, options, faults);
    let acted =
        || async { running.faults.stale_lists() >= LISTS_MIN && rounds(&running) >= rounds_min };
    let acted = poll("it acts on the old view", LIMIT, acted).await;
    acted.unwrap_or_else(|error| {
        let (lists, rounds) = (running.faults.stale_lists(), rounds(&running));
        panic!("{error}: {lists} lists, {rounds} rounds, {:?}", running.faults.writes())
    });
    running
}

/// Starts in the past, catches up, and ends in `expected` with the children it found.
async fn catches_up(stage: &Stage, revision: &str, rounds: u64, expected: &State, when: &str) {
    let before = identities(stage).await;
    let running = in_the_past(stage, revision, rounds).await;
    assert_eq!(identities(stage).await, before, "{when}: while it sees the past");
    running.faults.lists_at(None);
    running.faults.hold_watches(false);
    reaches(stage, expected, when).await;
    assert_eq!(identities(stage).await, before, "{when}: once it has caught up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_an_operator_that_starts_in_the_past_destroys_nothing_and_catches_up() {
    let Some(stage) = kv_stage("kv-stale").await else { return };
    let empty = revision(&stage).await;
    let present = operator(&stage, Faults::default());
    create(&stage).await;
    let created = rested(&stage).await;
    drop(present);
    catches_up(&stage, &empty, 0, &created, "creation").await;

    let unchanged = revision(&stage).await;
    let present = operator(&stage, Faults::default());
    change(&stage).await;
    let changed = rested(&stage).await;
    drop(present);
    catches_up(&stage, &unchanged, ROUNDS_MIN, &changed, "change").await;

    // Deleted and made again: the view holds the object and the children of a life before.
    let first_life = revision(&stage).await;
    let present = operator(&stage, Faults::default());
    delete(&stage).await;
    create(&stage).await;
    let created = rested(&stage).await;
    drop(present);
    catches_up(&stage, &first_life, ROUNDS_MIN, &created, "second life").await;

    let alive = revision(&stage).await;
    delete(&stage).await;
    let running = in_the_past(&stage, &alive, ROUNDS_MIN).await;
    running.faults.lists_at(None);
    running.faults.hold_watches(false);
    reaches(&stage, &State::new(), "deletion").await;
}
