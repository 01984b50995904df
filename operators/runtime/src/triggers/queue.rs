//! The order of rounds of one controller. Pure: the time is passed in.
//!
//! Must not: know what a round does, or how many may run at once.
//!
//! An object that was not in the queue goes before those that were: among many that are made at once
//! each is looked at before the work of any goes on. That is so for one round. Of the others, whatever
//! is due the longest goes first, so an object that failed and is tried again stands behind all that
//! were due before: objects whose calls hang cannot keep the others from their turn (P1). kube's own
//! scheduler takes them in the order of a hash map. An object is in the queue once, and never runs
//! twice at the same time; what happens to it while it runs counts for its next round.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::board::Key;

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    first: BTreeSet<(Instant, Key)>,
    later: BTreeSet<(Instant, Key)>,
    places: HashMap<Key, Place>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// In `first` or `later`, at this time.
    Waiting(Line, Instant),
    /// Its round runs; the time of the next, if one is wanted already.
    Running(Option<Instant>),
}

#[derive(Debug, Clone, Copy)]
enum Line {
    First,
    Later,
}

impl Queue {
    fn line(&mut self, line: Line) -> &mut BTreeSet<(Instant, Key)> {
        match line {
            Line::First => &mut self.first,
            Line::Later => &mut self.later,
        }
    }

    fn put(&mut self, key: Key, line: Line, at: Instant) {
        self.places.insert(key.clone(), Place::Waiting(line, at));
        self.line(line).insert((at, key));
    }

    /// The object is to be looked at at `at`, or earlier if that is wanted already.
    pub fn want(&mut self, key: Key, at: Instant) {
        match self.places.get_mut(&key) {
            Some(Place::Running(next)) => *next = Some(next.map_or(at, |next| next.min(at))),
            Some(Place::Waiting(_, before)) if *before <= at => {}
            Some(&mut Place::Waiting(line, before)) => {
                let entry = (before, key);
                self.line(line).remove(&entry);
                self.put(entry.1, line, at);
            }
            None => self.put(key, Line::First, at),
        }
    }

    /// The object whose round is to run now. It is running until [`Queue::finished`].
    pub fn start(&mut self, now: Instant) -> Option<Key> {
        let due = |line: &BTreeSet<(Instant, Key)>| line.first().is_some_and(|(at, _)| *at <= now);
        let (_, key) = if due(&self.first) {
            self.first.pop_first()?
        } else if due(&self.later) {
            self.later.pop_first()?
        } else {
            return None;
        };
        self.places.insert(key.clone(), Place::Running(None));
        Some(key)
    }

    /// The round of the object ended and asks for the next one at `at`. Without a time, and when
    /// nothing happened to the object meanwhile, it is forgotten.
    pub fn finished(&mut self, key: Key, at: Option<Instant>) {
        let wanted = match self.places.remove(&key) {
            Some(Place::Running(next)) => next,
            Some(Place::Waiting(line, at)) => {
                self.line(line).remove(&(at, key.clone()));
                Some(at)
            }
            None => None,
        };
        if let Some(at) = wanted.into_iter().chain(at).min() {
            self.put(key, Line::Later, at);
        }
    }

    /// When the next round is due; it may be past.
    pub fn next(&self) -> Option<Instant> {
        let lines = [&self.first, &self.later].into_iter();
        lines.filter_map(|line| line.first()).map(|(at, _)| *at).min()
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
    fn a_new_object_is_looked_at_before_the_work_of_the_others_goes_on() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for name in ["a", "b"] {
            queue.want(key(name), now);
            assert_eq!(queue.start(now), Some(key(name)));
            queue.finished(key(name), Some(now));
        }
        queue.want(key("new"), now + MILLI);
        assert_eq!(queue.start(now), Some(key("a")), "the new one is not due yet");
        assert_eq!(queue.start(now + MILLI), Some(key("new")));
        queue.finished(key("new"), Some(now + MILLI));
        assert_eq!(queue.start(now + MILLI), Some(key("b")), "it is one of them now");
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
        /// runs twice at once or before its time, new ones go first, then whoever waits longest.
        #[test]
        fn nothing_is_lost_doubled_early_or_out_of_turn(ops in prop::collection::vec(op(), 1..200)) {
            let start = Instant::now();
            let (mut now, mut queue) = (start, Queue::default());
            let mut wanted: HashMap<Key, Instant> = HashMap::new();
            let (mut running, mut known) = (HashSet::<Key>::new(), HashSet::<Key>::new());
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
                            .map(|(key, at)| (known.contains(key), *at, key.clone()))
                            .collect();
                        due.sort();
                        let first = due.into_iter().next().map(|(_, _, key)| key);
                        prop_assert_eq!(queue.start(now), first.clone());
                        if let Some(key) = first {
                            wanted.remove(&key);
                            known.insert(key.clone());
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
                        if !wanted.contains_key(&key) {
                            known.remove(&key);
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
