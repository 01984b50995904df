//! Everything about a KVCluster that schema and CEL rules could not say.
//!
//! Must not: let anything through that `build` does not carry out. What is part of the API and not
//! done yet is refused by name; `orrery_api::not_yet` lists the same fields for the documentation.

mod adopt;
mod memory;
mod not_yet;
mod ports;
mod users;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use orrery_api::Reason;
use orrery_api::kv::config::{KvConfig, ObjectName};
use orrery_api::kv::{KVCluster, KVClusterSpec};
use orrery_api::spec::{DeletionPolicy, RolloutStrategy};
use orrery_runtime::group::Group;
use orrery_runtime::{Carrier, Identity, Redacted, Referenced, Refusal};

use super::build::pod;
use super::groups::{groups, had_primary, is_grouped};
use super::{names, spread};
use crate::archive::stores::{self, Asked, Position, Stores};
use crate::parts::checks::{self, content};
use crate::parts::journal;
use crate::parts::tls::Listener;
use crate::{labels, pod_template};

/// Key of the password in Secrets, and name of its file in the pod.
pub const PASSWORD_KEY: &str = "password";
/// Redis takes longer ones, but a password of this size is a mistake.
const PASSWORD_BYTES_MAX: usize = 4096;

/// A KVCluster that can be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// The spec as stored.
    pub(crate) spec: KVClusterSpec,
    /// What the processes read.
    pub(crate) config: KvConfig,
    /// Whether a primary was chosen before.
    pub(crate) had_primary: bool,
    /// Port of the Redis that is taken over.
    pub(crate) adopt_port: Option<u16>,
    /// Where it is archived and recovered from.
    pub(crate) stores: Stores,
    /// Ports of the engine that carries the journal.
    pub(crate) journal_ports: Vec<u16>,
    /// The file of users.
    pub(crate) users: Redacted<String>,
    /// The user's changes to the pods.
    pub(crate) pod_template: Option<PodTemplateSpec>,
}

impl Validated {
    /// The configuration the processes start with.
    pub fn config(&self) -> &KvConfig {
        &self.config
    }

    /// The primary and its followers of each shard.
    pub(crate) fn groups(&self, object: &str) -> Vec<Group> {
        groups(&self.spec, self.had_primary, object)
    }
}

/// Validates an object together with what its references point to.
pub fn validate(
    object: &KVCluster,
    inputs: &Referenced,
    carrier: Carrier,
) -> Result<Validated, Refusal> {
    let spec = &object.spec;
    let name = object.metadata.name.as_deref().unwrap_or_default();
    names::check(name)?;
    not_yet::check(spec)?;
    labels::check(&spec.engine.metadata)?;
    checks::storage(&spec.storage)?;
    check_group(object, carrier)?;
    ports::check(spec)?;
    checks::windows(&spec.engine)?;
    checks::amounts(&spec.engine.resources)?;
    check_password(spec, inputs)?;
    if let Some(listener) = listener(object) {
        listener.check(inputs, carrier)?;
    }
    let users = users::file(spec, inputs)?;
    let adopt_port = adopt::port(spec, inputs)?;
    adopt::check_tls(spec, inputs)?;
    let stores = stores::check(&asked(object), inputs)?;
    let journal_ports = journal::ports(&spec.journal, inputs, carrier)?;
    let validated = Validated {
        config: config(object, memory::limit_bytes(spec)?, &stores),
        stores,
        journal_ports,
        had_primary: object.status.as_ref().is_some_and(had_primary),
        pod_template: pod_template::parse(spec.engine.pod_template.as_ref())?,
        adopt_port,
        users,
        spec: spec.clone(),
    };
    // Image and version do not matter to the profile.
    let identity = Identity::of(object, "image", "version", carrier);
    checks::pod(&pod::template(&validated, &identity), carrier)?;
    Ok(validated)
}

/// What the spec says of archives.
pub(crate) fn asked(object: &KVCluster) -> Asked<'_> {
    Asked {
        kind: "KVCluster",
        meta: &object.metadata,
        archive: object.spec.archive.as_ref(),
        bootstrap: object.spec.bootstrap.as_ref(),
        recovered: object.status.as_ref().and_then(|status| status.recovered_from.as_ref()),
        position: Position::Record,
    }
}

/// The listener for clients, if it speaks TLS.
pub(crate) fn listener(object: &KVCluster) -> Option<Listener<'_>> {
    let tls = object.spec.resp.tls.as_ref()?;
    let name = object.metadata.name.as_deref().unwrap_or_default();
    Some(Listener { object: name, system: names::SYSTEM, tls, field: "spec.resp.tls" })
}

fn config(object: &KVCluster, memory_limit_bytes: i64, stores: &Stores) -> KvConfig {
    let spec = &object.spec;
    // The first primary is recovered; the others copy from it.
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let member = (spec.followers > 0).then(|| names::pod(name, 0));
    KvConfig {
        object: ObjectName {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        },
        databases: spec.resp.databases,
        default_class: spec.default_class,
        memory_limit_bytes,
        cluster: spread::cluster(spec),
        journal: spec.journal.backend,
        max_clients: spec.resp.max_clients,
        group: is_grouped(spec).then_some(true),
        archive: stores.archive_file(&asked(object)),
        recovery: stores.recovery_file(member),
        ..KvConfig::default()
    }
}

/// One machine has neither followers nor rollouts, and a primary must be one of the pods.
fn check_group(object: &KVCluster, carrier: Carrier) -> Result<(), Refusal> {
    let spec = &object.spec;
    let asked = [
        (
            "spec.followers",
            spec.followers > 0,
            "followers guard against the loss of a machine, and here is only one; use 0",
        ),
        (
            "spec.replicas",
            spec.replicas > 1,
            "more pods are for more machines, and here is only one; use shardsPerPod",
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
    ];
    checks::on_this_carrier(carrier, &asked)?;
    let Some(primary) = &spec.failover.primary else { return Ok(()) };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let pods: Vec<String> = (0..spread::pods(spec)).map(|n| names::pod(name, n)).collect();
    if pods.contains(primary) {
        return Ok(());
    }
    let message = format!("{primary} is no pod of this object; it has {}", pods.join(", "));
    Err(Refusal::field(Reason::InvalidSpec, "spec.failover.primary", message))
}

/// A password that is announced must be there: without it the service would be open.
fn check_password(spec: &KVClusterSpec, inputs: &Referenced) -> Result<(), Refusal> {
    let Some(auth) = &spec.resp.auth else { return Ok(()) };
    password(inputs, &auth.secret_ref.name, PASSWORD_KEY, "spec.resp.auth.secretRef").map(|_| ())
}

/// The password under a key of a Secret.
fn password<'a>(
    inputs: &'a Referenced,
    secret: &str,
    key: &str,
    field: &str,
) -> Result<&'a str, Refusal> {
    let refuse = |why: &str| {
        let message = format!("the Secret {secret} {why}");
        Err(Refusal::field(Reason::InvalidSpec, field, message))
    };
    let Some(password) = content(inputs, secret, field)?.get(key) else {
        return refuse(&format!("has no key `{key}`"));
    };
    if password.trim_ascii().is_empty() {
        return refuse("has an empty password");
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return refuse("has a password of more than 4096 bytes");
    }
    match std::str::from_utf8(password) {
        // A line end that an editor left is not part of it, as in the process.
        Ok(password) => Ok(password.trim_end_matches(['\r', '\n'])),
        Err(_) => refuse("has a password that is not UTF-8 text"),
    }
}

#[cfg(test)]
mod tests;
