//! What a runner says of a pod, and the status a kubelet would write for it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

/// A pod as its runner sees it.
#[derive(Debug, Clone)]
pub struct PodState {
    pub phase: Phase,
    /// Why, for a pod that failed as a whole.
    pub reason: Option<String>,
    /// By container name; a container that is not named waits to be created.
    pub containers: BTreeMap<String, ContainerState>,
}

/// A container as its runner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// `process://<pid>`, or empty when no process stands behind it.
    pub id: String,
    pub step: Step,
    pub ready: bool,
    pub restarts: i32,
    /// How the run before this one ended.
    pub last: Option<Ended>,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Not started, and why: `ContainerCreating`, `CrashLoopBackOff`.
    Waiting {
        reason: String,
        message: String,
    },
    Running {
        since: Timestamp,
    },
    Ended(Ended),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub exit_code: i32,
    /// `Completed`, `Error` or `OOMKilled`.
    pub reason: String,
    pub since: Timestamp,
    pub until: Timestamp,
}

/// What the kubelet knows beside the runner.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) pod_address: String,
    pub(super) host_address: String,
    pub(super) started: Timestamp,
}

/// When each condition last changed, kept between writes.
pub(super) type Transitions = BTreeMap<&'static str, (bool, Timestamp)>;

impl ContainerState {
    pub(crate) fn waiting(reason: &str, message: &str) -> Self {
        let step = Step::Waiting { reason: reason.to_owned(), message: message.to_owned() };
        Self { id: String::new(), step, ready: false, restarts: 0, last: None }
    }
}

/// The strategic merge patch of a pod's status.
pub(super) fn patch(
    pod: &Pod,
    state: &PodState,
    place: &Place,
    transitions: &mut Transitions,
    now: Timestamp,
) -> Value {
    let spec = pod.spec.as_ref();
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let of = |container: &Container| state.containers.get(&container.name);
    let initialized = init.iter().all(|container| {
        matches!(of(container), Some(ContainerState { step: Step::Ended(end), .. }) if end.exit_code == 0)
    });
    let all_ready = state.phase == Phase::Running
        && containers.iter().all(|container| of(container).is_some_and(|state| state.ready));
    let conditions = [
        ("PodReadyToStartContainers", true),
        ("Initialized", initialized),
        ("ContainersReady", all_ready),
        ("Ready", all_ready && gates_open(pod)),
    ];
    let conditions: Vec<Value> = conditions
        .into_iter()
        .map(|(kind, holds)| condition(kind, holds, transitions, now))
        .collect();
    let statuses = |containers: &[Container]| -> Vec<Value> {
        containers.iter().map(|container| container_status(container, of(container))).collect()
    };
    let mut status = json!({
        "phase": format!("{:?}", state.phase),
        "hostIP": place.host_address,
        "hostIPs": [{ "ip": place.host_address }],
        "podIP": place.pod_address,
        "podIPs": [{ "ip": place.pod_address }],
        "startTime": place.started.to_string(),
        "conditions": conditions,
        "containerStatuses": statuses(containers),
        "initContainerStatuses": statuses(init),
    });
    if let Some(reason) = &state.reason {
        status["reason"] = json!(reason);
    }
    // A later pod of the name is none of ours.
    json!({ "metadata": { "uid": pod.metadata.uid }, "status": status })
}

/// Whether the API server has the pod as ready.
pub(super) fn says_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions.unwrap_or_default().iter().any(|held| held.type_ == "Ready" && held.status == "True")
}

/// Whether the conditions that the spec waits for beside the containers all hold.
pub(super) fn gates_open(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref());
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    gates.unwrap_or_default().iter().all(|gate| {
        let mut conditions = conditions.unwrap_or_default().iter();
        conditions.any(|held| held.type_ == gate.condition_type && held.status == "True")
    })
}

fn condition(
    kind: &'static str,
    holds: bool,
    transitions: &mut Transitions,
    now: Timestamp,
) -> Value {
    let since = match transitions.get(kind) {
        Some((held, since)) if *held == holds => *since,
        _ => now,
    };
    transitions.insert(kind, (holds, since));
    json!({
        "type": kind,
        "status": if holds { "True" } else { "False" },
        "reason": if holds { Value::Null } else { json!("ContainersNotReady") },
        "lastTransitionTime": seconds(since),
    })
}

