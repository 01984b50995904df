//! The wheel against a sorted map: same items, same order of deadlines, bounded work.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Wheel;

/// What the wheel must do, done the slow way.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<i64, Vec<u32>>,
}

impl Model {
    fn insert(&mut self, deadline_ms: i64, item: u32) {
        self.waiting.entry(deadline_ms).or_default().push(item);
    }

    fn len(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }

    fn take(&mut self, deadline_ms: i64, item: u32) -> bool {
        let Some(items) = self.waiting.get_mut(&deadline_ms) else {
            return false;
        };
        let Some(index) = items.iter().position(|i| *i == item) else {
            return false;
        };
        items.swap_remove(index);
        if items.is_empty() {
            self.waiting.remove(&deadline_ms);
        }
        true
    }

    fn first(&self) -> Option<i64> {
        self.waiting.keys().next().copied()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { after_ms: i64 },
    InsertAt { deadline_ms: i64 },
    Advance { by_ms: i64, budget: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let span = prop_oneof![
        4 => -100..200_i64,
        3 => 0..100_000_i64,
        1 => 0..100_000_000_000_i64,
    ];
    let by = prop_oneof![
        4 => 0..100_i64,
        2 => 0..100_000_i64,
        1 => -100_000..0_i64,
        1 => 0..1_000_000_000_000_i64,
    ];
    let budget = prop_oneof![Just(0_usize), 1..5_usize, Just(10_000)];
    let step = prop_oneof![
        5 => span.prop_map(|after_ms| Step::Insert { after_ms }),
        1 => any::<i64>().prop_map(|deadline_ms| Step::InsertAt { deadline_ms }),
        4 => (by, budget).prop_map(|(by_ms, budget)| Step::Advance { by_ms, budget }),
    ];
    prop::collection::vec(step, 1..120)
}

/// One advance of both, comparing as it goes.
fn advance(wheel: &mut Wheel<u32>, model: &mut Model, now_ms: i64, budget: usize) -> usize {
    let mut last = i64::MIN;
    let mut seen = 0;
    let fired = wheel.advance(now_ms, budget, &mut |deadline_ms, item| {
        assert!(deadline_ms <= now_ms, "fired early");
        assert!(deadline_ms >= last, "fired out of order");
        assert_eq!(model.first(), Some(deadline_ms), "an earlier item was passed over");
        assert!(model.take(deadline_ms, item), "fired what was not waiting");
        last = deadline_ms;
        seen += 1;
    });
    assert_eq!(fired, seen);
    assert!(fired <= budget, "more work than asked for");
    assert_eq!(wheel.len(), model.len());
    fired
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_wheel_agrees_with_a_sorted_map(start_ms in -1_000_000..1_000_000_i64, steps in steps()) {
        let mut wheel = Wheel::new(start_ms);
        let mut model = Model::default();
        let mut now_ms = start_ms;
        for (item, step) in (0_u32..).zip(steps) {
            match step {
                Step::Insert { after_ms } => {
                    wheel.insert(now_ms + after_ms, item);
                    model.insert(now_ms + after_ms, item);
                }
                Step::InsertAt { deadline_ms } => {
                    wheel.insert(deadline_ms, item);
                    model.insert(deadline_ms, item);
                }
                Step::Advance { by_ms, budget } => {
                    now_ms += by_ms;
                    advance(&mut wheel, &mut model, now_ms, budget);
                    if budget >= 10_000 {
                        prop_assert!(model.first().is_none_or(|first| first > now_ms));
                    }
                }
            }
            prop_assert_eq!(wheel.next_deadline_ms().is_some(), model.first().is_some());
            prop_assert!(wheel.next_deadline_ms() <= model.first());
        }
        advance(&mut wheel, &mut model, i64::MAX, 1_000_000);
        prop_assert!(wheel.is_empty());
    }

    #[test]
    fn sleeping_until_the_next_deadline_reaches_it_in_few_steps(
        start_ms in any::<i64>(),
        deadline_ms in any::<i64>(),
    ) {
        let mut wheel = Wheel::new(start_ms);
        wheel.insert(deadline_ms, ());
        let mut fired = 0;
        for _ in 0..=super::LEVELS {
            if let Some(now_ms) = wheel.next_deadline_ms() {
                prop_assert!(now_ms <= deadline_ms);
                fired += wheel.advance(now_ms, 1, &mut |_, ()| ());
            }
        }
        prop_assert_eq!(fired, 1);
    }
}

#[test]
fn a_jump_of_years_does_no_more_than_the_budget() {
    let mut wheel = Wheel::new(0);
    let mut model = Model::default();
    for item in 0..10_000_u32 {
        let deadline_ms = i64::from(item) * 7_919 % 1_000_000;
        wheel.insert(deadline_ms, item);
        model.insert(deadline_ms, item);
    }
    let century_ms = 100 * 365 * 24 * 3_600_000_i64;
    let mut calls = 0;
    while !wheel.is_empty() {
        assert!(wheel.next_deadline_ms() <= Some(century_ms), "leftover must be visible");
        advance(&mut wheel, &mut model, century_ms, 100);
        calls += 1;
    }
    // Each item fires once and moves down at most from the level of 1,000,000 ms: 64^3 < 10^6.
    assert!((100..=400).contains(&calls), "{calls} calls");
}

#[test]
fn a_clock_that_steps_back_fires_nothing() {
    let mut wheel = Wheel::new(1_000);
    wheel.insert(2_000, "later");
    assert_eq!(wheel.advance(1_500, 10, &mut |_, _| ()), 0);
    wheel.insert(1_200, "past");
    assert_eq!(wheel.advance(1_100, 10, &mut |_, _| panic!("not due at 1100")), 0);
    let mut fired = Vec::new();
    wheel.advance(2_000, 10, &mut |deadline_ms, item| {
        fired.push((deadline_ms, item));
    });
    assert_eq!(fired, [(1_200, "past"), (2_000, "later")]);
}

#[test]
fn items_due_at_the_same_moment_all_fire() {
    let mut wheel = Wheel::new(0);
    for item in 0..1_000_u32 {
        wheel.insert(777, item);
    }
    let mut fired = Vec::new();
    while wheel.advance(777, 64, &mut |_, item| fired.push(item)) > 0 || !wheel.is_empty() {}
    fired.sort_unstable();
    assert!(fired.into_iter().eq(0..1_000));
}

#[test]
fn a_big_slot_gives_its_memory_back() {
    let mut wheel = Wheel::new(0);
    for item in 0..100_000_u32 {
        wheel.insert(10, item);
    }
    wheel.advance(10, usize::MAX, &mut |_, _| ());
    assert!(wheel.levels[0].capacity() <= 64 * 64);
}
