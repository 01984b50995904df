//! A hierarchical timing wheel with bounded work per call.
//!
//! [`Wheel<T>`] holds items with a deadline in milliseconds and hands them out once their time has
//! come. Inserting costs O(1); an item is moved at most once per level before it fires; every call
//! of [`Wheel::advance`] does at most `budget` moves and firings, however far the clock jumped.
//!
//! It must not read a clock: time is an argument, so that a replay and a simulation are exact.
//! It does not cancel: users keep the truth elsewhere (the key, the timer's generation) and check
//! it when an item fires.
//!
//! Source: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7.
//! As in Tokio's timer, a level has 64 slots and one word says which are occupied, and the level of
//! an item follows from the highest bit in which its deadline differs from the wheel's time; as in
//! Kafka's purgatory, time moves from one occupied slot to the next and never tick by tick. Unlike
//! both, a slot is emptied piecemeal, and the levels span all of `i64`, so nothing is clamped.

mod level;

use std::collections::BTreeMap;

use level::{LEVELS, Level};

/// Items waiting for their deadlines.
///
/// An item costs `size_of::<T>() + 8` bytes, times the growth slack of a `Vec`.
///
/// Invariants:
/// - an item in level `l` agrees with `elapsed` in every digit above `l`, and its digit at `l` is
///   greater than that of `elapsed`, or equal while that slot is being emptied;
/// - items whose deadline lies before `elapsed` are in `late`;
/// - so `late` comes before all levels, and a lower level before a higher one.
#[derive(Debug)]
pub struct Wheel<T> {
    /// Everything before this moment has been handed out, except what is in `late`.
    elapsed: u64,
    /// Made as far as needed: index `l` has slots of 64^l ms.
    levels: Vec<Level<T>>,
    /// Items inserted with a deadline that had already passed.
    late: BTreeMap<i64, Vec<T>>,
    len: usize,
}

/// Maps `i64` to `u64` keeping the order, so that digits of a deadline are plain shifts.
fn key_of(deadline_ms: i64) -> u64 {
    deadline_ms as u64 ^ (1 << 63)
}

fn deadline_of(key: u64) -> i64 {
    (key ^ (1 << 63)) as i64
}

impl<T> Wheel<T> {
    /// An empty wheel whose time is `start_ms`. Any zero point will do, as long as deadlines and
    /// [`advance`](Self::advance) use the same.
    pub fn new(start_ms: i64) -> Self {
        Self { elapsed: key_of(start_ms), levels: Vec::new(), late: BTreeMap::new(), len: 0 }
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an item. A deadline in the past is allowed and fires at the next call of `advance`
    /// whose `now_ms` has reached it.
    pub fn insert(&mut self, deadline_ms: i64, item: T) {
        self.len += 1;
        if key_of(deadline_ms) < self.elapsed {
            self.late.entry(deadline_ms).or_default().push(item);
        } else {
            self.place(deadline_ms, item);
        }
    }

    /// Hands items whose deadline is at or before `now_ms` to `fire`, earliest first (among equal
    /// deadlines in no stated order), and returns how many.
    ///
    /// Does at most `budget` steps, a step being one item fired or moved a level down. What is left
    /// over is fired by the next calls: then [`next_deadline_ms`](Self::next_deadline_ms) is at or
    /// before `now_ms`. Never fires early; a clock that steps back fires nothing that is not due at
    /// the time it shows now.
    pub fn advance(&mut self, now_ms: i64, budget: usize, fire: &mut dyn FnMut(i64, T)) -> usize {
        let mut steps = budget;
        let mut fired = self.fire_late(now_ms, &mut steps, fire);
        let now = key_of(now_ms);
        while steps > 0 {
            let Some((level, start)) = self.earliest_slot().filter(|(_, start)| *start <= now)
            else {
                // Nothing due: bring the wheel's time along, so that new items land low.
                self.elapsed = self.elapsed.max(now);
                break;
            };
            self.elapsed = self.elapsed.max(start);
            if level == 0 {
                fired += self.fire_slot(start, &mut steps, fire);
            } else {
                self.lower_slot(level, start, &mut steps);
            }
        }
        fired
    }

    /// When to call [`advance`](Self::advance) next: never later than the earliest deadline, and
    /// exactly it once that lies within the current 64 ms. Before that it may be the start of the
    /// slot which holds it; advancing to there costs a few moves and brings a closer answer.
    /// `None` when nothing waits.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        if let Some((deadline_ms, _)) = self.late.first_key_value() {
            return Some(*deadline_ms);
        }
        self.earliest_slot().map(|(_, start)| deadline_of(start.max(self.elapsed)))
    }

    fn place(&mut self, deadline_ms: i64, item: T) {
        let key = key_of(deadline_ms);
        let level = level::level_of(self.elapsed, key);
        debug_assert!(key >= self.elapsed && level < LEVELS);
        while self.levels.len() <= level {
            self.levels.push(Level::new());
        }
        self.levels[level].push(level::slot_of(key, level), deadline_ms, item);
    }

    /// The level and start of the slot with the earliest items.
    fn earliest_slot(&self) -> Option<(usize, u64)> {
        // A slot being emptied holds items that may come before those already moved down, so it
        // goes first; it is the only one whose digit equals that of `elapsed`.
        let open = (1..self.levels.len())
            .find(|&l| self.levels[l].is_occupied(level::slot_of(self.elapsed, l)));
        let level = open.or_else(|| self.levels.iter().position(|l| !l.is_empty()))?;
        let slot = self.levels[level].first_occupied()?;
        Some((level, level::start_of(self.elapsed, level, slot)))
    }

    fn fire_late(&mut self, now_ms: i64, steps: &mut usize, fire: &mut dyn FnMut(i64, T)) -> usize {
        let mut fired = 0;
        while *steps > 0 {
            let Some(mut entry) = self.late.first_entry().filter(|e| *e.key() <= now_ms) else {
                break;
            };
            let deadline_ms = *entry.key();
            let item = entry.get_mut().pop();
            if entry.get().is_empty() {
                entry.remove();
            }
            if let Some(item) = item {
                self.len -= 1;
                *steps -= 1;
                fired += 1;
                fire(deadline_ms, item);
            }
        }
        fired
    }

    fn fire_slot(&mut self, start: u64, steps: &mut usize, fire: &mut dyn FnMut(i64, T)) -> usize {
        let slot = level::slot_of(start, 0);
        let mut fired = 0;
        while *steps > 0 {
            let Some((deadline_ms, item)) = self.levels[0].pop(slot) else {
                break;
            };
            debug_assert_eq!(key_of(deadline_ms), start);
            self.len -= 1;
            *steps -= 1;
            fired += 1;
            fire(deadline_ms, item);
        }
        fired
    }

    fn lower_slot(&mut self, level: usize, start: u64, steps: &mut usize) {
        let slot = level::slot_of(start, level);
        while *steps > 0 {
            let Some((deadline_ms, item)) = self.levels[level].pop(slot) else {
                break;
            };
            *steps -= 1;
            self.place(deadline_ms, item);
        }
    }
}

#[cfg(test)]
mod tests;
