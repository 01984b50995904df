//! How partitions tell each other of jobs that follow others.
//!
//! Nothing is told before it is durable here, and everything that may not have arrived is told again
//! after a start: who follows whom as a whole, the outbox in its order. So a crash anywhere leaves one
//! run of the follower for each run of the leader. Between two partitions things arrive in the order
//! they were sent in; what is taken relies on it (see [`crate::machine::links`]).

use std::collections::BTreeMap;

use super::requests::{Handle, Link, Release};
use crate::engine::partition_of;
use crate::machine::state::StateError;
use crate::machine::{Following, State, Trigger, Turn};

/// Ends of runs in one message, so that no turn is long.
const TRIGGERS_PER_LINK: usize = 256;

/// Tells partitions of what has become durable in partition `here`.
pub(super) fn tell(
    here: u16,
    peers: &[Handle],
    state: &State,
    followings: Vec<Following>,
    sequences: &[u64],
) {
    let mut by_peer: BTreeMap<u16, Vec<Following>> = BTreeMap::new();
    for following in followings {
        by_peer.entry(peer_of(&following.leader, peers)).or_default().push(following);
    }
    for (peer, followings) in by_peer {
        send(peers, peer, Link::Follow(followings));
    }
    let links = state.links();
    tell_ends(here, peers, sequences.iter().filter_map(|sequence| links.waiting(*sequence)));
}

/// Tells everything again that may not have arrived, after a start.
pub(super) fn tell_again(here: u16, peers: &[Handle], state: &State) {
    let mut by_peer: Vec<Vec<Following>> = vec![vec![]; peers.len()];
    for following in state.jobs().filter_map(Following::of) {
        by_peer[usize::from(peer_of(&following.leader, peers))].push(following);
    }
    // Those without any are told as well: they may know of some that are gone.
    for (peer, all) in by_peer.into_iter().enumerate() {
        send(peers, peer as u16, Link::FollowOnly { of: here, all });
    }
    tell_ends(here, peers, state.links().outbox());
}

fn tell_ends<'a>(here: u16, peers: &[Handle], triggers: impl Iterator<Item = &'a Trigger>) {
    let mut by_peer: BTreeMap<u16, Vec<Trigger>> = BTreeMap::new();
    for trigger in triggers {
        by_peer.entry(peer_of(&trigger.follower, peers)).or_default().push(trigger.clone());
    }
    for (peer, all) in by_peer {
        for triggers in all.chunks(TRIGGERS_PER_LINK) {
            send(peers, peer, Link::Ended { source: here, triggers: triggers.to_vec() });
        }
    }
}

/// Carries out what another partition tells. Gives what is to be called when that is durable.
pub(super) fn carry_out(
    turn: &mut Turn<'_>,
    link: Link,
    peers: &[Handle],
) -> Result<Option<Release>, StateError> {
    match link {
        Link::Follow(followings) => {
            followings.iter().try_for_each(|following| turn.follow(following))?;
            Ok(None)
        }
        Link::FollowOnly { of, all } => {
            turn.follow_only(&all, |follower| peer_of(follower, peers) == of)?;
            Ok(None)
        }
        Link::Ended { source, triggers } => {
            triggers.iter().try_for_each(|trigger| turn.take(source, trigger))?;
            let sequences = triggers.iter().map(|trigger| trigger.sequence).collect();
            let peer = peers.get(usize::from(source)).cloned();
            Ok(peer
                .map(|peer| -> Release { Box::new(move || peer.link(Link::Delivered(sequences))) }))
        }
        Link::Delivered(sequences) => {
            turn.delivered(&sequences)?;
            Ok(None)
        }
    }
}

fn peer_of(name: &str, peers: &[Handle]) -> u16 {
    partition_of(name, peers.len() as u16)
}

fn send(peers: &[Handle], peer: u16, link: Link) {
    if let Some(peer) = peers.get(usize::from(peer)) {
        peer.link(link);
    }
}
