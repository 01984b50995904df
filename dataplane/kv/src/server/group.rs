//! A process that is one of several: its role, and what clients may do in it.
//!
//! Roles come from the operator (`requests`) and from what followers have heard (`peers`). Every
//! change is on disk before it counts. Clients meet a role only as a [`Bar`]: what is refused, and
//! with which error. A process without a group has no bar and none of this.

mod records;
pub(crate) mod roles;
mod takeover;
mod view;

use std::path::PathBuf;
use std::sync::Arc;

use mio::Waker;
use orrery_api::Reason;
use orrery_kit::identity::Identity;
use orrery_kit::secrets::Secret;

use super::connection::Connection;
use super::{Ending, Shard};
use crate::command_table::{CommandSpec, Flags};
use crate::persistence::recovery::Recovered;
use crate::replication::copy::Discarded;
use crate::replication::grants::{Grants, GrantsError, Held, Members};
use crate::replication::lease::{Lease, Moments, majority_stamp};
use crate::replication::link::Link;
use crate::replication::peers::Peers;

/// What a process is to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Not told yet.
    Standby,
    Primary,
    /// Was primary; a later epoch is known.
    Fenced,
    Follower,
}

/// What clients may not do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Bar {
    #[default]
    None,
    Standby,
    TakingOver,
    Copying,
    Follower,
    Fenced,
    Lease,
    Replicas,
    Ending,
    /// The owner of the object wants no writes.
    Owner,
}

impl Bar {
    #[inline]
    pub(crate) fn is_set(self) -> bool {
        self != Self::None
    }

    /// Reads are refused as well.
    fn bars_reads(self) -> bool {
        matches!(self, Self::Standby | Self::TakingOver | Self::Copying)
    }

    /// The error, with the word that tells clients of Redis what to do: wait and try again
    /// (`LOADING`), look for the primary (`READONLY`).
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Standby => "LOADING this pod waits to be told its role",
            Self::TakingOver => "LOADING this pod takes over what is carried of the journal",
            Self::Copying => "LOADING this follower has not caught up with its primary yet",
            Self::Follower => "READONLY You can't write against a read only replica.",
            Self::Fenced => "READONLY this pod was fenced: a later owner may write",
            Self::Lease => {
                "READONLY this primary may not write: neither the operator nor its followers \
                 confirmed it within its lease"
            }
            Self::Replicas => "NOREPLICAS Not enough good replicas to write.",
            Self::Owner => "READONLY this service is fenced: its spec.operation is Fence",
            Self::Ending => "READONLY this pod ends: a follower takes over",
        }
    }

    /// The same in one word, as `Report` gives it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::None | Self::Follower => "",
            Self::Standby => "Standby",
            Self::TakingOver => "Recovering",
            Self::Copying => "Copying",
            Self::Fenced => "Fenced",
            Self::Lease => "LeaseExpired",
            Self::Replicas => "FollowerLagging",
            Self::Ending => "Draining",
            Self::Owner => Reason::FencedBySpec.as_str(),
        }
    }
}

/// What followers hear who ask for anything else.
const NOT_FOR_FOLLOWERS: &str = "NOPERM this user may only replicate";

/// The group's side of a shard.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a process")]
pub(crate) struct Group {
    pub(crate) role: Role,
    pub(crate) grants: Grants,
    pub(crate) lease: Lease,
    pub(crate) peers: Arc<Peers>,
    pub(crate) link: Option<Link>,
    pub(crate) token: Option<Secret>,
    identity: Option<Arc<Identity>>,
    /// Of a follower: everything the primary had when the link came up is here.
    is_complete: bool,
    /// What the link has to reach for that.
    complete_at: Option<u64>,
    /// A primary that ended: its epoch, and the position that completes it.
    goodbye: Option<(u64, u64)>,
    /// The link has more than one turn could take.
    has_more: bool,
    /// Everything that is carried is here: the take-over can end.
    has_arrived: bool,
    /// A whole copy waits to be taken over.
    pub(crate) has_copy: bool,
    name: String,
    data: PathBuf,
    moments: Moments,
}

/// What a group is made from.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) grants: Grants,
    pub(crate) token: Option<Secret>,
    /// What is shown to the other processes of the group.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Name of this process to its primary.
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) moments: Moments,
}

impl Group {
    pub(crate) fn new(from: Membership, waker: &Arc<Waker>) -> Self {
        let Membership { grants, token, identity, name, data, moments } = from;
        let mut group = Self {
            role: Role::Standby,
            lease: Lease::default(),
            peers: Arc::new(Peers::new(moments, Arc::clone(waker))),
            link: None,
            token,
            identity,
            is_complete: false,
            complete_at: None,
            goodbye: None,
            has_more: false,
            has_arrived: false,
            has_copy: false,
            grants,
            name,
            data,
            moments,
        };
        group.apply_members();
        group
    }

