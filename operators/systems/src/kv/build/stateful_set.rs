//! The pods with their volumes.

use k8s_openapi::api::apps::v1::StatefulSet;
use orrery_runtime::Identity;

use super::super::spread;
use super::super::validate::Validated;
use super::{frame, pod};
use crate::parts::stateful_set;

pub(super) fn build(validated: &Validated, identity: &Identity) -> StatefulSet {
    let frame = frame(validated, identity);
    let template = pod::template(validated, identity);
    let replicas = replicas(validated, identity);
    stateful_set::build(&frame, replicas, template, &validated.spec.storage)
}

/// Pods for every shard and its followers. A primary beyond that number stays until it handed over.
fn replicas(validated: &Validated, identity: &Identity) -> i32 {
    let wanted = spread::pods(&validated.spec);
    let numbers = identity.primaries.iter().filter_map(|pod| pod.rsplit('-').next());
    let last = numbers.filter_map(|number| number.parse::<i32>().ok()).max();
    last.map_or(wanted, |number| wanted.max(number.saturating_add(1)))
}
