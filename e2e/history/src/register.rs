//! Single values that are read, written, swapped, and changed on condition.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::linear::{BUDGET_STEPS, Model, Verdict, linearizable};
use crate::{Operation, Outcome};

/// A value, or none.
pub type Value = Option<u64>;

/// What is asked of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Read,
    /// Writing none removes it.
    Write(Value),
    /// Writes if the value is the expected one.
    Change {
        expected: Value,
        new: Value,
    },
    /// Writes, and gives the value before.
    Swap(Value),
}

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Of a read or a swap.
    Value(Value),
    /// Of a write.
    Written,
    /// Of a change: whether it was made.
    Changed(bool),
}

/// A register that holds nothing at first.
#[derive(Debug)]
pub struct Register;

impl Model for Register {
    type State = Value;
    type Input = Input;
    type Output = Output;

    fn initial() -> Value {
        None
    }

    fn step(state: &Value, input: &Input, output: Option<&Output>) -> Option<Value> {
        let (answer, after) = match *input {
            Input::Read => (Output::Value(*state), *state),
            Input::Write(value) => (Output::Written, value),
            Input::Change { expected, new } if *state == expected => (Output::Changed(true), new),
            Input::Change { .. } => (Output::Changed(false), *state),
            Input::Swap(value) => (Output::Value(*state), value),
        };
        output.is_none_or(|output| *output == answer).then_some(after)
    }

    fn is_read(input: &Input) -> bool {
        *input == Input::Read
    }

    fn describe(input: &Input, output: Option<&Output>) -> String {
        let asked = match *input {
            Input::Read => "read".to_owned(),
            Input::Write(value) => format!("write {}", shown(value)),
            Input::Change { expected, new } => {
                format!("change {} to {}", shown(expected), shown(new))
            }
            Input::Swap(value) => format!("swap for {}", shown(value)),
        };
        let answer = match output {
            None => "?".to_owned(),
            Some(Output::Value(value)) => shown(*value),
            Some(Output::Written) => "written".to_owned(),
            Some(Output::Changed(true)) => "changed".to_owned(),
            Some(Output::Changed(false)) => "not changed".to_owned(),
        };
        format!("{asked} -> {answer}")
    }
}

fn shown(value: Value) -> String {
    value.map_or_else(|| "nothing".to_owned(), |number| number.to_string())
}

/// An operation on the register of a number.
pub type KeyOperation = Operation<(u32, Input), Output>;

/// Judges every register by itself. An anomaly of one is the verdict; else one that is undecided.
pub fn registers(history: &[KeyOperation]) -> Verdict {
    let mut of_key: BTreeMap<u32, Vec<Operation<Input, Output>>> = BTreeMap::new();
    for operation in history {
        let (key, input) = operation.input;
        let single = Operation {
            client: operation.client,
            invoked_us: operation.invoked_us,
            input,
            outcome: operation.outcome.clone(),
            may_be_old: operation.may_be_old && input == Input::Read,
        };
        of_key.entry(key).or_default().push(single);
    }
    let mut all = Verdict::Ok;
    for (key, single) in of_key {
        match linearizable::<Register>(&single, BUDGET_STEPS) {
            Verdict::Ok => {}
            Verdict::Undecided => all = Verdict::Undecided,
            Verdict::Anomaly(text) => {
                return Verdict::Anomaly(format!("register {key}: {text}{}", refused(&single)));
            }
        }
    }
    all
}

/// Values that were refused and yet seen: what a person would look for next.
fn refused(history: &[Operation<Input, Output>]) -> String {
    let written = |input: &Input| match *input {
        Input::Read => None,
        Input::Write(value) | Input::Swap(value) | Input::Change { new: value, .. } => value,
    };
    let seen = |value: u64| {
        let is_it = |operation: &Operation<Input, Output>| {
            operation.output() == Some(&Output::Value(Some(value)))
        };
        history.iter().any(is_it)
    };
    let failed = history.iter().filter(|operation| matches!(operation.outcome, Outcome::Failed));
    let mut text = String::new();
    for value in failed.filter_map(|operation| written(&operation.input)) {
        if seen(value) {
            let _ = writeln!(text, "    {value} was refused, and was read all the same");
        }
    }
    text
}
