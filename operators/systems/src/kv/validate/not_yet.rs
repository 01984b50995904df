//! Fields whose work comes later: refused by name.

use orrery_api::kv::{Class, ClusterMode, KVClusterSpec, MemcachedMode};
use orrery_runtime::Refusal;

use super::super::spread;
use crate::parts::checks;

/// Refuses the first field that asks for something not done yet.
pub(super) fn check(spec: &KVClusterSpec) -> Result<(), Refusal> {
    let caps = spec.journal.backend.caps();
    let several = spread::has_several(spec);
    let copies = caps.copies && !several;
    let asked = [
        // Session is refused by a CEL rule; here it would need a time to live as well.
        (
            "spec.defaultClass",
            matches!(spec.default_class, Class::Config | Class::Flag | Class::Session),
        ),
        ("spec.resp.clusterMode", several && spec.resp.cluster_mode == ClusterMode::Off),
        ("spec.memcached.mode", spec.memcached.mode != MemcachedMode::Off),
        ("spec.http.mode", several && spec.http.open_port().is_some()),
        ("spec.failover.primary", several && spec.failover.primary.is_some()),
        ("spec.adoptFrom", spec.adopt_from.is_some() && (spec.followers > 0 || !copies)),
        ("spec.archive", spec.archive.is_some() && !copies),
        ("spec.bootstrap", spec.bootstrap.is_some() && !copies),
        (
            "spec.synchronousFollowers",
            spec.synchronous_followers > 0 && !caps.synchronous_followers,
        ),
    ];
    checks::not_yet("KVCluster", &asked)
}
