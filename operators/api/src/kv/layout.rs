//! Which pods have which shards, and which keys: the same arithmetic in the operator and in every
//! process, so that nobody has to be told.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Slots of Redis Cluster: a key is in slot CRC16(key) mod 16384.
pub const SLOTS: u16 = 16_384;
/// The most shards of an object: each has ports of its own in every pod.
pub const SHARDS_MAX: i32 = 64;

/// Name of the port for clients, which lead to any shard of a process.
pub const CLIENTS_PORT: &str = "resp";
/// Name of the port for followers of the first shard.
pub const FOLLOWERS_PORT: &str = "replication";

/// Name of the port of a shard for its followers; the first one's is that of an only one.
pub fn followers_port(shard: u32) -> String {
    if shard == 0 { FOLLOWERS_PORT.to_owned() } else { format!("{FOLLOWERS_PORT}-{shard}") }
}

/// How the shards of an object are spread over its pods.
///
/// Slots go to shards in equal ranges. A shard is at home in pod `shard mod pods`; its copies are in the
/// pods that follow, beginning one further for every shard of the same home, so that the load of a pod
/// that is lost is spread over the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Layout {
    /// All shards of the object, 1 to [`SHARDS_MAX`].
    pub shards: u32,
    /// All pods of the object, at least `copies`.
    pub pods: u32,
    /// Pods that have a shard: the one it is at home in, and its followers.
    pub copies: u32,
}

impl Layout {
    /// Whether every number is within its bounds.
    pub fn is_possible(&self) -> bool {
        (1..=SHARDS_MAX as u32).contains(&self.shards) && (1..=self.pods).contains(&self.copies)
    }

    /// The numbers of the pods that have a shard; its home is the first.
    pub fn pods_of(&self, shard: u32) -> Vec<u32> {
        let home = shard % self.pods;
        let others = self.pods - 1;
        let turn = shard / self.pods;
        let copies = (0..self.copies.saturating_sub(1).min(others))
            .map(|copy| (home + 1 + (turn + copy) % others) % self.pods);
        std::iter::once(home).chain(copies).collect()
    }

    /// The shards that a pod has, by id.
    pub fn shards_of(&self, pod: u32) -> Vec<u32> {
        (0..self.shards).filter(|shard| self.pods_of(*shard).contains(&pod)).collect()
    }

    /// Name of the port of a shard for its clients; an only one has that of the process.
    pub fn clients_port(&self, shard: u32) -> String {
        match self.shards {
            1 => CLIENTS_PORT.to_owned(),
            _ => format!("{CLIENTS_PORT}-{shard}"),
        }
    }

    /// The slots of a shard.
    pub fn slots_of(&self, shard: u32) -> RangeInclusive<u16> {
        let from = |shard: u32| u32::from(SLOTS) * shard / self.shards;
        from(shard) as u16..=(from(shard + 1) - 1) as u16
    }

    /// The shard that has a slot below [`SLOTS`].
    pub fn shard_of(&self, slot: u16) -> u32 {
        // The inverse of the rounding down in `slots_of`.
        ((u32::from(slot) + 1) * self.shards - 1) / u32::from(SLOTS)
    }

    /// The slots of a shard as people write them: `0-5460`.
    pub fn slots_text(&self, shard: u32) -> String {
        let slots = self.slots_of(shard);
        format!("{}-{}", slots.start(), slots.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Layout> {
        let layouts = (1..=SHARDS_MAX as u32).flat_map(|shards| {
            (1..=9).flat_map(move |pods| (1..=pods).map(move |copies| (shards, pods, copies)))
        });
        layouts.map(|(shards, pods, copies)| Layout { shards, pods, copies })
    }

    #[test]
    fn every_slot_has_one_shard_and_every_shard_about_as_many() {
        for shards in 1..=SHARDS_MAX as u32 {
            let layout = Layout { shards, pods: 1, copies: 1 };
            let mut next = 0;
            for shard in 0..shards {
                let slots = layout.slots_of(shard);
                assert_eq!(*slots.start(), next, "{shards}");
                let count = u32::from(*slots.end()) + 1 - u32::from(next);
                let share = u32::from(SLOTS) / shards;
                assert!((share..=share + 1).contains(&count), "{shards}: {count}");
                assert!(slots.clone().all(|slot| layout.shard_of(slot) == shard), "{shards}");
                next = slots.end() + 1;
            }
            assert_eq!(next, SLOTS);
        }
        let three = Layout { shards: 3, pods: 3, copies: 1 };
        let texts: Vec<String> = (0..3).map(|shard| three.slots_text(shard)).collect();
        assert_eq!(texts, ["0-5460", "5461-10921", "10922-16383"]);
        assert_eq!(
            (three.clients_port(0), followers_port(0)),
            ("resp-0".into(), "replication".into())
        );
        assert_eq!(followers_port(2), "replication-2");
        assert_eq!(Layout { shards: 1, ..three }.clients_port(0), "resp");
    }

    #[test]
    fn a_shard_is_in_as_many_different_pods_as_asked() {
        for layout in all() {
            for shard in 0..layout.shards {
                let pods = layout.pods_of(shard);
                let different: std::collections::BTreeSet<_> = pods.iter().collect();
                assert_eq!(different.len(), layout.copies as usize, "{layout:?} {shard}");
                assert!(pods.iter().all(|pod| *pod < layout.pods), "{layout:?} {pods:?}");
                assert!(pods.iter().all(|pod| layout.shards_of(*pod).contains(&shard)));
            }
        }
    }

    #[test]
    fn the_load_of_a_lost_pod_is_spread() {
        let layout = Layout { shards: 6, pods: 3, copies: 2 };
        let heirs: Vec<u32> = [0, 3].map(|shard| layout.pods_of(shard)[1]).to_vec();
        assert_eq!(heirs, [1, 2], "the two shards at home in the first pod");
        for layout in all().filter(|layout| layout.shards.is_multiple_of(layout.pods)) {
            let homes = (0..layout.pods).map(|pod| {
                (0..layout.shards).filter(|shard| layout.pods_of(*shard)[0] == pod).count()
            });
            let even = (layout.shards / layout.pods) as usize;
            assert!(homes.into_iter().all(|count| count == even), "{layout:?}");
        }
    }
}
