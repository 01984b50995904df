//! The objects of a pool: pods that wait for runs, the name that leads to them, the token that they
//! take runs by, and who may reach them.
//!
//! The runner comes into the user's image from Orrery's: an init container copies the program, which
//! is static, into a volume that both share. Pods of a pool are none of the engine's: they have labels
//! of their own, and the operator neither asks nor replaces them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVar, PodSpec, PodTemplateSpec, Service, ServiceSpec,
    Volume, VolumeMount,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use orrery_api::scheduler::Pool;
use orrery_api::scheduler::runner::{RUNNER_PORT, RUNNER_TOKEN_KEY};
use orrery_runtime::{GeneratedKey, GeneratedSecret, Prepared, Resources, labels};

use super::super::pools;
use super::{LENGTH_CHARS, SYSTEM};
use crate::labels::merged;
use crate::parts::container::{amounts, variable};
use crate::parts::services::port;
use crate::parts::volumes::{mount, secret};
use crate::parts::{Frame, container, network, pod};

/// Value of `app.kubernetes.io/name` of the pods, which are not the engine's.
const POOL_SYSTEM: &str = "scheduler-pool";
/// Value of `app.kubernetes.io/component` of the other objects.
const POOL: &str = "pool";
/// Name of the port of runners, and of the container of the user's image.
const RUNNER: &str = "runner";
/// Volume that the program is copied into, and where it is.
const PROGRAM: &str = "orrery-runner";
const PROGRAM_FOLDER: &str = "/orrery-runner";
/// Volume of the token, and where it is.
const TOKEN: &str = "orrery-token";
const TOKEN_FOLDER: &str = "/run/orrery/runner";
/// Volume for what commands write, and where it is.
const SCRATCH: &str = "orrery-tmp";
const SCRATCH_FOLDER: &str = "/tmp";
/// How long runs may go on in a pod that is to stop, in seconds.
const GRACE_SECONDS: i64 = 300;
/// Time beside it for commands to end and for their end to be told, in seconds.
const GRACE_MORE_SECONDS: i64 = 30;
/// Old revisions kept for a look back.
const REVISIONS: i32 = 2;

/// Adds the objects of a pool to the children of its Scheduler.
pub(super) fn add(children: &mut Resources<Prepared>, frame: &Frame<'_>, pool: &Pool) {
    let name = pools::name(&frame.identity.name, &pool.name);
    let metadata = metadata(frame, &name);
    let selector = labels::selector(POOL_SYSTEM, &frame.identity.name, &pool.name);
    children.secrets.push(GeneratedSecret {
        metadata: metadata.clone(),
        keys: vec![GeneratedKey { name: RUNNER_TOKEN_KEY.to_owned(), length_chars: LENGTH_CHARS }],
        given: BTreeMap::new(),
    });
    children.services.push(Service {
        metadata: metadata.clone(),
        spec: Some(ServiceSpec {
            selector: Some(selector.clone()),
            cluster_ip: Some("None".to_owned()),
            // A pod that stops is still asked how its last runs ended.
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![port(RUNNER, i32::from(RUNNER_PORT))]),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    });
    children.network_policies.push(policy(frame, metadata.clone(), &selector));
    children.deployments.push(Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(pool.size),
            revision_history_limit: Some(REVISIONS),
            selector: selected(&selector),
            template: template(frame, pool, &name, selector),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    });
}

fn metadata(frame: &Frame<'_>, name: &str) -> ObjectMeta {
    let user = &frame.engine.metadata;
    let own = merged(frame.identity.labels(SYSTEM, POOL), &user.labels);
    let annotations = (!user.annotations.is_empty()).then(|| user.annotations.clone());
    ObjectMeta { annotations, ..frame.identity.child(name, own) }
}

fn selected(selector: &BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(selector.clone()), ..LabelSelector::default() }
}

