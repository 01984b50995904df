//! Histories of a service that does one thing after the other, as concurrent clients see it.

use std::collections::BTreeMap;

use orrery_history::lists::{Reads, Step, Transaction};
use orrery_history::register::{Input, KeyOperation, Output, Value};
use orrery_history::{Model as _, Operation, Outcome, register::Register};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// How much there is of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) clients: u32,
    /// Of each client.
    pub(crate) operations: u32,
    pub(crate) keys: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
    /// Done, without an answer.
    Silent,
    /// Not done, without an answer.
    Vanished,
}

/// When something is asked, done and answered.
#[derive(Debug)]
struct Slot {
    client: u32,
    invoked_us: u64,
    done_us: u64,
    returned_us: u64,
    fate: Fate,
}

fn fate(random: &mut StdRng) -> Fate {
    match random.random_range(0..20) {
        0 => Fate::Refused,
        1 => Fate::Silent,
        2 => Fate::Vanished,
        _ => Fate::Answered,
    }
}

/// In the order in which they are done.
fn slots(random: &mut StdRng, size: Size) -> Vec<Slot> {
    let mut slots = vec![];
    for client in 0..size.clients {
        let mut now_us = 0;
        for _ in 0..size.operations {
            let mut later = |most: u64| {
                now_us += random.random_range(1..most);
                now_us
            };
            let (invoked_us, done_us, returned_us) = (later(20), later(30), later(30));
            let fate = fate(random);
            // What nobody waits for may be done much later.
            let late = if fate == Fate::Silent { random.random_range(0..100) } else { 0 };
            let done_us = done_us + late;
            slots.push(Slot { client, invoked_us, done_us, returned_us, fate });
        }
    }
    slots.sort_by_key(|slot| slot.done_us);
    slots
}

fn operation<I, O>(slot: &Slot, input: I, output: O) -> Operation<I, O> {
    let outcome = match slot.fate {
        Fate::Answered => Outcome::Done { returned_us: slot.returned_us, output },
        Fate::Refused => Outcome::Failed,
        Fate::Silent | Fate::Vanished => Outcome::Unknown,
    };
    let (client, invoked_us) = (slot.client, slot.invoked_us);
    Operation { client, invoked_us, input, outcome, may_be_old: false }
}

fn is_done(slot: &Slot) -> bool {
    matches!(slot.fate, Fate::Answered | Fate::Silent)
}

/// Operations on registers. Values are few, so that they are met by chance.
pub(crate) fn registers(random: &mut StdRng, size: Size) -> Vec<KeyOperation> {
    let mut states: BTreeMap<u32, Value> = BTreeMap::new();
    let mut history = vec![];
    for slot in slots(random, size) {
        let key = random.random_range(0..size.keys);
        let state = states.entry(key).or_default();
        let input = input(random, *state);
        let output = match input {
            Input::Read | Input::Swap(_) => Output::Value(*state),
            Input::Write(_) => Output::Written,
            Input::Change { expected, .. } => Output::Changed(expected == *state),
        };
        if is_done(&slot) {
            *state = Register::step(state, &input, Some(&output)).expect("it is what it answers");
        }
        history.push(operation(&slot, (key, input), output));
    }
    history
}

fn input(random: &mut StdRng, state: Value) -> Input {
    let value = |random: &mut StdRng| Some(random.random_range(0..5)).filter(|value| *value > 0);
    match random.random_range(0..5) {
        0 => Input::Write(value(random)),
        1 => Input::Swap(value(random)),
        2 => Input::Change { expected: value(random), new: value(random) },
        3 => Input::Change { expected: state, new: value(random) },
        _ => Input::Read,
    }
}

/// Transactions over lists.
pub(crate) fn lists(random: &mut StdRng, size: Size) -> Vec<Transaction> {
    let mut states: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut next = 0;
    let mut history = vec![];
    for slot in slots(random, size) {
        let mut steps = vec![];
        for _ in 0..random.random_range(1..4) {
            let key = random.random_range(0..size.keys);
            next += 1;
            let is_read = random.random_bool(0.5);
            steps.push(if is_read {
                Step::Read { key }
            } else {
                Step::Append { key, element: next }
            });
        }
        let mut after = states.clone();
        let reads = carry_out(&mut after, &steps);
        if is_done(&slot) {
            states = after;
        }
        history.push(operation(&slot, steps, reads));
    }
    history
}

fn carry_out(lists: &mut BTreeMap<u32, Vec<u64>>, steps: &[Step]) -> Reads {
    let mut reads = vec![];
    for step in steps {
        match step {
            Step::Append { key, element } => lists.entry(*key).or_default().push(*element),
            Step::Read { key } => reads.push(lists.get(key).cloned().unwrap_or_default()),
        }
    }
    reads
}

/// Another answer of one operation, which may be wrong now.
pub(crate) fn spoil(random: &mut StdRng, history: &mut [KeyOperation]) {
    let at = random.next_u64() as usize % history.len();
    if let Outcome::Done { output, .. } = &mut history[at].outcome {
        *output = match *output {
            Output::Value(_) => {
                Output::Value(Some(random.random_range(0..5)).filter(|value| *value > 0))
            }
            Output::Changed(changed) => Output::Changed(!changed),
            Output::Written => Output::Written,
        };
    }
}
