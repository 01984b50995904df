//! Pools of a Scheduler: what a spec may say of them, what its processes are told, and their names.

use std::collections::BTreeSet;

use orrery_api::Reason;
use orrery_api::scheduler::config::POOLS;
use orrery_api::scheduler::pool::POOL_NAME_CHARS_MAX;
use orrery_api::scheduler::runner::{RUNNER_PORT, RUNNER_TOKEN_KEY};
use orrery_api::scheduler::{Pool, PoolFile, Scheduler};
use orrery_runtime::Refusal;

use super::SYSTEM;
use super::targets::Files;
use crate::parts::{checks, names};

/// Longest name of a Service.
const NAME_BYTES_MAX: usize = 63;
/// What variables of the runner begin with.
const RESERVED: &str = "ORRERY_";

/// Name of all objects of a pool.
pub(super) fn name(object: &str, pool: &str) -> String {
    format!("{}-pool-{pool}", names::main(object, SYSTEM))
}

/// Refuses pools that cannot be made.
pub(super) fn check(object: &Scheduler) -> Result<(), Refusal> {
    let of = object.metadata.name.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for pool in &object.spec.pools {
        let field = |what: &str| format!("spec.pools[{}]{what}", pool.name);
        let invalid =
            |what: &str, why: String| Err(Refusal::field(Reason::InvalidSpec, &field(what), why));
        if !seen.insert(pool.name.as_str()) {
            return invalid("", format!("there is more than one pool {}", pool.name));
        }
        if !names::is_dns_label(&pool.name) || pool.name.len() > POOL_NAME_CHARS_MAX {
            let why = format!(
                "the name becomes part of a host name: 1 to {POOL_NAME_CHARS_MAX} lower-case letters, \
                 digits and hyphens"
            );
            return invalid(".name", why);
        }
        let whole = name(of, &pool.name);
        if whole.len() > NAME_BYTES_MAX {
            let over = whole.len() - NAME_BYTES_MAX;
            let why = format!(
                "{whole} is {over} characters too long for the name of a Service: choose a shorter name"
            );
            return Err(Refusal::field(Reason::NameTooLong, &field(".name"), why));
        }
        if pool.image.is_empty() || pool.image.contains(char::is_whitespace) {
            return invalid(".image", format!("{:?} is no image", pool.image));
        }
        if pool.size < 1 || pool.runs_per_pod < 1 || pool.timeout_seconds < 1 {
            return invalid("", "size, runsPerPod and timeoutSeconds are 1 at least".to_owned());
        }
        if let Some(variable) = pool.env.iter().find(|variable| variable.name.starts_with(RESERVED))
        {
            let why = format!("{} is not yours to set: {RESERVED} is the runner's", variable.name);
            return invalid(".env", why);
        }
        checks::amounts_of(&field(".resources"), &pool.resources)?;
    }
    Ok(())
}

/// What processes of the Scheduler are told of its pools.
pub(super) fn configured(object: &Scheduler) -> Vec<PoolFile> {
    let of = object.metadata.name.as_deref().unwrap_or_default();
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let file = |pool: &Pool| PoolFile {
        name: pool.name.clone(),
        // The name of a headless Service leads to all its pods.
        addresses: vec![format!("{}.{namespace}.svc:{RUNNER_PORT}", name(of, &pool.name))],
        pods: pool.size,
        runs_per_pod: pool.runs_per_pod,
        timeout_seconds: pool.timeout_seconds,
        has_token: true,
    };
    object.spec.pools.iter().map(file).collect()
}

/// The tokens of the pools, in the folder of targets.
pub(super) fn files(object: &Scheduler) -> impl Iterator<Item = Files> + '_ {
    let of = object.metadata.name.as_deref().unwrap_or_default();
    object.spec.pools.iter().map(move |pool| {
        let folder = format!("{POOLS}/{}", pool.name);
        Files::new(name(of, &pool.name), folder, &[RUNNER_TOKEN_KEY])
    })
}
