//! KVNamespaces: validated here, carried out by the processes of their KVCluster.

use orrery_api::kv::{
    Class, EvictionPolicy, KVCluster, KVClusterSpec, KVNamespace, KVNamespaceSpec,
    KVNamespaceStatus, Match,
};
use orrery_api::spec::Quantity;
use orrery_api::{CommonStatus, Reason};
use orrery_runtime::{Acceptance, DEFAULT_ENGINE, Declared, Referenced, Refusal};
use serde_json::Value;

use super::Kv;
use crate::parts::checks;

/// Figure of the engine: part of the quota's memory in use, in percent.
const USED_MEMORY_PERCENT: &str = "used_memory_percent";
/// Steps the figure is shown in, so that the status rests while it moves.
const PERCENT_STEP: i64 = 5;

/// The kind `KVNamespace`.
#[derive(Debug)]
pub struct Namespaces;

impl Declared for Namespaces {
    type Kind = KVNamespace;
    type Engine = Kv;
    type Status = KVNamespaceStatus;

    fn engine_ref(object: &KVNamespace) -> Option<&str> {
        object.spec.cluster_ref.as_ref().map(|cluster| cluster.name.as_str())
    }

    fn validate(
        object: &KVNamespace,
        siblings: &[&KVNamespace],
        _inputs: &Referenced,
    ) -> Result<Value, Refusal> {
        check(&object.spec)?;
        check_conflict(object, siblings)?;
        serde_json::to_value(&object.spec).map_err(|error| {
            Refusal::object(Reason::InvalidSpec, format!("the spec is not JSON: {error}"))
        })
    }

    fn default_engine() -> KVCluster {
        KVCluster::new(DEFAULT_ENGINE, KVClusterSpec::default())
    }

    fn status(object: &KVNamespace) -> Option<&KVNamespaceStatus> {
        object.status.as_ref()
    }

    fn common(status: &KVNamespaceStatus) -> &CommonStatus {
        &status.common
    }

    fn summary(
        object: &KVNamespace,
        common: CommonStatus,
        acceptance: Option<&Acceptance>,
    ) -> KVNamespaceStatus {
        let accepted = acceptance.filter(|acceptance| acceptance.accepted);
        let used = accepted.and_then(|acceptance| acceptance.figures.get(USED_MEMORY_PERCENT));
        KVNamespaceStatus {
            common,
            bound_to: accepted.map(|_| Self::engine_name(object).to_owned()),
            match_: Some(object.spec.match_.summary()),
            used_memory_percent: used.copied().map(rounded),
        }
    }
}

/// To the nearest step, within what the schema allows.
fn rounded(percent: i64) -> i32 {
    let nearest = (percent.clamp(0, 1000) + PERCENT_STEP / 2) / PERCENT_STEP * PERCENT_STEP;
    i32::try_from(nearest).unwrap_or(1000)
}

/// What the spec alone shows to be impossible.
fn check(spec: &KVNamespaceSpec) -> Result<(), Refusal> {
    check_rules(spec)?;
    let policy = spec.eviction.as_ref().map(|eviction| eviction.policy);
    let quota = spec.quota.as_ref();
    let asked = [
        ("spec.match.user", spec.match_.user.is_some()),
        ("spec.class", matches!(spec.class, Class::Config | Class::Flag)),
        ("spec.revisions", spec.revisions.is_some()),
        ("spec.entries", !spec.entries.is_empty()),
        ("spec.eviction.policy", policy == Some(EvictionPolicy::WTinyLfu)),
        ("spec.quota.connections", quota.is_some_and(|quota| quota.connections.is_some())),
    ];
    checks::not_yet("KVNamespace", &asked)?;
    match quota.and_then(|quota| quota.memory.as_ref()).map(Quantity::value) {
        None | Some(Ok(1..)) => Ok(()),
        Some(Ok(_)) => Err(invalid("spec.quota.memory", "spec.quota.memory must be above 0")),
        Some(Err(error)) => {
            Err(invalid("spec.quota.memory", &format!("spec.quota.memory: {error}")))
        }
    }
}

/// Rules the API server holds as well; an object that was stored before a rule existed, or that
/// came without a server, gets the same answer.
fn check_rules(spec: &KVNamespaceSpec) -> Result<(), Refusal> {
    let Match { prefix, database, user } = &spec.match_;
    let matches = [prefix.is_some(), database.is_some(), user.is_some()];
    if matches.iter().filter(|set| **set).count() != 1 {
        return Err(invalid(
            "spec.match",
            "spec.match needs exactly one of prefix, database and user",
        ));
    }
    let default_seconds = spec.ttl.as_ref().and_then(|ttl| ttl.default_seconds);
    if spec.class == Class::Session && default_seconds.is_none() {
        return Err(invalid(
            "spec.ttl",
            "class Session needs ttl.defaultSeconds: every session ends",
        ));
    }
    let max_seconds = spec.ttl.as_ref().and_then(|ttl| ttl.max_seconds);
    if let (Some(default), Some(max)) = (default_seconds, max_seconds)
        && default > max
    {
        return Err(invalid("spec.ttl", "ttl.defaultSeconds must not be above ttl.maxSeconds"));
    }
    if spec.eviction.is_some() && spec.class != Class::Cache {
        return Err(invalid("spec.eviction", "eviction is only for class Cache"));
    }
    Ok(())
}

/// Of two objects that match the same keys the older wins; an object that is refused for another
/// reason claims nothing.
fn check_conflict(object: &KVNamespace, siblings: &[&KVNamespace]) -> Result<(), Refusal> {
    let older = siblings
        .iter()
        .take_while(|sibling| sibling.metadata.name != object.metadata.name)
        .find(|sibling| sibling.spec.match_ == object.spec.match_ && check(&sibling.spec).is_ok());
    let Some(older) = older else { return Ok(()) };
    let name = older.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "the older KVNamespace {name} already has {}: change or delete one of the two",
        object.spec.match_.summary()
    );
    Err(Refusal::field(Reason::Conflict, "spec.match", message))
}

fn invalid(field: &str, message: &str) -> Refusal {
    Refusal::field(Reason::InvalidSpec, field, message)
}

#[cfg(test)]
mod tests;
