//! The runner that runs nothing: a pod is ready at once and ends when it is told to.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::node::status::{ContainerState, Ended, Phase, PodState, Step};
use crate::node::{Order, PodRunner, Seat};

/// Marks pods as running and ready. Those that are not to run for ever succeed at once.
#[derive(Debug, Clone, Copy)]
pub struct MarkOnly;

#[async_trait]
impl PodRunner for MarkOnly {
    async fn run(&self, seat: &mut Seat) {
        let pod = seat.pod();
        let mut state = PodState { phase: Phase::Running, reason: None, containers: running(&pod) };
        seat.report(&state).await;
        if completes(&pod) {
            state.phase = Phase::Succeeded;
            for container in state.containers.values_mut() {
                container.ready = false;
                container.step = Step::Ended(ended(0, "Completed"));
            }
            seat.report(&state).await;
            return;
        }
        loop {
            match seat.order().await {
                Order::Stop { .. } => return,
                Order::Crash => crash(&mut state),
                Order::Ready(ready) => main(&mut state, &pod, |main| main.ready = ready),
                Order::Signal(_) => continue,
            }
            seat.report(&state).await;
        }
    }
}

fn completes(pod: &Pod) -> bool {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    policy.is_some_and(|policy| policy != "Always")
}

fn running(pod: &Pod) -> BTreeMap<String, ContainerState> {
    let Some(spec) = &pod.spec else { return BTreeMap::new() };
    let state = |container: &Container, step: Step, ready| {
        let state = ContainerState { id: String::new(), step, ready, restarts: 0, last: None };
        (container.name.clone(), state)
    };
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|init| state(init, Step::Ended(ended(0, "Completed")), false));
    let since = Timestamp::now();
    let main = spec.containers.iter().map(|main| state(main, Step::Running { since }, true));
    init.chain(main).collect()
}

/// Ends and restarts everything that runs.
fn crash(state: &mut PodState) {
    for container in state.containers.values_mut() {
        if let Step::Running { since } = container.step {
            container.last = Some(Ended { since, ..ended(137, "Error") });
            container.step = Step::Running { since: Timestamp::now() };
            container.restarts += 1;
        }
    }
}

fn main(state: &mut PodState, pod: &Pod, change: impl Fn(&mut ContainerState)) {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    for container in containers {
        if let Some(state) = state.containers.get_mut(&container.name) {
            change(state);
        }
    }
}

fn ended(exit_code: i32, reason: &str) -> Ended {
    let now = Timestamp::now();
    Ended { exit_code, reason: reason.to_owned(), since: now, until: now }
}
