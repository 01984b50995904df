//! From the pods that a system built to what is really run: arguments, environment, folders, ports.
//!
//! Must not: touch disk or network. The same resources give the same plan; its hash says whether a
//! running process is the one that is wanted. What a process on one machine cannot be is a
//! [`PlanError`], never left out silently.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodTemplateSpec, Volume};
use orrery_runtime::resources::content_hash;
use orrery_runtime::{GeneratedSecret, Prepared, Referenced, Resources};
use serde::Serialize;

use crate::folder::Folder;

mod environment;
mod mounts;

pub use mounts::Mounts;

/// Everything needed to start one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub namespace: String,
    /// Name of the workload the pod belongs to.
    pub workload: String,
    pub pod: String,
    /// Name in lists, logs and records: the pod, and the container where there are several.
    pub name: String,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// Files to write before the start, by path.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Folders to create before the start.
    pub folders: Vec<PathBuf>,
    /// Folders of config maps and secrets: they hold `files` and nothing else, so that a secret that
    /// was taken away is gone.
    pub emptied: Vec<PathBuf>,
    /// Files that a running process reads again by itself: other content is no other plan.
    #[serde(skip)]
    pub live: BTreeMap<PathBuf, Vec<u8>>,
    pub ports: Vec<PortPlan>,
    /// Annotations of the pod: a new value rolls pods in a cluster, and restarts the process here.
    pub annotations: BTreeMap<String, String>,
    /// Time between the request to stop and the end by force, in seconds.
    pub grace_seconds: u64,
}

/// One named port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortPlan {
    pub name: String,
    pub declared: u16,
}

impl PortPlan {
    /// The variable the process reads its address from.
    pub fn variable(&self) -> String {
        format!("ORRERY_LISTEN_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

impl Plan {
    /// Key of a port in the port book.
    pub fn port_key(&self, port: &str) -> String {
        format!("{}/{}/{port}", self.namespace, self.name)
    }

    /// Content hash of the plan.
    pub fn hash(&self) -> String {
        content_hash(self)
    }
}

/// What was built cannot run as a process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not possible without Kubernetes")]
pub struct PlanError {
    pub what: String,
}

pub(crate) fn cannot(what: impl Into<String>) -> PlanError {
    PlanError { what: what.into() }
}

/// Kubernetes' own default.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// The processes of an object, in the order they are started. Services, roles, policies and budgets
/// have no counterpart on one machine: everything listens on loopback.
pub fn plan(
    resources: &Resources<Prepared>,
    found: &Referenced,
    folder: &Folder,
) -> Result<Vec<Plan>, PlanError> {
    if let Some(deployment) = resources.deployments.first() {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        return Err(cannot(format!("Deployment {name}")));
    }
    let mut plans = Vec::new();
    for set in &resources.stateful_sets {
        plans.extend(plan_set(set, resources, found, folder)?);
    }
    Ok(plans)
}

fn plan_set(
    set: &StatefulSet,
    resources: &Resources<Prepared>,
    found: &Referenced,
    folder: &Folder,
) -> Result<Vec<Plan>, PlanError> {
    let name = set.metadata.name.clone().unwrap_or_default();
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    let Some(spec) = &set.spec else {
        return Err(cannot(format!("StatefulSet {name} without spec")));
    };
    let mut plans = Vec::new();
    for ordinal in 0..spec.replicas.unwrap_or(1) {
        let pod = Pod {
            namespace: &namespace,
            workload: &name,
            name: format!("{name}-{ordinal}"),
            template: &spec.template,
            claims: spec
                .volume_claim_templates
                .iter()
                .flatten()
                .filter_map(|claim| claim.metadata.name.as_deref())
                .collect(),
            config_maps: &resources.config_maps,
            generated: &resources.secrets,
            found,
            folder,
        };
        plans.extend(pod.plans()?);
    }
    Ok(plans)
}

/// The folders of all volume claims of a workload.
pub fn volumes(set: &StatefulSet, folder: &Folder) -> Vec<PathBuf> {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let Some(spec) = &set.spec else { return Vec::new() };
    let claims = spec.volume_claim_templates.iter().flatten();
    claims
        .filter_map(|claim| claim.metadata.name.as_deref())
        .flat_map(|claim| {
            let pods = 0..spec.replicas.unwrap_or(1);
            pods.map(move |ordinal| folder.volume(namespace, &format!("{claim}-{name}-{ordinal}")))
        })
        .collect()
}

/// One pod of a workload and what its volumes and variables may point to.
struct Pod<'a> {
    namespace: &'a str,
    workload: &'a str,
    name: String,
    template: &'a PodTemplateSpec,
    claims: Vec<&'a str>,
    config_maps: &'a [ConfigMap],
    /// Secrets made by the carrier. This one makes up no content, as everything is on loopback, and
    /// writes what it is given.
    generated: &'a [GeneratedSecret],
    found: &'a Referenced,
    folder: &'a Folder,
}

impl Pod<'_> {
    fn plans(&self) -> Result<Vec<Plan>, PlanError> {
        let Some(spec) = &self.template.spec else { return Ok(Vec::new()) };
        if spec.init_containers.iter().flatten().next().is_some() {
            return Err(cannot(format!("an init container in {}", self.name)));
        }
        let volumes: Vec<&Volume> = spec.volumes.iter().flatten().collect();
        let grace = spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS_DEFAULT);
        let several = spec.containers.len() > 1;
        spec.containers
            .iter()
            .map(|container| {
                let name = if several {
                    format!("{}.{}", self.name, container.name)
                } else {
                    self.name.clone()
                };
                self.plan(container, name, &volumes, grace.max(0) as u64)
            })
            .collect()
    }

    fn plan(
        &self,
        container: &Container,
        name: String,
        volumes: &[&Volume],
        grace_seconds: u64,
    ) -> Result<Plan, PlanError> {
        let mounts = self.mounts(container, volumes)?;
        let mut environment = self.environment(container)?;
        for value in environment.values_mut() {
            *value = mounts.replace(value);
        }
        // The image's own program is this one; so is whatever stands in its place.
        let program = usize::from(container.command.as_ref().is_some_and(|c| !c.is_empty()));
        let command = container.command.iter().flatten().skip(program);
        let arguments = command
            .chain(container.args.iter().flatten())
            .map(|argument| mounts.replace(&environment::expand(argument, &environment)))
            .collect();
        let ports = container.ports.iter().flatten().map(|port| {
            let declared = u16::try_from(port.container_port).unwrap_or(0);
            let name = port.name.clone().unwrap_or_else(|| declared.to_string());
            PortPlan { name, declared }
        });
        let metadata = self.template.metadata.as_ref();
        Ok(Plan {
            namespace: self.namespace.to_owned(),
            workload: self.workload.to_owned(),
            pod: self.name.clone(),
            name,
            arguments,
            environment,
            files: mounts.files,
            folders: mounts.folders,
            emptied: mounts.emptied,
            live: mounts.live,
            ports: ports.collect(),
            annotations: metadata.and_then(|m| m.annotations.clone()).unwrap_or_default(),
            grace_seconds,
        })
    }

    fn claim_folder(&self, claim: &str) -> PathBuf {
        self.folder.volume(self.namespace, &format!("{claim}-{}", self.name))
    }

    fn mount_folder(&self, volume: &str) -> PathBuf {
        self.folder.mount(self.namespace, &self.name, volume)
    }
}

/// `path` below `folder`, if it stays there.
pub(crate) fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let inside = Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    inside.then(|| folder.join(path))
}

#[cfg(test)]
mod tests;