/// The engine comes in, and nobody else. Commands go out to wherever they want.
fn policy(
    frame: &Frame<'_>,
    metadata: ObjectMeta,
    selector: &BTreeMap<String, String>,
) -> NetworkPolicy {
    let engine = NetworkPolicyIngressRule {
        from: Some(vec![network::the_others(frame)]),
        ports: Some(vec![network::named(RUNNER)]),
    };
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selected(selector)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![engine]),
            egress: Some(vec![network::to_anywhere(), network::to_names()]),
        }),
    }
}

fn template(
    frame: &Frame<'_>,
    pool: &Pool,
    name: &str,
    selector: BTreeMap<String, String>,
) -> PodTemplateSpec {
    let user = &frame.engine.metadata;
    let own = BTreeMap::from([(labels::PART_OF.to_owned(), labels::PART_OF_VALUE.to_owned())]);
    let mut all = merged(own, &user.labels);
    all.extend(selector);
    let annotations = (!user.annotations.is_empty()).then(|| user.annotations.clone());
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(all), annotations, ..ObjectMeta::default() }),
        spec: Some(spec(frame, pool, name)),
    }
}

/// The pod of a pool: the restricted profile, and nothing of the cluster's API.
pub(super) fn spec(frame: &Frame<'_>, pool: &Pool, name: &str) -> PodSpec {
    PodSpec {
        service_account_name: pool.service_account_name.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pod::pull_secrets(frame),
        termination_grace_period_seconds: Some(GRACE_SECONDS + GRACE_MORE_SECONDS),
        security_context: Some(pod::secured()),
        init_containers: Some(vec![install(frame)]),
        containers: vec![runner(pool)],
        volumes: Some(vec![empty(PROGRAM), empty(SCRATCH), secret(TOKEN, name)]),
        ..PodSpec::default()
    }
}

/// Copies the program.
fn install(frame: &Frame<'_>) -> Container {
    let arguments = ["serve", "runner", "--install", PROGRAM_FOLDER];
    Container {
        name: "install".to_owned(),
        image: Some(container::own_image(frame)),
        image_pull_policy: container::pull_policy(frame.engine.image.pull_policy),
        args: Some(arguments.map(str::to_owned).to_vec()),
        security_context: Some(container::secured(Some(true))),
        volume_mounts: Some(vec![mount(PROGRAM, PROGRAM_FOLDER, false)]),
        ..Container::default()
    }
}

/// The user's image with the runner in it.
fn runner(pool: &Pool) -> Container {
    let (runs, grace) = (pool.runs_per_pod.to_string(), GRACE_SECONDS.to_string());
    let program = format!("{PROGRAM_FOLDER}/orrery");
    let command = [&program, "serve", "runner", "--secrets", TOKEN_FOLDER, "--runs", &runs]
        .into_iter()
        .chain(["--grace-seconds", &grace]);
    let user = pool.env.iter().map(|given| variable(&given.name, given.value.clone()));
    let own = [
        variable("ORRERY_LISTEN_RUNNER", format!("0.0.0.0:{RUNNER_PORT}")),
        variable("ORRERY_LOG", "json".to_owned()),
    ];
    let environment: Vec<EnvVar> = user.chain(own).collect();
    Container {
        name: RUNNER.to_owned(),
        image: Some(pool.image.clone()),
        image_pull_policy: container::pull_policy(pool.image_pull_policy),
        command: Some(command.map(str::to_owned).collect()),
        env: Some(environment),
        resources: amounts(&pool.resources),
        // Commands may write wherever the image lets this user.
        security_context: Some(container::secured(None)),
        readiness_probe: Some(container::probe(RUNNER, "/readyz", 2, 3)),
        liveness_probe: Some(container::probe(RUNNER, "/livez", 10, 6)),
        volume_mounts: Some(mounts()),
        ports: Some(vec![container::port((RUNNER.to_owned(), i32::from(RUNNER_PORT)))]),
        ..Container::default()
    }
}

fn mounts() -> Vec<VolumeMount> {
    vec![
        mount(PROGRAM, PROGRAM_FOLDER, true),
        mount(TOKEN, TOKEN_FOLDER, true),
        mount(SCRATCH, SCRATCH_FOLDER, false),
    ]
}

fn empty(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}
