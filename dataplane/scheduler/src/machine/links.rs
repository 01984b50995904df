//! Which jobs follow which, and what they are still to be told: the part of a state that joins
//! partitions.
//!
//! The partition of the leader knows its followers, and keeps each end of a run that one is to be told
//! of in an outbox until the partition of the follower has it on disk. What is sent from one partition
//! to another is sent in the order of its sequence and comes in that order; so the highest sequence that
//! was taken tells what came before, and a thing that is sent again is passed by.

use std::collections::BTreeMap;

use compact_str::CompactString;
use foldhash::HashMap;
use orrery_api::scheduler::AfterResult;

use super::effect::{Ended, put_result, read_result};
use super::state::{State, StateError};
use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::ledger::entry::Fact;

/// A job whose runs begin after those of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    pub name: CompactString,
    pub result: AfterResult,
}

/// The end of a run that a follower is to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Grows along the journal of the leader's partition.
    pub sequence: u64,
    pub leader: CompactString,
    pub follower: CompactString,
    /// Number of the leader's run.
    pub run: u64,
    /// The second that run was of.
    pub nominal: i64,
    /// When it ended.
    pub ended_ms: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Links {
    /// By the name of the leader, which may not be there.
    followers: HashMap<CompactString, Vec<Follower>>,
    /// By sequence.
    outbox: BTreeMap<u64, Trigger>,
    /// The newest sequence there was; 0 before the first.
    newest: u64,
    /// The newest sequence that was taken, by the partition it is of.
    taken: BTreeMap<u16, u64>,
}

/// Whether runs that ended so are followed.
pub fn follows(result: AfterResult, ended: Ended) -> bool {
    match result {
        AfterResult::Succeeded => ended == Ended::Succeeded,
        AfterResult::Failed => ended.is_failure(),
        AfterResult::Finished => true,
    }
}

impl Links {
    pub fn of(&self, leader: &str) -> &[Follower] {
        self.followers.get(leader).map_or(&[], Vec::as_slice)
    }

    /// All followers, with whom they follow.
    pub fn followers(&self) -> impl Iterator<Item = (&str, &Follower)> {
        self.followers.iter().flat_map(|(leader, all)| all.iter().map(move |one| (&**leader, one)))
    }

    /// What is yet to be told, in order.
    pub fn outbox(&self) -> impl Iterator<Item = &Trigger> {
        self.outbox.values()
    }

    /// What is yet to be told under a sequence.
    pub fn waiting(&self, sequence: u64) -> Option<&Trigger> {
        self.outbox.get(&sequence)
    }

    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The newest sequence of a partition that was taken.
    pub fn taken(&self, source: u16) -> u64 {
        self.taken.get(&source).copied().unwrap_or(0)
    }

    /// By partition.
    pub fn all_taken(&self) -> &BTreeMap<u16, u64> {
        &self.taken
    }

    /// Whether nothing ever followed anything here.
    pub fn is_unused(&self) -> bool {
        self.followers.is_empty() && self.newest == 0 && self.taken.is_empty()
    }

    fn follow(&mut self, leader: &str, follower: &str, result: Option<AfterResult>) {
        let all = self.followers.entry(leader.into()).or_default();
        all.retain(|known| *known.name != *follower);
        all.extend(result.map(|result| Follower { name: follower.into(), result }));
        if all.is_empty() {
            self.followers.remove(leader);
        }
    }

