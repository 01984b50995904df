//! The order of rounds of one controller. Pure: the time is passed in.
//!
//! Must not: know what a round does, or how many may run at once.
//!
//! Whatever is due the longest goes first, so an object that failed and is tried again stands behind
//! all that were due before: objects whose calls hang cannot keep the others from their turn (P1).
//! kube's own scheduler takes them in the order of a hash map. An object is in the queue once, and
//! never runs twice at the same time; what happens to it while it runs counts for its next round.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::board::Key;

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeSet<(Instant, Key)>,
    places: HashMap<Key, Place>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// In `waiting`, at this time.
    Waiting(Instant),
    /// Its round runs; the time of the next, if one is wanted already.
    Running(Option<Instant>),
}

impl Queue {
    /// The object is to be looked at at `at`, or earlier if that is wanted already.
    pub fn want(&mut self, key: Key, at: Instant) {
        match self.places.get_mut(&key) {
            Some(Place::Running(next)) => *next = Some(next.map_or(at, |next| next.min(at))),
            Some(Place::Waiting(before)) if *before <= at => {}
            Some(Place::Waiting(before)) => {
                let entry = (std::mem::replace(before, at), key);
                self.waiting.remove(&entry);
                self.waiting.insert((at, entry.1));
            }
            None => {
                self.places.insert(key.clone(), Place::Waiting(at));
                self.waiting.insert((at, key));
            }
        }
    }

    /// The object whose round is to run now. It is running until [`Queue::finished`].
    pub fn start(&mut self, now: Instant) -> Option<Key> {
        self.waiting.first().filter(|(at, _)| *at <= now)?;
        let (_, key) = self.waiting.pop_first()?;
        self.places.insert(key.clone(), Place::Running(None));
        Some(key)
    }

    /// The round of the object ended and asks for the next one at `at`. Without a time, and when
    /// nothing happened to the object meanwhile, it is forgotten.
    pub fn finished(&mut self, key: Key, at: Option<Instant>) {
        let wanted = match self.places.remove(&key) {
            Some(Place::Running(next)) => next,
            Some(Place::Waiting(at)) => {
                self.waiting.remove(&(at, key.clone()));
                Some(at)
            }
            None => None,
        };
        if let Some(at) = wanted.into_iter().chain(at).min() {
            self.want(key, at);
        }
    }

    /// When the next round is due; it may be past.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn key(name: &str) -> Key {
        ("ns".to_owned(), name.to_owned())
    }

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn p1_objects_that_hang_and_are_tried_again_at_once_do_not_starve_another() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        for name in ["a", "b", "c", "d", "good", "x"] {
            queue.want(key(name), now);
        }
        // Two rounds at once, each of which hangs for a while; the good one asks for a next round.
        let mut looks = 0;
        for _ in 0..30 {
            let two = [queue.start(now), queue.start(now)];
            now += MILLI;
            for started in two.into_iter().flatten() {
                looks += usize::from(started == key("good"));
                queue.finished(started, Some(now));
            }
        }
        assert_eq!(looks, 10, "a sixth of sixty");
    }

    #[test]
    fn what_happens_often_is_not_put_off() {
        let start = Instant::now();
        let mut queue = Queue::default();
        for n in 0..50 {
            queue.want(key("a"), start + MILLI * (n + 20));
        }
        assert_eq!(queue.next(), Some(start + MILLI * 20));
        assert_eq!(queue.start(start + MILLI * 19), None);
        assert_eq!(queue.start(start + MILLI * 20), Some(key("a")));
        assert_eq!(queue.start(start + MILLI * 200), None, "it was there once");
    }

    #[derive(Debug, Clone)]
    enum Op {
        Want(u8, u64),
        Start,
        Finish(u8, Option<u64>),
        Pass(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => (0..6_u8, 0..20_u64).prop_map(|(key, after)| Op::Want(key, after)),
            3 => Just(Op::Start),
            2 => (0..6_u8, prop::option::of(0..20_u64)).prop_map(|(key, at)| Op::Finish(key, at)),
            2 => (0..10_u64).prop_map(Op::Pass),
        ]
    }

    proptest! {
        /// Against a model that is a plain list of what is wanted: nothing wanted is lost, nothing
        /// runs twice at once or before its time, and whoever waits longest goes first.
        #[test]
        fn nothing_is_lost_doubled_early_or_out_of_turn(ops in prop::collection::vec(op(), 1..200)) {
            let start = Instant::now();
            let (mut now, mut queue) = (start, Queue::default());
            let mut wanted: HashMap<Key, Instant> = HashMap::new();
            let mut running: HashSet<Key> = HashSet::new();
            for op in ops {
                match op {
                    Op::Want(name, after) => {
                        let (key, at) = (key(&name.to_string()), now + MILLI * after as u32);
                        let entry = wanted.entry(key.clone()).or_insert(at);
                        *entry = at.min(*entry);
                        queue.want(key, at);
                    }
                    Op::Start => {
                        let mut due: Vec<_> = wanted
                            .iter()
                            .filter(|(key, at)| !running.contains(*key) && **at <= now)
                            .map(|(key, at)| (*at, key.clone()))
                            .collect();
                        due.sort();
                        let first = due.into_iter().next().map(|(_, key)| key);
                        prop_assert_eq!(queue.start(now), first.clone());
                        if let Some(key) = first {
                            wanted.remove(&key);
                            running.insert(key);
                        }
                    }
                    Op::Finish(name, after) => {
                        let key = key(&name.to_string());
                        if !running.remove(&key) {
                            continue;
                        }
                        let at = after.map(|after| now + MILLI * after as u32);
                        if let Some(at) = at {
                            let entry = wanted.entry(key.clone()).or_insert(at);
                            *entry = at.min(*entry);
                        }
                        queue.finished(key, at);
                    }
                    Op::Pass(time) => now += MILLI * time as u32,
                }
                let next = wanted.iter().filter(|(key, _)| !running.contains(*key));
                prop_assert_eq!(queue.next(), next.map(|(_, at)| *at).min());
            }
            prop_assert_eq!(queue.places.len(), wanted.keys().chain(&running).collect::<HashSet<_>>().len());
        }
    }
}
