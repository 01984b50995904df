//! Registers: what is right is accepted, what is planted is found, and a checker that tries every order
//! agrees.

use orrery_history::register::{Input, KeyOperation, Output, Register, registers};
use orrery_history::{Model as _, Operation, Outcome, Verdict};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::simulated::{self, Size, spoil};

pub(crate) fn asked(client: u32, invoked_us: u64, input: Input) -> KeyOperation {
    let outcome = Outcome::Unknown;
    Operation { client, invoked_us, input: (0, input), outcome, may_be_old: false }
}

pub(crate) fn done(client: u32, times_us: [u64; 2], input: Input, output: Output) -> KeyOperation {
    let outcome = Outcome::Done { returned_us: times_us[1], output };
    Operation { outcome, ..asked(client, times_us[0], input) }
}

fn write(client: u32, times_us: [u64; 2], value: u64) -> KeyOperation {
    done(client, times_us, Input::Write(Some(value)), Output::Written)
}

fn read(client: u32, times_us: [u64; 2], value: u64) -> KeyOperation {
    done(client, times_us, Input::Read, Output::Value(Some(value).filter(|value| *value > 0)))
}

fn text(history: &[KeyOperation]) -> String {
    match registers(history) {
        Verdict::Anomaly(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn histories_of_a_right_service_are_accepted() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let size = Size { clients: 5, operations: 60, keys: 3 };
        let history = simulated::registers(&mut random, size);
        assert_eq!(registers(&history), Verdict::Ok, "seed {seed}");
    }
}

#[test]
fn a_stale_read_is_found_and_shown() {
    let history = [
        write(1, [0, 10], 1),
        write(1, [20, 30], 2),
        read(2, [40, 50], 2),
        read(3, [60, 70], 1),
        read(2, [80, 90], 2),
    ];
    let text = text(&history);
    assert!(text.contains("4 of 5 operations have no order"), "the smallest prefix: {text}");
    assert!(text.contains("> client  3") && text.contains("read -> 1"), "{text}");
}

#[test]
fn a_read_that_may_be_old_must_have_been_right_once() {
    let old = |value| {
        let mut history =
            vec![write(1, [0, 10], 1), write(1, [20, 30], 2), read(3, [60, 70], value)];
        history[2].may_be_old = true;
        registers(&history)
    };
    assert_eq!(old(1), Verdict::Ok);
    assert_eq!(old(0), Verdict::Ok);
    assert!(matches!(old(3), Verdict::Anomaly(_)), "nobody wrote it");
    let mut history = [write(1, [0, 10], 1), write(1, [20, 30], 2), read(2, [11, 12], 2)];
    history[2].may_be_old = true;
    assert!(matches!(registers(&history), Verdict::Anomaly(_)), "not from the future");
}

#[test]
fn a_lost_write_is_found() {
    let history = [write(1, [0, 10], 1), write(2, [20, 30], 2), read(1, [40, 50], 1)];
    assert!(text(&history).contains("read -> 1"));
}

#[test]
fn a_write_without_an_answer_may_happen_late_or_never_but_not_twice() {
    let unknown = asked(1, 0, Input::Write(Some(7)));
    let with = |reads: &[(u64, u64)]| {
        let mut history = vec![unknown.clone(), write(2, [20, 30], 1)];
        history.extend(reads.iter().map(|(at, value)| read(3, [*at, *at + 5], *value)));
        registers(&history)
    };
    assert_eq!(with(&[(40, 1), (50, 1)]), Verdict::Ok);
    assert_eq!(with(&[(40, 1), (50, 7)]), Verdict::Ok);
    assert!(matches!(with(&[(40, 7), (50, 1)]), Verdict::Anomaly(_)));
}

#[test]
fn a_refused_write_that_is_seen_is_found() {
    let mut refused = write(1, [0, 10], 7);
    refused.outcome = Outcome::Failed;
    let text = text(&[refused, read(2, [20, 30], 7)]);
    assert!(text.contains("7 was refused, and was read all the same"), "{text}");
}

#[test]
fn two_changes_from_one_value_are_found() {
    let change = |client, times_us, new| {
        let input = Input::Change { expected: Some(1), new: Some(new) };
        done(client, times_us, input, Output::Changed(true))
    };
    let history = [write(1, [0, 10], 1), change(1, [20, 40], 2), change(2, [20, 40], 3)];
    text(&history);
    let swap = |client, times_us, value| {
        done(client, times_us, Input::Swap(Some(value)), Output::Value(Some(1)))
    };
    text(&[write(1, [0, 10], 1), swap(1, [20, 40], 2), swap(2, [20, 40], 3)]);
}

#[test]
fn the_search_gives_up_and_says_so() {
    // A value that nobody wrote, after writes at once: every order of every set of them comes first.
    let mut history: Vec<KeyOperation> = (1..=30).map(|value| write(1, [0, 100], value)).collect();
    let single = |operation: &KeyOperation| Operation {
        client: operation.client,
        invoked_us: operation.invoked_us,
        input: operation.input.1,
        outcome: operation.outcome.clone(),
        may_be_old: false,
    };
    history.push(read(2, [110, 120], 99));
    let history: Vec<_> = history.iter().map(single).collect();
    let verdict = orrery_history::linearizable::<Register>(&history, 10_000);
    assert_eq!(verdict, Verdict::Undecided);
}

#[test]
fn many_writes_without_an_answer_are_no_burden() {
    let mut history: Vec<KeyOperation> =
        (1..=60).map(|value| asked(1, 0, Input::Write(Some(value)))).collect();
    history.extend((1..=40).map(|value| read(2, [10 * value, 10 * value + 5], value)));
    assert_eq!(registers(&history), Verdict::Ok);
    history.push(read(2, [500, 505], 1));
    assert!(text(&history).contains("> client  2"), "it was there before");
}

/// Tries every order, and every set of those without an answer.
fn has_order(left: &[&KeyOperation], state: Option<u64>) -> bool {
    if left.iter().all(|one| one.output().is_none()) {
        return true;
    }
    let ends = left.iter().filter_map(|one| one.returned_us()).min().unwrap_or(u64::MAX);
    (0..left.len()).any(|at| {
        let one = left[at];
        let Some(after) = Register::step(&state, &one.input.1, one.output()) else { return false };
        let others = [&left[..at], &left[at + 1..]].concat();
        one.invoked_us <= ends && has_order(&others, after)
    })
}

#[test]
fn trying_every_order_gives_the_same_verdict() {
    let mut found = [0, 0];
    for seed in 0..3000 {
        let mut random = StdRng::seed_from_u64(seed);
        let size = Size { clients: 3, operations: 2, keys: 1 };
        let mut history = simulated::registers(&mut random, size);
        spoil(&mut random, &mut history);
        let all: Vec<&KeyOperation> = history.iter().filter(|one| !one.is_failed()).collect();
        let wanted = has_order(&all, None);
        assert_eq!(registers(&history) == Verdict::Ok, wanted, "seed {seed}: {history:#?}");
        found[usize::from(wanted)] += 1;
    }
    assert!(found[0] > 300 && found[1] > 300, "both verdicts occur: {found:?}");
}
