//! The container of a data plane: how it is started, asked and bounded.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, Probe, ResourceRequirements, SecurityContext,
    SleepAction, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_api::spec::PullPolicy;

use super::Frame;

/// Port name of metrics and probes.
pub(crate) const HTTP: &str = "http";
/// Port number of metrics and probes.
pub(crate) const HTTP_PORT: i32 = 9401;

/// How long a pod that is to go still answers. Proxies of Services learn of a change up to a second
/// late, and who is sent to a pod that is gone waits for a timeout, not for an error.
const LINGER_SECONDS: i64 = 2;

/// What differs between systems.
pub(crate) struct Process {
    pub(crate) arguments: Vec<String>,
    /// Names and numbers of the ports; each becomes a variable `ORRERY_LISTEN_<NAME>` too.
    pub(crate) ports: Vec<(String, i32)>,
    /// Variables beside those of the ports.
    pub(crate) variables: Vec<EnvVar>,
    pub(crate) mounts: Vec<VolumeMount>,
}

pub(crate) fn build(frame: &Frame<'_>, process: Process) -> Container {
    let image = &frame.engine.image;
    let ports: Vec<ContainerPort> = process.ports.into_iter().map(port).collect();
    Container {
        name: frame.system.to_owned(),
        image: Some(own_image(frame)),
        image_pull_policy: pull_policy(image.pull_policy),
        args: Some(process.arguments),
        env: Some(environment(frame, process.variables, &ports)),
        resources: amounts(&frame.engine.resources),
        security_context: Some(secured(Some(true))),
        // A long journal is replayed before the first reply: ten minutes are allowed for the
        // process to listen at all, and readiness says when it serves. The shortest period there
        // is: nobody looks in between, so a start takes half of it longer on average.
        startup_probe: Some(probe(HTTP, "/livez", 1, 600)),
        liveness_probe: Some(probe(HTTP, "/livez", 10, 6)),
        readiness_probe: Some(probe(HTTP, "/readyz", 2, 3)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: LINGER_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        volume_mounts: Some(process.mounts),
        ports: Some(ports),
        ..Container::default()
    }
}

/// Orrery's image, unless the object names another.
pub(crate) fn own_image(frame: &Frame<'_>) -> String {
    frame.engine.image.name.clone().unwrap_or_else(|| frame.identity.image.clone())
}

pub(crate) fn pull_policy(policy: Option<PullPolicy>) -> Option<String> {
    policy.map(PullPolicy::as_str).map(str::to_owned)
}

/// The restricted profile of a container.
pub(crate) fn secured(read_only: Option<bool>) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        privileged: Some(false),
        read_only_root_filesystem: read_only,
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}

pub(crate) fn port((name, number): (String, i32)) -> ContainerPort {
    ContainerPort {
        name: Some(name),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Who the process is, and where it listens.
fn environment(frame: &Frame<'_>, more: Vec<EnvVar>, ports: &[ContainerPort]) -> Vec<EnvVar> {
    let mut variables = vec![
        of_pod("ORRERY_POD", "metadata.name"),
        of_pod("ORRERY_NAMESPACE", "metadata.namespace"),
        variable("ORRERY_OBJECT", frame.identity.name.clone()),
        variable("ORRERY_LOG", "json".to_owned()),
    ];
    variables.extend(more);
    for port in ports {
        let name = port.name.as_deref().unwrap_or_default().to_uppercase().replace('-', "_");
        let address = format!("0.0.0.0:{}", port.container_port);
        variables.push(variable(&format!("ORRERY_LISTEN_{name}"), address));
    }
    variables
}

pub(crate) fn variable(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() }
}

fn of_pod(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

pub(crate) fn amounts(
    asked: &orrery_api::spec::ResourceRequirements,
) -> Option<ResourceRequirements> {
    let amounts = |map: &BTreeMap<String, orrery_api::spec::Quantity>| {
        let pairs = map.iter().map(|(name, q)| (name.clone(), Quantity(q.as_str().to_owned())));
        (!map.is_empty()).then(|| pairs.collect())
    };
    let (requests, limits) = (amounts(&asked.requests), amounts(&asked.limits));
    (requests.is_some() || limits.is_some()).then(|| ResourceRequirements {
        requests,
        limits,
        ..ResourceRequirements::default()
    })
}

/// Asks at the port of this name.
pub(crate) fn probe(port: &str, path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}
