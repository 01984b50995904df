//! Where a command with keys runs: here, elsewhere, or nowhere now. Pure: what a connection does with
//! the answer is `server/redirect`.
//!
//! The errors are those of Redis, because cluster clients act on their first word.

use super::{Cluster, Node, Place};

/// What clients may have of the shard in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Everything. What refuses single commands of a primary says so itself.
    Primary,
    /// A primary that ends: what it has is right, and nobody changes it any more.
    Ending,
    /// A follower that has everything its primary had.
    Follower,
    /// Nobody knows here what is right.
    Nothing,
}

/// What a command is, as far as it matters where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// It changes keys.
    pub(crate) writes: bool,
    /// The connection reads from followers as well (`READONLY`).
    pub(crate) takes_stale: bool,
}

/// Where a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Course {
    Here,
    /// Its keys are of several slots.
    CrossSlot,
    Moved {
        slot: u16,
        to: Node,
    },
    /// Nobody is primary of the slot.
    Unserved,
    /// This shard has the slot, but may not serve it.
    Down,
}

impl Course {
    /// The error reply; none if it runs here. `here`: the address the client reached this process at.
    pub(crate) fn error(&self, here: &str) -> Option<String> {
        Some(match self {
            Self::Here => return None,
            Self::CrossSlot => "CROSSSLOT Keys in request don't hash to the same slot".into(),
            Self::Moved { slot, to } => {
                let host = to.host.as_deref().unwrap_or(here);
                format!("MOVED {slot} {host}:{}", to.port)
            }
            Self::Unserved => "CLUSTERDOWN Hash slot not served".into(),
            Self::Down => "CLUSTERDOWN The cluster is down".into(),
        })
    }
}

impl Standing {
    fn serves(self, kind: Kind) -> bool {
        match self {
            Self::Primary => true,
            Self::Ending => !kind.writes,
            Self::Follower => !kind.writes && kind.takes_stale,
            Self::Nothing => false,
        }
    }
}

impl Cluster {
    /// Where a command runs whose keys are in `slots`. Without keys it runs wherever it was sent.
    #[inline]
    pub(crate) fn course(
        &self,
        standing: Standing,
        kind: Kind,
        mut slots: impl Iterator<Item = u16>,
    ) -> Course {
        let Some(slot) = slots.next() else { return Course::Here };
        if slots.any(|other| other != slot) {
            return Course::CrossSlot;
        }
        let shard = self.layout.shard_of(slot);
        if shard == self.shard && standing.serves(kind) {
            return Course::Here;
        }
        self.elsewhere(slot, shard, standing)
    }

    #[cold]
    fn elsewhere(&self, slot: u16, shard: u32, standing: Standing) -> Course {
        let topology = self.known.get();
        let primary = topology.places.get(shard as usize).and_then(|Place { primary, .. }| {
            // What is known of this very process may be late.
            primary.as_ref().filter(|node| shard != self.shard || node.name != self.pod)
        });
        match primary {
            Some(node) => Course::Moved { slot, to: node.clone() },
            None if shard != self.shard || standing == Standing::Follower => Course::Unserved,
            None => Course::Down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::*;

    const READ: Kind = Kind { writes: false, takes_stale: false };
    const STALE: Kind = Kind { writes: false, takes_stale: true };
    const WRITE: Kind = Kind { writes: true, takes_stale: true };

    /// Shard 0 of two, whose slots are 0 to 8191, in the process that `primary` may be.
    fn told(primary: Option<&str>, standing: Standing, kind: Kind, slots: &[u16]) -> String {
        let cluster = cluster(&[primary, Some("b")]);
        let course = cluster.course(standing, kind, slots.iter().copied());
        course.error("10.0.0.9").unwrap_or_else(|| "here".into())
    }

    #[test]
    fn a_primary_serves_its_slots_and_sends_all_others_away() {
        for kind in [READ, STALE, WRITE] {
            let at = |slots: &[u16]| told(Some("a"), Standing::Primary, kind, slots);
            assert_eq!(at(&[]), "here", "a command without keys");
            assert_eq!(at(&[0]), "here");
            assert_eq!(at(&[8191, 8191, 8191]), "here");
            assert_eq!(at(&[8192]), "MOVED 8192 10.0.0.2:7001");
            assert_eq!(at(&[0, 0, 1]), "CROSSSLOT Keys in request don't hash to the same slot");
            assert_eq!(at(&[8192, 1]), "CROSSSLOT Keys in request don't hash to the same slot");
        }
    }

    #[test]
    fn whoever_may_not_serve_a_slot_says_who_does() {
        use Standing::{Ending, Follower, Nothing};
        let (moved, unserved, down) = (
            "MOVED 5 10.0.0.3:7000",
            "CLUSTERDOWN Hash slot not served",
            "CLUSTERDOWN The cluster is down",
        );
        for (standing, kind, other, none, itself) in [
            (Follower, READ, moved, unserved, unserved),
            (Follower, WRITE, moved, unserved, unserved),
            (Follower, STALE, "here", "here", "here"),
            (Ending, READ, "here", "here", "here"),
            (Ending, WRITE, moved, down, down),
            (Nothing, READ, moved, down, down),
            (Nothing, STALE, moved, down, down),
            (Nothing, WRITE, moved, down, down),
        ] {
            for (primary, expected) in [(Some("c"), other), (None, none), (Some("a"), itself)] {
                let got = told(primary, standing, kind, &[5]);
                assert_eq!(got, expected, "{standing:?} {kind:?} {primary:?}");
            }
        }
    }

    #[test]
    fn nothing_is_served_elsewhere_as_long_as_nothing_is_known() {
        let cluster = cluster(&[]);
        let at = |slot| {
            let course = cluster.course(Standing::Primary, WRITE, [slot].into_iter());
            course.error("").unwrap_or_else(|| "here".into())
        };
        assert_eq!(at(0), "here");
        assert_eq!(at(16_383), "CLUSTERDOWN Hash slot not served");
        let course = cluster.course(Standing::Nothing, READ, [0].into_iter());
        assert_eq!(course, Course::Down);
    }

    #[test]
    fn a_process_that_is_all_of_the_cluster_is_reached_where_the_client_reached_it() {
        let to = Node { name: "a".into(), host: None, port: 6380 };
        let moved = Course::Moved { slot: 7, to };
        // Without brackets, as Redis writes addresses.
        assert_eq!(moved.error("fd00::1").as_deref(), Some("MOVED 7 fd00::1:6380"));
    }
}
