//! The container of the data plane: how it is started, asked and bounded.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, Probe, ResourceRequirements, SecurityContext,
    SleepAction,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_api::kv::config::JOURNAL_SECRET;
use orrery_api::spec::PullPolicy;
use orrery_runtime::{Identity, labels};

use super::super::super::spread;
use super::super::super::validate::Validated;
use super::super::{API, HTTP, HTTP_PORT, RESP, SYSTEM, certificate, config_map};
use super::volumes;

/// How long a pod that is to go still answers. Proxies of Services learn of a change up to a second
/// late, and who is sent to a pod that is gone waits for a timeout, not for an error.
const LINGER_SECONDS: i64 = 2;

pub(super) fn build(validated: &Validated, identity: &Identity) -> Container {
    let image = &validated.spec.engine.image;
    let ports = ports(validated, identity);
    Container {
        name: SYSTEM.to_owned(),
        image: Some(image.name.clone().unwrap_or_else(|| identity.image.clone())),
        image_pull_policy: image.pull_policy.map(PullPolicy::as_str).map(str::to_owned),
        args: Some(arguments(validated, identity)),
        env: Some(environment(validated, identity, &ports)),
        resources: resources(validated),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        // A long journal is replayed before the first reply: ten minutes are allowed for the
        // process to listen at all, and readiness says when it serves. The shortest period there
        // is: nobody looks in between, so a start takes half of it longer on average.
        startup_probe: Some(probe("/livez", 1, 600)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: LINGER_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        volume_mounts: Some(volumes::mounts(validated, identity)),
        ports: Some(ports),
        ..Container::default()
    }
}

fn arguments(validated: &Validated, identity: &Identity) -> Vec<String> {
    let config = format!("{}/{}", volumes::CONFIG_FOLDER, config_map::FILE);
    let common_name = certificate::common_name(identity);
    let tls = validated.spec.resp.tls.iter().flat_map(|_| ["--tls", volumes::TLS_FOLDER]);
    let shown = ["--identity", volumes::IDENTITY_FOLDER, "--identity-name", &common_name];
    let shown = identity.secured.then_some(shown).into_iter().flatten();
    let adopt = validated.spec.adopt_from.iter();
    let adopt = adopt.flat_map(|_| ["--adopt", volumes::ADOPT_FOLDER]);
    let adopt_tls = volumes::adopt_tls(validated);
    let name = adopt_tls.and_then(|tls| tls.server_name.as_deref());
    let adopt = adopt
        .chain(adopt_tls.iter().flat_map(|_| ["--adopt-tls", volumes::ADOPT_TLS_FOLDER]))
        .chain(name.iter().flat_map(|name| ["--adopt-name", *name]));
    ["serve", SYSTEM, "--config", &config, "--data", volumes::DATA_FOLDER, "--secrets"]
        .into_iter()
        .chain([volumes::SECRETS_FOLDER, "--live", volumes::LIVE_FOLDER])
        .chain(tls)
        .chain(shown)
        .chain(adopt)
        .map(str::to_owned)
        .collect()
}

fn ports(validated: &Validated, identity: &Identity) -> Vec<ContainerPort> {
    let named = |(name, number): (&str, i32)| (name.to_owned(), number);
    let shards = spread::ports(&validated.spec);
    let (resp, replication): (Vec<_>, Vec<_>) =
        shards.into_iter().map(|ports| (ports.resp, ports.replication)).unzip();
    // That of a single shard is the one for all.
    let resp = if resp.len() == 1 { vec![] } else { resp };
    [
        (RESP, validated.spec.resp.port),
        (labels::MANAGEMENT_PORT_NAME, i32::from(labels::MANAGEMENT_PORT)),
        (HTTP, HTTP_PORT),
    ]
    .into_iter()
    .map(named)
    .chain(replication.into_iter().filter(|_| identity.secured))
    .chain(validated.spec.http.open_port().map(|port| named((API, port))))
    .chain(resp)
    .map(|(name, number)| ContainerPort {
        name: Some(name),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    })
    .collect()
}

/// Who the process is, and where it listens: `ORRERY_LISTEN_<PORT NAME>`.
fn environment(validated: &Validated, identity: &Identity, ports: &[ContainerPort]) -> Vec<EnvVar> {
    let mut variables = vec![
        of_pod("ORRERY_POD", "metadata.name"),
        of_pod("ORRERY_NAMESPACE", "metadata.namespace"),
        text("ORRERY_OBJECT", identity.name.clone()),
        text("ORRERY_LOG", "json".to_owned()),
    ];
    variables.extend(volumes::store_variables(validated));
    if validated.spec.journal.ref_.is_some() {
        variables.push(text(JOURNAL_SECRET, volumes::JOURNAL_FOLDER.to_owned()));
    }
    for port in ports {
        let name = port.name.as_deref().unwrap_or_default().to_uppercase().replace('-', "_");
        let address = format!("0.0.0.0:{}", port.container_port);
        variables.push(text(&format!("ORRERY_LISTEN_{name}"), address));
    }
    variables
}

fn text(name: &str, value: String) -> EnvVar {
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

fn resources(validated: &Validated) -> Option<ResourceRequirements> {
    let asked = &validated.spec.engine.resources;
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

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HTTP.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}
