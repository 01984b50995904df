//! Everything about a Scheduler that schema and CEL rules could not say.
//!
//! Must not: let anything through that `build` does not carry out. What is part of the API and not
//! done yet is refused by name; `orrery_api::not_yet` lists the same fields for the documentation.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use orrery_api::Reason;
use orrery_api::kv::config::ObjectName;
use orrery_api::scheduler::{AdoptMode, DkronCompat, Scheduler, SchedulerConfig, SchedulerSpec};
use orrery_api::spec::{DeletionPolicy, RolloutStrategy};
use orrery_runtime::{Carrier, Identity, Referenced, Refusal};

use super::targets::{self, Files};
use super::{SYSTEM, build, pools};
use crate::archive::stores::{self, Asked, Position, Stores};
use crate::parts::tls::Listener;
use crate::parts::{checks, journal, names};
use crate::{labels, pod_template};

/// A Scheduler that can be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// The spec as stored.
    pub(crate) spec: SchedulerSpec,
    /// What the processes read.
    pub(crate) config: SchedulerConfig,
    /// Secrets of the targets.
    pub(crate) files: Vec<Files>,
    /// Where it is archived and recovered from.
    pub(crate) stores: Stores,
    /// The user's changes to the pods.
    pub(crate) pod_template: Option<PodTemplateSpec>,
}

impl Validated {
    /// The configuration the processes start with.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }
}

/// Validates an object together with what its references point to.
pub fn validate(
    object: &Scheduler,
    inputs: &Referenced,
    carrier: Carrier,
) -> Result<Validated, Refusal> {
    let spec = &object.spec;
    names::check(object.metadata.name.as_deref().unwrap_or_default(), SYSTEM)?;
    not_yet(spec)?;
    labels::check(&spec.engine.metadata)?;
    checks::storage(&spec.storage)?;
    checks::on_this_carrier(carrier, &elsewhere(spec))?;
    partitions(spec.partitions)?;
    replicas(spec)?;
    overdue(spec)?;
    checks::windows(&spec.engine)?;
    checks::amounts(&spec.engine.resources)?;
    pools::check(object)?;
    // Calls go anywhere, and so may what carries the journal: its ports are looked at for mistakes alone.
    journal::ports(&spec.journal, inputs, carrier)?;
    if let Some(listener) = listener(object) {
        listener.check(inputs, carrier)?;
    }
    let stores = stores::check(&asked(object), inputs)?;
    let mut files = targets::files(&spec.targets, inputs)?;
    files.extend(pools::files(object));
    let validated = Validated {
        config: config(object, &stores),
        stores,
        files,
        pod_template: pod_template::parse(spec.engine.pod_template.as_ref())?,
        spec: spec.clone(),
    };
    // Image and version do not matter to the profile.
    let identity = Identity::of(object, "image", "version", carrier);
    checks::pod(&build::pod::template(&validated, &identity), carrier)?;
    Ok(validated)
}

/// What the spec says of archives.
pub(super) fn asked(object: &Scheduler) -> Asked<'_> {
    Asked {
        kind: "Scheduler",
        meta: &object.metadata,
        archive: object.spec.archive.as_ref(),
        bootstrap: object.spec.bootstrap.as_ref(),
        recovered: object.status.as_ref().and_then(|status| status.recovered_from.as_ref()),
        position: Position::Moment,
    }
}

/// The listener for clients, if it speaks TLS.
pub(super) fn listener(object: &Scheduler) -> Option<Listener<'_>> {
    let tls = object.spec.api.tls.as_ref()?;
    let name = object.metadata.name.as_deref().unwrap_or_default();
    Some(Listener { object: name, system: SYSTEM, tls, field: "spec.api.tls" })
}

/// Refuses the first field that asks for something not done yet.
fn not_yet(spec: &SchedulerSpec) -> Result<(), Refusal> {
    let copies = spec.journal.backend.caps().copies;
    let asked = [
        ("spec.archive", spec.archive.is_some() && !copies),
        ("spec.bootstrap", spec.bootstrap.is_some() && !copies),
    ];
    checks::not_yet("Scheduler", &asked)
}

/// What one machine cannot do.
fn elsewhere(spec: &SchedulerSpec) -> [(&'static str, bool, &'static str); 6] {
    [
        (
            "spec.pools",
            !spec.pools.is_empty(),
            "one machine without Kubernetes has no pods that wait; use http",
        ),
        (
            "spec.replicas",
            spec.replicas > 1,
            "others stand by for the loss of a machine, and here is only one; use 1",
        ),
        (
            "spec.adoptCronJobs.mode",
            spec.adopt_cron_jobs.mode != AdoptMode::Off,
            "one machine without Kubernetes has no CronJobs; leave it out",
        ),
        (
            "spec.rollout.strategy",
            spec.engine.rollout.strategy == RolloutStrategy::Gated,
            "on one machine a change is carried out when the file is saved; use Immediate",
        ),
        (
            "spec.maintenanceWindows",
            !spec.engine.maintenance_windows.is_empty(),
            "on one machine nothing restarts unasked; leave it out",
        ),
        (
            "spec.deletionPolicy",
            spec.engine.deletion_policy == DeletionPolicy::Snapshot,
            "on one machine the archive has everything when the process ends; use Delete",
        ),
    ]
}

/// The API server holds the same rule; an object that came without a server gets the same answer.
fn partitions(count: i32) -> Result<(), Refusal> {
    let is_power = u32::try_from(count).is_ok_and(u32::is_power_of_two);
    if is_power && count <= 256 {
        return Ok(());
    }
    let message = "spec.partitions must be a power of two, up to 256";
    Err(Refusal::field(Reason::InvalidSpec, "spec.partitions", message))
}

/// The API server holds the same rule.
fn replicas(spec: &SchedulerSpec) -> Result<(), Refusal> {
    if spec.replicas <= 1 || spec.journal.backend.caps().carried {
        return Ok(());
    }
    let message = "replicas above 1 need a journal that outlives a pod: set journal.backend to \
                   Postgres, ObjectStore or Kafka";
    Err(Refusal::field(Reason::InvalidSpec, "spec.replicas", message))
}

/// The API server holds the same rule.
fn overdue(spec: &SchedulerSpec) -> Result<(), Refusal> {
    let told = spec.overdue.as_ref().map(|overdue| overdue.target.as_str());
    let Some(told) = told else { return Ok(()) };
    if spec.targets.iter().any(|target| target.name == told) {
        return Ok(());
    }
    let message = "overdue.target must be the name of one of targets";
    Err(Refusal::field(Reason::InvalidSpec, "spec.overdue.target", message))
}

fn config(object: &Scheduler, stores: &Stores) -> SchedulerConfig {
    let spec = &object.spec;
    SchedulerConfig {
        object: ObjectName {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        },
        partitions: spec.partitions,
        journal: spec.journal.backend,
        targets: spec.targets.iter().map(Into::into).collect(),
        pools: pools::configured(object),
        catch_up_default: spec.catch_up_default.clone(),
        overdue: spec.overdue.clone(),
        history: spec.history.clone(),
        objective: spec.objective.clone(),
        quota: spec.quota.clone(),
        dkron_compat: spec.api.http.dkron_compat == DkronCompat::On,
        grpc: spec.api.grpc.is_some(),
        archive: stores.archive_file(&asked(object)),
        recovery: stores.recovery_file(None),
        ..SchedulerConfig::default()
    }
}

#[cfg(test)]
mod tests;
