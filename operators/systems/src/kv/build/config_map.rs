//! The configuration file of the processes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use orrery_api::kv::{KvConfig, Layout};
use orrery_runtime::Identity;

use super::super::names;
use super::super::validate::Validated;
use crate::parts::config_file;

/// Key in the ConfigMap, and name of the file in the pod.
pub(super) const FILE: &str = "kv.yaml";

pub(super) fn build(validated: &Validated, identity: &Identity) -> ConfigMap {
    ConfigMap {
        metadata: super::frame(validated, identity).metadata(&names::main(&identity.name)),
        data: Some(BTreeMap::from([(FILE.to_owned(), config_file::text(&validated.config))])),
        ..ConfigMap::default()
    }
}

/// SHA-256 in hex of what makes a restart necessary. Whether there are followers does not: a process
/// that runs learns it from the operator, and where every pod has every shard their number changes
/// nothing for it.
pub(super) fn hash(config: &KvConfig) -> String {
    let every = |layout: &Layout| layout.copies == layout.pods;
    let cluster = config.cluster.map(|layout| match layout {
        all if every(&all) => Layout { pods: 1, copies: 1, ..all },
        some => some,
    });
    let alone = KvConfig { group: None, cluster, ..config.clone() };
    config_file::hash(&config_file::text(&alone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_reads_back_as_the_same_configuration() {
        let config = KvConfig { memory_limit_bytes: 1 << 40, databases: 3, ..KvConfig::default() };
        let read: KvConfig = serde_saphyr::from_str(&config_file::text(&config)).unwrap();
        assert_eq!(read, config);
    }

    #[test]
    fn the_hash_changes_with_what_needs_a_restart() {
        let other = KvConfig { databases: 3, ..KvConfig::default() };
        assert_eq!(hash(&KvConfig::default()).len(), 64);
        assert_ne!(hash(&KvConfig::default()), hash(&other));
        let group = KvConfig { group: Some(true), ..KvConfig::default() };
        assert_eq!(hash(&KvConfig::default()), hash(&group));
        let spread = |pods: u32, copies: u32| KvConfig {
            cluster: Some(Layout { shards: 4, pods, copies }),
            ..KvConfig::default()
        };
        assert_eq!(hash(&spread(2, 2)), hash(&spread(3, 3)), "every pod has every shard");
        assert_ne!(hash(&spread(4, 2)), hash(&spread(4, 3)));
    }
}
