//! What others may know of the group: `Report`, readiness, and what commands show.

use std::sync::Arc;

use orrery_operand::v1::{Follower, Link as LinkState, Role as ReportedRole};

use super::{Bar, Role};
use crate::adopt::Adoption;
use crate::metrics::{Readiness, View};
use crate::replication::link::Link;
use crate::replication::peers::Peer;
use crate::replication::replicas::Replica;
use crate::server::{Ending, Shard};

/// A replica that confirms nothing of its disk, and has no name here.
fn stranger(replica: &Replica) -> Follower {
    let is_near = replica.lag_bytes() <= NEAR_BYTES;
    Follower {
        name: String::new(),
        address: replica.address.clone(),
        durable_position: 0,
        in_sync: is_near && replica.is_in_sync(),
    }
}

/// A follower as commands show it.
#[derive(Debug)]
pub(crate) struct ShownFollower {
    pub(crate) address: String,
    pub(crate) is_in_sync: bool,
    /// What it has on disk, or as a replica of Redis has executed.
    pub(crate) position: u64,
}

/// A replica that has executed all but this much has everything but the tail.
const NEAR_BYTES: u64 = 1 << 20;

/// Reads are served once the first image is here, and go on when the source does not.
fn of_adoption(adoption: &Adoption) -> Readiness {
    let (trouble, link) = (adoption.trouble(), adoption.link());
    let is_complete = adoption.is_complete();
    if !trouble.is_empty() {
        return Readiness::new(is_complete, "AdoptionFailing", trouble);
    }
    if is_complete {
        return Readiness::new(true, "", String::new());
    }
    let message = format!("{} % of the keys of {} were read", link.copy_percent, link.address);
    Readiness::new(false, "Adopting", message)
}

impl Shard {
    /// What `Report` says about role, epochs and links.
    pub(crate) fn view(&self) -> View {
        let durable = self.log.durable();
        let durable_epoch = self.log.history().epoch_at(durable);
        let Some(group) = &self.group else {
            let (epoch, fenced_below) = (self.log.epoch(), self.log.fenced_below());
            let is_fenced = epoch < fenced_below;
            let role = match &self.adoption {
                Some(_) => ReportedRole::Follower,
                None if is_fenced => ReportedRole::Fenced,
                None => ReportedRole::Primary,
            };
            return View {
                role: role.into(),
                epoch,
                durable_epoch,
                known_epoch: epoch.max(fenced_below),
                followers: self.replicas.list().iter().map(|replica| stranger(replica)).collect(),
                link: self.adoption.as_ref().map(|adoption| adoption.link()),
                ..View::default()
            };
        };
        let held = group.grants.held();
        let now_ms = group.now_ms();
        let role = match group.role {
            Role::Standby => ReportedRole::Standby,
            Role::Primary => ReportedRole::Primary,
            Role::Fenced => ReportedRole::Fenced,
            Role::Follower => ReportedRole::Follower,
        };
        let is_follower = group.is_follower();
        let follower = |peer: &Arc<Peer>| Follower {
            name: peer.name.clone(),
            address: peer.address.clone(),
            durable_position: peer.confirmed(),
            in_sync: peer.is_in_sync(now_ms),
        };
        let link = |link: &Link| LinkState {
            address: link.plan.address.clone(),
            up: link.is_up(),
            primary_position: link.primary_position(),
            copy_percent: link.copy_percent(),
            silent_milliseconds: link.silent_ms(),
        };
        View {
            role: role.into(),
            epoch: if is_follower { held.followed } else { held.promoted },
            // Of another group: whoever has anything of this one is ahead.
            durable_epoch: if held.recovered { 0 } else { durable_epoch },
            completed_epoch: held.completed,
            whole: Some(!held.partial),
            known_epoch: held.known,
            followers: group
                .peers()
                .list()
                .iter()
                .map(follower)
                .chain(self.replicas.list().iter().map(|replica| stranger(replica)))
                .collect(),
            link: group.link.as_ref().filter(|_| is_follower).map(link),
            synchronous: group.synchronous() as u32,
            discarded: held.discarded,
            last_discarded: held.last_discarded,
        }
    }

