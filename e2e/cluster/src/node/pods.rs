//! Which pods are on the toy nodes: one watch over all pods, one task per pod that is ours.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::node::register::host_address;
use crate::node::status::{Phase, Place, PodState, Transitions};
use crate::node::{Order, Seat, Shared};
use crate::say::say;

/// Orders that may wait for one pod's runner.
const ORDERS_MAX: usize = 64;

/// The running pods by uid.
#[derive(Debug)]
pub(super) struct Table {
    entries: Mutex<HashMap<String, Entry>>,
    /// The next address, from a random beginning so that runs on one machine do not meet.
    addresses: AtomicU32,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: Mutex::default(), addresses: AtomicU32::new(rand::random()) }
    }
}

#[derive(Debug)]
struct Entry {
    node: usize,
    task: Option<AbortHandle>,
    namespace: String,
    name: String,
    latest: watch::Sender<Option<Arc<Pod>>>,
    orders: mpsc::Sender<Order>,
}

impl Table {
    pub(super) fn order(&self, namespace: &str, pod: &str, order: Order) -> bool {
        let entries = self.lock();
        let mut all = entries.values();
        all.find(|entry| entry.namespace == namespace && entry.name == pod)
            .is_some_and(|entry| entry.orders.try_send(order).is_ok())
    }

    /// A fresh address, one that answers on this machine or only a number. None comes twice, so
    /// that nobody meets a successor at the address of a pod that is gone.
    fn address(&self, answers: bool) -> Ipv4Addr {
        let number = self.addresses.fetch_add(1, Ordering::Relaxed);
        let [_, high, middle, low] = number.to_be_bytes();
        if !answers {
            return Ipv4Addr::new(10, 244, middle, low);
        }
        // The upper half of loopback, beside control planes, without the broadcast address.
        Ipv4Addr::new(127, 128 + high % 127, middle, low)
    }

    /// Ends what runs on a node, without a word to the API.
    pub(super) fn abandon(&self, node: usize) {
        self.lock().retain(|_, entry| {
            if entry.node == node {
                entry.task.as_ref().inspect(|task| task.abort());
            }
            entry.node != node
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows all pods until the cluster ends.
pub(super) async fn serve(shared: Arc<Shared>) {
    let pods = Api::<Pod>::all(shared.client.clone());
    let mut events = Box::pin(watcher(pods, watcher::Config::default()).default_backoff());
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                listed.extend(pod.uid());
                see(&shared, pod);
            }
            Ok(watcher::Event::InitDone) => {
                for (uid, entry) in shared.pods.lock().iter() {
                    if !listed.contains(uid) {
                        entry.latest.send_replace(None);
                    }
                }
            }
            Ok(watcher::Event::Apply(pod)) => see(&shared, pod),
            Ok(watcher::Event::Delete(pod)) => {
                if let Some(entry) = shared.pods.lock().get(&pod.uid().unwrap_or_default()) {
                    entry.latest.send_replace(None);
                }
            }
            // The watch goes on by itself, with a backoff.
            Err(cause) => say(&format!("toy nodes lost their watch for a moment: {cause}")),
        }
    }
}

/// Takes note of a pod, and starts its task when it is new here.
fn see(shared: &Arc<Shared>, pod: Pod) {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let Some(index) = shared.names.iter().position(|name| Some(name.as_str()) == node) else {
        return;
    };
    let Some(uid) = pod.uid() else { return };
    let pod = Arc::new(pod);
    let mut entries = shared.pods.lock();
    // Under the lock: a node that dies empties the table after it is marked.
    if shared.is_failed(index) {
        return;
    }
    if let Some(entry) = entries.get(&uid) {
        entry.latest.send_replace(Some(pod));
        return;
    }
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let (orders, inbox) = mpsc::channel(ORDERS_MAX);
    let (latest, view) = watch::channel(Some(pod.clone()));
    let entry = Entry { node: index, task: None, namespace, name, latest, orders };
    let entry = entries.entry(uid.clone()).or_insert(entry);
    // Its end takes the entry away, and waits for this lock.
    entry.task = Some(shared.run.task(carry(shared.clone(), uid, index, pod, view, inbox)));
}

/// A node that was dead sees its pods again and starts them anew.
pub(super) async fn revisit(shared: &Arc<Shared>, node: &str) -> Result<(), kube::Error> {
    let pods = Api::<Pod>::all(shared.client.clone());
    let bound = ListParams::default().fields(&format!("spec.nodeName={node}"));
    pods.list(&bound).await?.items.into_iter().for_each(|pod| see(shared, pod));
    Ok(())
}

/// One pod from its binding until it is gone from the API.
async fn carry(
    shared: Arc<Shared>,
    uid: String,
    index: usize,
    pod: Arc<Pod>,
    latest: watch::Receiver<Option<Arc<Pod>>>,
    orders: mpsc::Receiver<Order>,
) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let runner = shared.runner(&namespace);
    let folder = shared.folder.join(format!("{namespace}_{name}_{uid}"));
    // A pod that a dead node had already keeps its address.
    let address_before = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let mut seat = Seat {
        client: shared.client.clone(),
        run: shared.run.clone(),
        folder: folder.clone(),
        place: Place {
            pod_address: address_before
                .unwrap_or_else(|| shared.pods.address(runner.answers()).to_string()),
            host_address: host_address(index),
            started: Timestamp::now(),
        },
        first: pod,
        latest,
        orders,
        transitions: Transitions::new(),
        reported: None,
        told_grace: None,
    };
    let mut waiting = seat.latest.clone();
    let admitted = tokio::select! {
        admitted = shared.rules.admit(&namespace, &name) => Some(admitted),
        () = to_be_deleted(&mut waiting) => None,
    };
    match admitted {
        Some(Ok(())) => runner.run(&mut seat).await,
        Some(Err(reason)) => {
            let (phase, containers) = (Phase::Failed, BTreeMap::new());
            seat.report(&PodState { phase, reason: Some(reason), containers }).await;
        }
        None => {}
    }
    seat.deleted().await;
    finish(&shared, &namespace, &name, &uid).await;
    let _ = tokio::fs::remove_dir_all(&folder).await;
    shared.pods.lock().remove(&uid);
}

async fn to_be_deleted(latest: &mut watch::Receiver<Option<Arc<Pod>>>) {
    let deleted = |pod: &Option<Arc<Pod>>| {
        pod.as_ref().is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
    };
    // An error is the end of the node, and of the pod with it.
    let _ = latest.wait_for(deleted).await;
}

/// Tells the API server that nothing of the pod is left, as a kubelet does.
async fn finish(shared: &Shared, namespace: &str, name: &str, uid: &str) {
    let pods: Api<Pod> = Api::namespaced(shared.client.clone(), namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    match pods.delete(name, &params).await {
        Ok(_) => {}
        // Gone, or another pod has the name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(cause) => say(&format!("failed to finish pod {namespace}/{name}: {cause}")),
    }
}