    /// After recovery: no epoch of the journal may be unknown, and what a copy replaced is counted.
    /// `is_filled`: the journal came from an archive, at this start or an earlier one.
    pub(crate) fn settle_epochs(
        &mut self,
        recovered: &Recovered,
        discarded: Discarded,
        is_filled: bool,
    ) -> Result<(), GrantsError> {
        let of_journal = recovered.journal.epoch().0.max(recovered.fenced_below);
        let has_copy = self.has_copy;
        let is_empty = recovered.journal.last().0 == 0;
        self.grants.change(|held| {
            held.known = held.known.max(of_journal);
            if discarded.records > 0 {
                held.discarded += discarded.records;
                held.last_discarded = discarded;
            }
            held.recovered |= is_filled && held.is_new();
            held.partial |= held.is_new() && (is_empty || held.recovered);
            held.recovered &= !has_copy;
            held.partial &= !has_copy;
        })
    }

    /// Another owner of `epoch` writes: from the beginning, as a process that was told nothing yet.
    pub(crate) fn stand_by(&mut self, epoch: u64) -> Result<(), GrantsError> {
        self.role = Role::Standby;
        self.lease.revoke();
        self.link = None;
        self.peers.close();
        (self.is_complete, self.complete_at, self.goodbye) = (false, None, None);
        (self.has_more, self.has_arrived) = (false, false);
        self.grants.change(|held| held.known = held.known.max(epoch))
    }

    /// Milliseconds right now, not as of the beginning of the turn.
    fn now_ms(&self) -> u64 {
        self.moments.now_ms()
    }

    fn members(&self) -> Option<Members> {
        self.grants.held().members
    }

    fn synchronous(&self) -> usize {
        self.members().map_or(0, |members| members.synchronous as usize)
    }

    /// Whether what its followers confirm now is as safe as it ever will be. Of a primary that was fenced
    /// it is not: the next one may begin without it. One that gave its epoch up waited for them first.
    fn may_acknowledge(&self) -> bool {
        match self.role {
            Role::Primary => self.lease.holds(self.now_ms()),
            Role::Fenced => self.synchronous() == 0 || self.grants.held().given_up,
            Role::Standby | Role::Follower => true,
        }
    }

    fn apply_members(&mut self) {
        let Some(members) = self.members() else { return };
        self.lease.length_ms = u64::from(members.lease_milliseconds);
        self.peers.set_eager(members.synchronous > 0);
    }

    fn bar(&self, is_ending: bool) -> Bar {
        let now_ms = self.now_ms();
        match self.role {
            Role::Standby if self.link.is_some() => Bar::TakingOver,
            Role::Standby => Bar::Standby,
            Role::Follower if self.is_complete => Bar::Follower,
            Role::Follower => Bar::Copying,
            Role::Fenced => Bar::Fenced,
            Role::Primary if is_ending => Bar::Ending,
            Role::Primary if !self.lease.holds(now_ms) => Bar::Lease,
            Role::Primary => {
                let wanted = self.synchronous();
                let is_short = wanted > 0 && self.peers.in_sync(now_ms) < wanted;
                if is_short { Bar::Replicas } else { Bar::None }
            }
        }
    }
}

/// Whether a command asks where the nodes of a cluster are: those who may not be read from say it too.
fn is_about_nodes(spec: &CommandSpec) -> bool {
    spec.group == "cluster" && !spec.name.ends_with("keysinslot")
}

impl Shard {
    /// The group's part of a turn: what followers and the primary have sent, and what clients may do.
    pub(crate) fn look_after_group(&mut self) {
        let Some(group) = &mut self.group else { return };
        let heard_of = group.peers.heard_of();
        if heard_of > group.grants.held().known {
            self.hear_of(heard_of);
        }
        let Some(group) = &mut self.group else { return };
        match group.role {
            Role::Primary => {
                if let Some(members) = group.members()
                    && let Some(stamp) =
                        majority_stamp(members.followers, &mut group.peers.stamps())
                {
                    group.lease.confirm(stamp);
                }
            }
            Role::Follower => self.follow_primary(),
            Role::Standby => self.look_after_take_over(),
            Role::Fenced => {}
        }
        self.set_bar();
    }