    /// The followers as commands show them: positions of Redis's replicas as well.
    pub(crate) fn shown_followers(&self) -> Vec<ShownFollower> {
        let member = |peer: Arc<Peer>, now_ms| ShownFollower {
            address: peer.address.clone(),
            is_in_sync: peer.is_in_sync(now_ms),
            position: peer.confirmed(),
        };
        let replica = |replica: Arc<Replica>| ShownFollower {
            address: replica.address.clone(),
            is_in_sync: stranger(&replica).in_sync,
            position: replica.executed().unwrap_or(0),
        };
        let group = self.group.iter();
        let members = group.flat_map(|group| {
            let now_ms = group.now_ms();
            group.peers().list().into_iter().map(move |peer| member(peer, now_ms))
        });
        members.chain(self.replicas.list().into_iter().map(replica)).collect()
    }

    /// Records that this follower does not have on disk yet.
    pub(crate) fn lag_records(&self) -> u64 {
        let link = self.group.as_ref().and_then(|group| group.link.as_ref());
        link.map_or(0, |link| link.primary_position().saturating_sub(self.log.durable()))
    }

    /// Whether clients can be served, and what is missing.
    pub(crate) fn readiness(&self) -> Readiness {
        let refusal = || self.log.refusal().to_owned();
        match (self.ending, self.log.is_writable()) {
            (Ending::No, true) => {}
            (Ending::No, false) => {
                return Readiness::new(!self.log.is_fenced(), self.log.reason(), refusal());
            }
            _ if self.log.is_failed() => {
                return Readiness::new(false, "JournalFailed", refusal());
            }
            _ => {
                let message = "finishing what was accepted".to_owned();
                return Readiness::new(false, "Draining", message);
            }
        }
        let readiness = self.readiness_by_role();
        // Serves reads, and nothing worse is to be told.
        if self.is_fenced_by_owner()
            && readiness.ready
            && (readiness.reason.is_empty() || self.bar == Bar::Owner)
        {
            let message = "writes are refused: spec.operation is Fence".to_owned();
            return Readiness::new(true, Bar::Owner.reason(), message);
        }
        readiness
    }

    fn readiness_by_role(&self) -> Readiness {
        if let Some(adoption) = &self.adoption {
            return of_adoption(adoption);
        }
        let Some(group) = &self.group else { return Readiness::new(true, "", String::new()) };
        let is_ready =
            !matches!(self.bar, Bar::Standby | Bar::TakingOver | Bar::Copying | Bar::Fenced);
        let trouble = group.link.as_ref().map_or_else(String::new, Link::trouble);
        if self.bar == Bar::TakingOver && !trouble.is_empty() {
            return Readiness::new(false, self.bar.reason(), trouble);
        }
        if self.bar.is_set() && self.bar != Bar::Follower {
            let text = self.bar.text();
            let message = text.split_once(' ').map_or(text, |(_, sentence)| sentence);
            return Readiness::new(is_ready, self.bar.reason(), message.to_owned());
        }
        if group.is_follower() {
            let is_up = group.link.as_ref().is_some_and(Link::is_up);
            if !is_up {
                let message = "the link to the primary is down".to_owned();
                return Readiness::new(true, "FollowerLagging", message);
            }
            return Readiness::new(true, "", String::new());
        }
        let wanted = group.members().map_or(0, |members| members.followers as usize);
        let in_sync = group.peers().in_sync(group.now_ms());
        if in_sync < wanted {
            let message = format!("{in_sync} of {wanted} followers are in sync");
            return Readiness::new(true, "FollowerLagging", message);
        }
        Readiness::new(true, "", String::new())
    }
}
