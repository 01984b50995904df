//! What several shards say and do together, as one process.

use std::collections::BTreeMap;

use orrery_operand::v1::{ObjectResult, ReportResponse, Role, Shard};

use orrery_kit::process;

/// Client operations per second that are called full load of one shard.
const FULL_LOAD_OPERATIONS: u64 = 400_000;
/// Figure of a namespace: how much of its quota is taken.
const USED_PERCENT: &str = "used_memory_percent";

/// What the shards say together. One speaks for the process.
pub(super) fn sum(of_all: ReportResponse, shards: Vec<Shard>) -> ReportResponse {
    let mut figures = BTreeMap::new();
    for (name, figure) in shards.iter().flat_map(|shard| &shard.figures) {
        *figures.entry(name.clone()).or_default() += figure;
    }
    let load = figures.get("operations_per_second").copied().unwrap_or(0) as u64 * 100;
    let load = load / (FULL_LOAD_OPERATIONS * shards.len().max(1) as u64);
    figures.insert("resident_memory_bytes".to_owned(), process::resident_bytes() as i64);
    let is_primary = |shard: &&Shard| shard.role() == Role::Primary;
    let role = shards.iter().find(is_primary).or(shards.first()).map_or(0, |shard| shard.role);
    let of_all = ReportResponse {
        role,
        epoch: shards.iter().map(|shard| shard.epoch).max().unwrap_or(0),
        durable_position: shards.iter().map(|shard| shard.durable_position).sum(),
        writable: shards.iter().filter(is_primary).all(|shard| shard.writable),
        load_percent: load.min(100) as u32,
        figures,
        ..of_all
    };
    let [only] = &*shards else { return ReportResponse { shards, ..of_all } };
    ReportResponse {
        writable: only.writable,
        followers: only.followers.clone(),
        link: only.link.clone(),
        durable_epoch: only.durable_epoch,
        completed_epoch: only.completed_epoch,
        whole: only.whole,
        known_epoch: only.known_epoch,
        said_at: only.said_at,
        shards,
        ..of_all
    }
}

/// An object is accepted when every shard accepts it; what it takes is taken by all together.
pub(super) fn merge(results: &mut Vec<ObjectResult>, of_shard: Vec<ObjectResult>) {
    if results.is_empty() {
        *results = of_shard;
        return;
    }
    for (all, one) in results.iter_mut().zip(of_shard) {
        for (name, figure) in &one.figures {
            let known = all.figures.entry(name.clone()).or_default();
            // Each shard has its part of the quota: the fullest one refuses first.
            *known = if name == USED_PERCENT { (*known).max(*figure) } else { *known + *figure };
        }
        if all.accepted && !one.accepted {
            let figures = std::mem::take(&mut all.figures);
            *all = ObjectResult { figures, ..one };
        }
    }
}
