//! The owner and those that stand by, as the spec wants them.
//!
//! Must not: make more than one group. One pod has all partitions: limits of targets, rates and the
//! shares of tenants are promises of the whole engine.

use orrery_api::scheduler::{SchedulerSpec, SchedulerStatus};
use orrery_api::spec::Operation;
use orrery_runtime::group::{Group, Policy};

use super::SYSTEM;
use crate::parts::names;

/// The partition that speaks for all of them.
const SHARD: u32 = 0;

/// Whether somebody owned the partitions before.
pub(super) fn was_granted(status: &SchedulerStatus) -> bool {
    status.partitions.iter().any(|partition| partition.epoch > 0)
}

/// None where the journals are on the volume of the only pod.
pub(super) fn groups(spec: &SchedulerSpec, object: &str) -> Vec<Group> {
    if !spec.journal.backend.caps().carried {
        return Vec::new();
    }
    let replicas = spec.replicas.max(1);
    let port = u16::try_from(spec.api.http.port).unwrap_or(0);
    vec![Group {
        shard: SHARD,
        followers: u32::try_from(replicas - 1).unwrap_or(0),
        synchronous: 0,
        carried: true,
        tailed: true,
        policy: match spec.engine.operation {
            Operation::Fence => Policy::Fenced,
            Operation::Run | Operation::Pause | Operation::Hibernate => Policy::NoLoss,
        },
        wished: None,
        client_port: port,
        replication_port: 0,
        home: None,
        pods: (0..replicas).map(|number| pod(object, number)).collect(),
    }]
}

/// The pod with this number.
pub(super) fn pod(object: &str, number: i32) -> String {
    format!("{}-{number}", names::main(object, SYSTEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: serde_json::Value) -> SchedulerSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_carried_journals_have_a_group_and_it_has_every_pod() {
        assert_eq!(groups(&SchedulerSpec::default(), "a"), []);
        let spec = spec(serde_json::json!({
            "replicas": 3, "journal": {"backend": "Postgres", "ref": {"name": "db"}}
        }));
        let groups = groups(&spec, "a");
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].pods, ["a-scheduler-0", "a-scheduler-1", "a-scheduler-2"]);
        assert_eq!((groups[0].followers, groups[0].client_port), (2, 8080));
        assert!(groups[0].carried && groups[0].tailed);
    }
}
