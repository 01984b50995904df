//! What a report says of one shard.

use crate::v1::{ReportResponse, Role};

impl ReportResponse {
    /// The report as the process of this shard alone would give it; none when the process does not have
    /// the shard, or does not say.
    pub fn of_shard(&self, id: u32) -> Option<Self> {
        let found = self.shards.iter().find(|shard| shard.id == id);
        let Some(shard) = found.filter(|shard| shard.role() != Role::Unspecified) else {
            // A process of a release with one shard speaks for it.
            let is_only =
                id == 0 && self.shards.len() <= 1 && self.shards.iter().all(|s| s.id == 0);
            return is_only.then(|| self.clone());
        };
        let mut figures = self.figures.clone();
        figures.extend(shard.figures.clone());
        Some(Self {
            role: shard.role,
            epoch: shard.epoch,
            durable_position: shard.durable_position,
            ready: shard.ready,
            reason: shard.reason.clone(),
            message: shard.message.clone(),
            degraded: shard.degraded,
            followers: shard.followers.clone(),
            link: shard.link.clone(),
            writable: shard.writable,
            durable_epoch: shard.durable_epoch,
            completed_epoch: shard.completed_epoch,
            known_epoch: shard.known_epoch,
            said_at: shard.said_at,
            whole: shard.whole,
            shards: vec![shard.clone()],
            figures,
            system: self.system.clone(),
            version: self.version.clone(),
            config_hash: self.config_hash.clone(),
            load_percent: self.load_percent,
            declared: self.declared.clone(),
            durability: self.durability.clone(),
            identity_hash: self.identity_hash.clone(),
            routes_hash: self.routes_hash.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Shard;

    fn shard(id: u32, role: Role, epoch: u64) -> Shard {
        Shard { id, role: role.into(), epoch, ..Shard::default() }
    }

    #[test]
    fn each_shard_is_told_of_as_if_it_were_alone() {
        let shards = vec![shard(1, Role::Primary, 4), shard(5, Role::Follower, 9)];
        let report = ReportResponse { version: "1".into(), shards, ..ReportResponse::default() };
        let of = |id| report.of_shard(id).map(|own| (own.role(), own.epoch, own.version));
        assert_eq!(of(1), Some((Role::Primary, 4, "1".into())));
        assert_eq!(of(5), Some((Role::Follower, 9, "1".into())));
        assert_eq!(of(0), None);
    }

    #[test]
    fn a_process_of_an_earlier_release_speaks_for_its_only_shard() {
        let shards = vec![Shard { epoch: 3, ..Shard::default() }];
        let role = Role::Primary.into();
        let report = ReportResponse { role, epoch: 3, shards, ..ReportResponse::default() };
        assert_eq!(report.of_shard(0), Some(report.clone()));
        assert_eq!(report.of_shard(1), None);
    }
}
