//! Groups of one primary and its followers: who may write, and how that changes. Each shard of an
//! object with followers has a group of its own.
//!
//! `docs/decisions/0006-followers-and-failover.md` says why it is safe. A round of an object with
//! followers reads the grant, lets [`decide`] (pure) choose the next step from what the processes
//! say, and carries that step out; [`pulse`] asks the processes once a second in between, so that a
//! dead primary is noticed without a watch.
//!
//! Must not: promote anyone that the grant does not name. The grant is written first.

pub mod carry;
pub mod decide;
pub mod grant;
pub mod pulse;

use std::time::Duration;

/// How long a primary may write after it was last confirmed.
pub const LEASE: Duration = Duration::from_secs(3);

/// How much longer than a lease one waits for its end: clocks do not run equally fast.
pub(crate) const DRIFT: Duration = Duration::from_millis(100);

/// What a system says about the group of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub shard: u32,
    /// Followers the spec asks for.
    pub followers: u32,
    /// Followers that must have a write on disk before it is acknowledged.
    pub synchronous: u32,
    /// Whether an engine outside of the pods has every acknowledged write, and lets only the process
    /// of the highest epoch write: then any pod takes over without loss, whatever it has itself.
    pub carried: bool,
    /// Whether followers read along from that engine and not from the primary, which does not know of
    /// them, and acknowledge nothing for it: then no lease of it is waited for.
    pub tailed: bool,
    pub policy: Policy,
    /// Pod that should be primary, if the spec names one.
    pub wished: Option<String>,
    /// Port clients reach the primary at, and followers without certificates.
    pub client_port: u16,
    /// Port followers with certificates reach the primary at.
    pub replication_port: u16,
    /// Pod that is primary whenever it can be, so that the primaries of an object are spread over its
    /// pods; none for the only shard of an object.
    pub home: Option<String>,
    /// The pods there should be. The first is primary when nobody ever was; a primary that is not
    /// among them hands over and goes.
    pub pods: Vec<String>,
}

/// Who may take over from a lost primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A follower that provably has every acknowledged write.
    NoLoss,
    /// The most advanced follower.
    AllowLoss,
    /// Nobody by itself.
    Manual,
    /// Nobody, since nobody may write.
    Fenced,
}

impl Group {
    /// Followers that keep a primary's lease alive without the operator: more than half of them.
    pub fn confirming(&self) -> u32 {
        self.followers / 2 + 1
    }

    /// Fenced followers with a whole copy without which nobody knows that one of them has every
    /// acknowledged write; one if that is not asked for.
    pub fn copies_needed(&self, must_have_all: bool) -> usize {
        let all = (self.followers + 1).saturating_sub(self.synchronous);
        if must_have_all { all.max(1) as usize } else { 1 }
    }

    /// Fenced followers without which an old primary could keep its lease, or could go on
    /// acknowledging writes that the new one does not have.
    pub fn fences_needed(&self, must_have_all: bool) -> usize {
        let lease = (self.followers + 1).saturating_sub(self.confirming());
        (lease.max(1) as usize).max(self.copies_needed(must_have_all))
    }
}

/// Who may write, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Pod that is primary, or is about to be.
    pub holder: String,
    pub epoch: u64,
    /// Version of the stored grant; a newer grant is written under it.
    pub resource_version: String,
}

#[cfg(test)]
impl Group {
    /// A group of these pods for tests that are not about groups.
    pub(crate) fn of_pods(shard: u32, pods: &[&str]) -> Self {
        Self {
            shard,
            followers: pods.len() as u32 - 1,
            synchronous: 0,
            carried: false,
            tailed: false,
            policy: Policy::NoLoss,
            wished: None,
            client_port: 6379,
            replication_port: 9402,
            home: None,
            pods: pods.iter().map(|pod| (*pod).to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(followers: u32, synchronous: u32) -> Group {
        let pods: Vec<String> = (0..=followers).map(|n| format!("a-{n}")).collect();
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        Group { synchronous, ..Group::of_pods(0, &pods) }
    }

    #[test]
    fn no_set_of_followers_escapes_the_fences() {
        for followers in 1..=16 {
            for synchronous in 0..=followers {
                let group = group(followers, synchronous);
                let free = followers as usize - group.fences_needed(true).min(followers as usize);
                assert!(free < group.confirming() as usize, "{followers}: a lease could be kept");
                if synchronous > 0 {
                    assert!(
                        free < synchronous as usize,
                        "{followers}/{synchronous}: a write could be acknowledged"
                    );
                }
            }
        }
    }

    #[test]
    fn what_the_usual_groups_need() {
        let needs = |f, k, all| group(f, k).fences_needed(all);
        assert_eq!((needs(1, 0, false), needs(2, 0, false), needs(3, 0, false)), (1, 1, 2));
        assert_eq!((needs(1, 1, true), needs(2, 1, true), needs(2, 2, true)), (1, 2, 1));
    }
}