    /// Finds out what clients may do now; gives up replies that no longer may leave.
    pub(crate) fn set_bar(&mut self) {
        let bar = match (&self.group, &self.adoption) {
            (Some(group), _) => group.bar(self.ending != Ending::No),
            (None, Some(adoption)) if adoption.is_complete() => Bar::Follower,
            (None, Some(_)) => Bar::Copying,
            (None, None) => Bar::None,
        };
        // Whatever else refuses writes goes on to say so.
        let bar = match bar {
            Bar::None | Bar::Replicas if self.is_fenced_by_owner() => Bar::Owner,
            other => other,
        };
        if bar != self.bar {
            let before = std::mem::replace(&mut self.bar, bar);
            if matches!(bar, Bar::Lease | Bar::Fenced) && before != bar {
                self.disown_gated();
            }
            self.release_waiting_in_cluster();
            tracing::info!(?before, now = ?bar, "what clients may do has changed");
            self.publish();
        }
        self.machine.hold_expiry(self.pause.is_some() || bar.is_set());
    }

    /// Whether the command is refused by the role of this process, and with which error.
    pub(crate) fn barred(
        &self,
        connection: &Connection,
        spec: &CommandSpec,
    ) -> Option<&'static str> {
        if connection.is_follower {
            let may = ["ping", "auth", "hello", "replconf", "psync", "quit", "reset"];
            return (!may.contains(&spec.full_name)).then_some(NOT_FOR_FOLLOWERS);
        }
        let is_exempt = spec.flags.contains(Flags::LOADING)
            || (self.cluster.is_some() && is_about_nodes(spec))
            || (connection.multi.is_some() && spec.runs_inside_multi());
        let is_barred = spec.is_write() || (self.bar.bars_reads() && !is_exempt);
        is_barred.then(|| self.bar.text())
    }

    /// Up to where replies may leave: everything below is as durable as was asked for.
    pub(crate) fn releasable(&self) -> u64 {
        let durable = self.log.durable();
        let Some(group) = &self.group else { return durable };
        if matches!(group.role, Role::Standby | Role::Follower) {
            return durable;
        }
        if !group.may_acknowledge() {
            return self.durable;
        }
        match group.synchronous() {
            0 => durable,
            count => durable.min(group.peers.confirmed_by(count)).max(self.durable),
        }
    }

    /// Up to where no failover takes anything back that keeps what was acknowledged.
    pub(crate) fn failsafe(&self) -> u64 {
        match &self.group {
            Some(group) if group.synchronous() > 0 => group.peers.confirmed_by(group.synchronous()),
            _ => u64::MAX,
        }
    }

    /// Whether a reply that acknowledges a write may leave at this very moment.
    pub(crate) fn may_acknowledge(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.may_acknowledge())
    }

    /// Whether the link has records for another turn at once.
    pub(crate) fn has_more_records(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.has_more)
    }

    /// Closes every client that waits for the journal: nobody here can know what becomes of its
    /// writes, and a reply of any kind would say that somebody does.
    fn disown_gated(&mut self) {
        self.gated.clear();
        for slot in self.clients.slots() {
            let Some(mut connection) = self.clients.take(slot) else { continue };
            let before = connection.output.pending_bytes();
            let was_gated = connection.output.was_gated();
            if connection.output.drop_gated() || was_gated {
                self.output_bytes_total -= (before - connection.output.pending_bytes()) as i64;
                self.stats.unknown_outcomes += 1;
                connection.broken = true;
            }
            self.settle(slot, connection);
        }
    }

    /// What a primary that ends owes its followers; true once it is done or too late.
    pub(crate) fn say_goodbye(&mut self, now_ms: u64, until_ms: u64) -> bool {
        let Some(group) = &mut self.group else { return true };
        let is_primary = group.role == Role::Primary && group.grants.is_holder();
        let has_given_up = group.role == Role::Fenced && group.grants.held().given_up;
        if now_ms >= until_ms || (!is_primary && !has_given_up) {
            return true;
        }
        let mono_ms = group.now_ms();
        if is_primary {
            let last = self.log.appended();
            let behind = |peer: &Arc<crate::replication::peers::Peer>| {
                peer.is_in_sync(mono_ms) && peer.confirmed() < last
            };
            if self.log.durable() < last || group.peers.list().iter().any(behind) {
                return false;
            }
            // On disk first: it must not write again under an epoch that it called complete.
            if let Err(error) = group.grants.change(Held::give_up) {
                tracing::error!(%error, "failed to give the epoch up");
                return true;
            }
            group.role = Role::Fenced;
            group.peers.say_goodbye(last);
        }
        group.peers.have_said_goodbye(mono_ms)
    }
}
