//! What a runner has of the pod it carries: its latest form, a way to report, orders to obey.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{mpsc, watch};

use crate::node::status::{self, Place, PodState, Transitions};
use crate::run::Run;
use crate::say::say;

/// A pod that sets no grace period gets the API server's default; this one is only for pods
/// whose deletion carries none.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// What a runner is told to do with its pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// End the pod: politely for this long, then by force. May come again with less time.
    Stop { grace: Duration },
    /// End every container as if it had crashed; they restart as their policy says.
    Crash,
    /// Send this signal number to the processes of every container.
    Signal(i32),
    /// Report as ready, or as not ready whatever the probes say.
    Ready(bool),
}

/// One pod's place on a toy node.
pub struct Seat {
    pub(super) client: Client,
    pub(super) run: Arc<Run>,
    pub(super) folder: PathBuf,
    pub(super) place: Place,
    pub(super) first: Arc<Pod>,
    /// Nothing when the pod was removed from the API without waiting for this node.
    pub(super) latest: watch::Receiver<Option<Arc<Pod>>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) transitions: Transitions,
    pub(super) reported: Option<PodState>,
    pub(super) told_grace: Option<Duration>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pod = self.first.name_any();
        f.debug_struct("Seat")
            .field("pod", &pod)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Seat {
    /// The pod as last seen.
    pub fn pod(&self) -> Arc<Pod> {
        self.latest.borrow().clone().unwrap_or_else(|| self.first.clone())
    }

    /// The pod's address.
    pub fn address(&self) -> &str {
        &self.place.pod_address
    }

    /// The node's address.
    pub fn host_address(&self) -> &str {
        &self.place.host_address
    }

    /// A client that may do everything. It belongs to the runtime that runners run on.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A folder for this pod alone; whoever fills it creates it. Removed after the pod.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Writes the state into the pod's status. A pod that is gone has none to write.
    pub async fn report(&mut self, state: &PodState) {
        self.reported = Some(state.clone());
        let pod = self.pod();
        let now = Timestamp::now();
        let patch = status::patch(&pod, state, &self.place, &mut self.transitions, now);
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        match pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(cause) => say(&format!("failed to write the status of pod {name}: {cause}")),
        }
    }

    /// The next order; waits as long as there is none. Cancelling loses nothing.
    pub async fn order(&mut self) -> Order {
        loop {
            if let Some(grace) = self.grace()
                && self.told_grace.is_none_or(|told| grace < told)
            {
                self.told_grace = Some(grace);
                return Order::Stop { grace };
            }
            tokio::select! {
                changed = self.latest.changed() => match changed {
                    Ok(()) => self.report_again().await,
                    // The node itself ends.
                    Err(_) => return Order::Stop { grace: Duration::ZERO },
                },
                Some(order) = self.orders.recv() => return order,
            }
        }
    }

    /// Waits until the pod is to be deleted, obeying nothing else.
    pub(super) async fn deleted(&mut self) {
        while self.grace().is_none() && self.latest.changed().await.is_ok() {}
    }

    /// How long the pod still has, once it is to be deleted.
    pub(super) fn grace(&self) -> Option<Duration> {
        let Some(pod) = self.latest.borrow().clone() else { return Some(Duration::ZERO) };
        pod.metadata.deletion_timestamp.as_ref()?;
        let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS);
        Some(Duration::from_secs(seconds.unsigned_abs()))
    }

    /// Others open a pod's readiness gates, and the controllers take the readiness of the pods of a
    /// silent node away; what was reported then has to be said again.
    async fn report_again(&mut self) {
        let pod = self.pod();
        let gated = pod.spec.as_ref().is_some_and(|spec| spec.readiness_gates.is_some());
        let ready = self.transitions.get("Ready").is_some_and(|(ready, _)| *ready);
        let moved = gated && ready != status::gates_open(&pod);
        let taken = ready && !status::says_ready(&pod);
        if let (true, Some(state)) = (moved || taken, self.reported.clone()) {
            self.report(&state).await;
        }
    }
}
