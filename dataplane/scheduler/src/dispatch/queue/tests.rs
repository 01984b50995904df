use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn run(number: u64) -> RunId {
    RunId { partition: 0, number }
}

fn place(priority: u8, tenant: &str, planned_ms: i64, sequence: u64) -> Place {
    Place { priority, tenant: tenant.into(), planned_ms, sequence }
}

fn drained(queue: &mut Queue) -> Vec<u64> {
    std::iter::from_fn(|| queue.pop()).map(|run| run.number).collect()
}

#[test]
fn higher_priorities_go_first_and_within_one_the_earlier_planned() {
    let mut queue = Queue::default();
    for (number, (priority, planned_ms)) in
        [(0, 1), (9, 7), (5, 3), (9, 2), (200, 9)].into_iter().enumerate()
    {
        queue.push(&place(priority, "a", planned_ms, number as u64), run(number as u64), 1);
    }
    assert_eq!(drained(&mut queue), [3, 1, 4, 2, 0]);
}

#[test]
fn a_tenant_with_most_of_the_calls_gets_no_more_than_its_share() {
    let mut queue = Queue::default();
    for number in 0..900 {
        queue.push(&place(4, "loud", 0, number), run(number), 1);
    }
    for number in 900..1_000 {
        queue.push(&place(4, "quiet", 5, number), run(number), 1);
    }
    let first: Vec<u64> = drained(&mut queue).into_iter().take(200).collect();
    assert_eq!(first.iter().filter(|number| **number >= 900).count(), 100);
}

#[test]
fn large_bodies_cost_turns() {
    let mut queue = Queue::default();
    for number in 0..100 {
        queue.push(&place(4, "large", 0, number), run(number), cost(3 * BYTES_A_QUANTUM));
        queue.push(&place(4, "small", 0, 100 + number), run(100 + number), cost(10));
    }
    let first: Vec<u64> = drained(&mut queue).into_iter().take(100).collect();
    let large = first.iter().filter(|number| **number < 100).count();
    assert!((18..=22).contains(&large), "{large} of 100");
}

proptest! {
    #[test]
    fn what_is_pushed_comes_out_once_unless_it_is_removed(
        steps in prop::collection::vec((0..4_u8, 0..10_u8, 0..5_u8, 0..3_i64, 1..6_u32), 1..300),
    ) {
        let mut queue = Queue::default();
        let mut places: Vec<Place> = Vec::new();
        let mut inside = BTreeSet::new();
        for (step, (kind, priority, tenant, planned_ms, cost)) in steps.into_iter().enumerate() {
            let number = step as u64;
            match kind {
                0 => {
                    let popped = queue.pop().map(|run| run.number);
                    prop_assert_eq!(popped.is_none(), inside.is_empty());
                    if let Some(number) = popped {
                        prop_assert!(inside.remove(&number), "{} was not inside", number);
                    }
                }
                1 if !places.is_empty() => {
                    let place = &places[step % places.len()];
                    let was_inside = inside.remove(&place.sequence);
                    prop_assert_eq!(queue.remove(place), was_inside);
                }
                _ => {
                    let place = place(priority, &tenant.to_string(), planned_ms, number);
                    queue.push(&place, run(number), cost);
                    places.push(place);
                    inside.insert(number);
                }
            }
            prop_assert_eq!(queue.len(), inside.len());
        }
        let left: BTreeSet<u64> = drained(&mut queue).into_iter().collect();
        prop_assert_eq!(left, inside);
        for level in &queue.levels {
            prop_assert!(level.ring.is_empty() && level.tenants.is_empty());
        }
    }
}