fn container_status(container: &Container, state: Option<&ContainerState>) -> Value {
    let creating = ContainerState::waiting("ContainerCreating", "");
    let state = state.unwrap_or(&creating);
    let step = match &state.step {
        Step::Waiting { reason, message } => {
            json!({ "waiting": { "reason": reason, "message": message } })
        }
        Step::Running { since } => json!({ "running": { "startedAt": seconds(*since) } }),
        Step::Ended(end) => json!({ "terminated": ended(end) }),
    };
    let last = state.last.as_ref().map_or(json!({}), |end| json!({ "terminated": ended(end) }));
    let image = container.image.as_deref().unwrap_or_default();
    json!({
        "name": container.name,
        "image": image,
        "imageID": image,
        "containerID": state.id,
        "ready": state.ready,
        "started": matches!(state.step, Step::Running { .. }),
        "restartCount": state.restarts,
        "state": step,
        "lastState": last,
    })
}

fn ended(end: &Ended) -> Value {
    json!({
        "exitCode": end.exit_code,
        "reason": end.reason,
        "startedAt": seconds(end.since),
        "finishedAt": seconds(end.until),
    })
}

/// Times in a pod's status have whole seconds.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object;

    fn pod(gates: &[&str], conditions: &[(&str, &str)]) -> Pod {
        let gates: Vec<_> = gates.iter().map(|gate| json!({ "conditionType": gate })).collect();
        let condition = |(kind, status): &(&str, &str)| json!({ "type": kind, "status": status });
        let conditions: Vec<_> = conditions.iter().map(condition).collect();
        object(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {},
            "spec": {
                "containers": [{ "name": "main", "image": "x" }],
                "initContainers": [{ "name": "first" }],
                "readinessGates": gates,
            },
            "status": { "conditions": conditions },
        }))
    }

    fn running() -> PodState {
        let ended = Ended {
            exit_code: 0,
            reason: "Completed".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
        };
        let first = ContainerState { step: Step::Ended(ended), ..ContainerState::waiting("", "") };
        let step = Step::Running { since: Timestamp::UNIX_EPOCH };
        let main = ContainerState { step, ready: true, ..ContainerState::waiting("", "") };
        let containers = [("first".to_owned(), first), ("main".to_owned(), main)].into();
        PodState { phase: Phase::Running, reason: None, containers }
    }

    fn place() -> Place {
        Place {
            pod_address: "10.244.1.2".to_owned(),
            host_address: "10.88.0.11".to_owned(),
            started: Timestamp::UNIX_EPOCH,
        }
    }

    fn conditions(pod: &Pod, state: &PodState) -> BTreeMap<String, String> {
        let patch = patch(pod, state, &place(), &mut Transitions::new(), Timestamp::UNIX_EPOCH);
        let conditions = patch["status"]["conditions"].as_array().expect("a list").clone();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        conditions.iter().map(|c| (text(&c["type"]), text(&c["status"]))).collect()
    }

    #[test]
    fn a_pod_whose_containers_run_is_ready() {
        let all = conditions(&pod(&[], &[]), &running());
        assert!(all.values().all(|status| status == "True"), "{all:?}");
    }

    #[test]
    fn a_closed_gate_keeps_a_pod_from_ready() {
        let closed = conditions(&pod(&["x/gate"], &[]), &running());
        assert_eq!((&*closed["ContainersReady"], &*closed["Ready"]), ("True", "False"));
        let open = conditions(&pod(&["x/gate"], &[("x/gate", "True")]), &running());
        assert_eq!(open["Ready"], "True");
    }

    #[test]
    fn a_failed_pod_is_not_ready_though_its_containers_were() {
        let state = PodState { phase: Phase::Failed, ..running() };
        assert_eq!(conditions(&pod(&[], &[]), &state)["Ready"], "False");
    }

    #[test]
    fn a_transition_time_moves_only_with_its_condition() {
        let (pod, mut transitions) = (pod(&[], &[]), Transitions::new());
        let later = Timestamp::from_second(60).expect("a time");
        let ready_at =
            |patch: &Value| patch["status"]["conditions"][3]["lastTransitionTime"].clone();
        let first = patch(&pod, &running(), &place(), &mut transitions, Timestamp::UNIX_EPOCH);
        let same = patch(&pod, &running(), &place(), &mut transitions, later);
        assert_eq!(ready_at(&first), ready_at(&same));
        let failed = PodState { phase: Phase::Failed, ..running() };
        let other = patch(&pod, &failed, &place(), &mut transitions, later);
        assert_ne!(ready_at(&first), ready_at(&other));
    }
}