    /// Everything in an order that is always the same, for comparisons.
    pub(super) fn digested(&self) -> String {
        let mut followers: Vec<_> = self.followers().collect();
        followers.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
        format!("{followers:?} {:?} {} {:?}", self.outbox, self.newest, self.taken)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.followers().count() as u64);
        for (leader, follower) in self.followers() {
            put_bytes(out, leader.as_bytes());
            put_bytes(out, follower.name.as_bytes());
            put_result(out, Some(follower.result));
        }
        put_u64(out, self.newest);
        put_u64(out, self.outbox.len() as u64);
        for trigger in self.outbox.values() {
            put_u64(out, trigger.sequence);
            put_bytes(out, trigger.leader.as_bytes());
            put_bytes(out, trigger.follower.as_bytes());
            put_u64(out, trigger.run);
            put_i64(out, trigger.nominal);
            put_i64(out, trigger.ended_ms);
        }
        put_u64(out, self.taken.len() as u64);
        for (source, sequence) in &self.taken {
            put_u64(out, u64::from(*source));
            put_u64(out, *sequence);
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut links = Self::default();
        for _ in 0..from.u64("followers")? {
            let (leader, follower) = (from.text("follower")?, from.text("follower")?);
            links.follow(leader, follower, read_result(from)?);
        }
        links.newest = from.u64("outbox")?;
        for _ in 0..from.u64("outbox")? {
            let trigger = Trigger {
                sequence: from.u64("trigger")?,
                leader: from.text("trigger")?.into(),
                follower: from.text("trigger")?.into(),
                run: from.u64("trigger")?,
                nominal: from.i64("trigger")?,
                ended_ms: from.i64("trigger")?,
            };
            links.outbox.insert(trigger.sequence, trigger);
        }
        for _ in 0..from.u64("taken")? {
            links.taken.insert(from.u16("taken")?, from.u64("taken")?);
        }
        Ok(links)
    }
}

/// How the effects about followers are applied.
impl State {
    pub fn links(&self) -> &Links {
        &self.links
    }

    pub(super) fn follow(
        &mut self,
        at_ms: i64,
        leader: &str,
        follower: &str,
        result: Option<AfterResult>,
        ledger: &mut Vec<u8>,
    ) {
        let mut known = self.links.of(leader).iter();
        let before = known.find(|known| *known.name == *follower).map(|known| known.result);
        self.links.follow(leader, follower, result);
        // Of no job: the leader may not be there, and the follower is in another partition.
        self.note(at_ms, 0, Fact::Follow { leader, follower, before, result }, ledger);
    }

    pub(super) fn trigger(
        &mut self,
        at_ms: i64,
        id: u64,
        told: (u64, u64, i64),
        follower: &str,
        ledger: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        let (run, sequence, nominal) = told;
        let leader = self.job(id).ok_or(StateError::NoJob { id })?.name.clone();
        let trigger =
            Trigger { sequence, leader, follower: follower.into(), run, nominal, ended_ms: at_ms };
        self.links.newest = self.links.newest.max(sequence);
        self.links.outbox.insert(sequence, trigger);
        self.note(at_ms, id, Fact::Triggered { run, sequence, follower, nominal }, ledger);
        Ok(())
    }

    pub(super) fn take(
        &mut self,
        at_ms: i64,
        source: u16,
        sequence: u64,
        taken: (u64, u64, i64),
        ledger: &mut Vec<u8>,
    ) {
        let (id, run, nominal) = taken;
        let newest = self.links.taken.entry(source).or_default();
        *newest = sequence.max(*newest);
        self.note(at_ms, id, Fact::Taken { source, sequence, run, nominal }, ledger);
    }

    pub(super) fn again(
        &mut self,
        id: u64,
        (run, sequence, nominal): (u64, u64, i64),
        follower: &str,
        ended_ms: i64,
    ) -> Result<(), StateError> {
        let leader = self.job(id).ok_or(StateError::NoJob { id })?.name.clone();
        let follower = follower.into();
        let trigger = Trigger { sequence, leader, follower, run, nominal, ended_ms };
        self.links.outbox.insert(sequence, trigger);
        Ok(())
    }

    pub(super) fn used_up(&mut self, sequence: u64) {
        self.links.newest = self.links.newest.max(sequence);
    }

    pub(super) fn delivered(&mut self, sequence: u64) {
        self.links.outbox.remove(&sequence);
    }
}
