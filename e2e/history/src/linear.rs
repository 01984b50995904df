//! Whether the operations on one object can be put into an order that respects real time and that the
//! object, done one by one, would have answered in the same way.
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the memory
//! of Lowe ("Testing for linearizability", 2017): a pair of operations already ordered and state that
//! was tried once is not tried again. Histories of several objects are judged one by one (Horn and
//! Kroening, "Faster linearizability checking via P-compositionality", 2015), as the Go module
//! porcupine does, which the tests compare with.
//!
//! An operation without an answer is never waited for: the search is over when every answered one has
//! its place.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::Hash;

use crate::{Operation, Outcome};

/// Steps of one search, about a second of an optimized build; histories of tests take thousands.
pub const BUDGET_STEPS: u64 = 5_000_000;
/// How many operations before the one that fits nowhere a report shows.
const SHOWN: usize = 16;

/// An object as it answers when operations come one after the other.
pub trait Model {
    type State: Clone + Eq + Hash;
    type Input: Clone;
    type Output: Clone;

    fn initial() -> Self::State;

    /// The state after an operation; `None` if it would not have been answered so. Without an output
    /// any answer will do.
    fn step(
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// Whether it changes nothing, so that one without an answer says nothing.
    fn is_read(input: &Self::Input) -> bool;

    /// For reports: what was asked and answered.
    fn describe(input: &Self::Input, output: Option<&Self::Output>) -> String;
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Ok,
    /// There is none; the text shows the end of the smallest prefix of the history that has none.
    Anomaly(String),
    /// The search was given up.
    Undecided,
}

type History<M> = [Operation<<M as Model>::Input, <M as Model>::Output>];

/// Judges the operations on one object, with at most so many steps a search.
pub fn linearizable<M: Model>(history: &History<M>, budget_steps: u64) -> Verdict {
    let all: Vec<_> = history.iter().filter(|operation| says_something::<M>(operation)).collect();
    let events = Events::of(&all);
    match Search::<M>::new(&all, &events, events.order.len()).run(budget_steps) {
        Found::Order => Verdict::Ok,
        Found::GivenUp => Verdict::Undecided,
        Found::None => Verdict::Anomaly(smallest::<M>(&all, &events, budget_steps)),
    }
}

fn says_something<M: Model>(operation: &Operation<M::Input, M::Output>) -> bool {
    match operation.outcome {
        Outcome::Done { .. } => true,
        Outcome::Failed => false,
        Outcome::Unknown => !M::is_read(&operation.input),
    }
}

/// Invocations and answers by time; at the same moment invocations come first, as an interval has both
/// its ends.
struct Events {
    /// Number of an operation, and whether it is its answer.
    order: Vec<(usize, bool)>,
}

impl Events {
    fn of<I, O>(all: &[&Operation<I, O>]) -> Self {
        let mut timed = Vec::with_capacity(2 * all.len());
        for (number, operation) in all.iter().enumerate() {
            let invoked_us = if operation.may_be_old { 0 } else { operation.invoked_us };
            timed.push((invoked_us, false, number));
            timed.extend(operation.returned_us().map(|returned_us| (returned_us, true, number)));
        }
        timed.sort_unstable();
        let order = timed.into_iter().map(|(_, is_answer, number)| (number, is_answer)).collect();
        Self { order }
    }
}

enum Found {
    Order,
    None,
    GivenUp,
}

/// The list of events that are not in their place yet, and how the search came here.
struct Search<'a, M: Model> {
    all: &'a [&'a Operation<M::Input, M::Output>],
    /// Whether the answer of an operation is part of the history that is judged.
    is_answered: Vec<bool>,
    /// Of operation `n` the invocation is node `2n` and the answer `2n + 1`; the last is both ends.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Answers in the list.
    left: usize,
    placed: Vec<u64>,
    tried: HashSet<(Vec<u64>, M::State)>,
    /// Operations in their places, each with the state before.
    path: Vec<(usize, M::State)>,
    state: M::State,
}

impl<'a, M: Model> Search<'a, M> {
    /// Of the first events of a history.
    fn new(all: &'a [&'a Operation<M::Input, M::Output>], events: &Events, count: usize) -> Self {
        let end = 2 * all.len();
        let mut search = Self {
            all,
            is_answered: vec![false; all.len()],
            next: vec![end; end + 1],
            previous: vec![end; end + 1],
            left: 0,
            placed: vec![0; all.len().div_ceil(64)],
            tried: HashSet::new(),
            path: vec![],
            state: M::initial(),
        };
        let mut last = end;
        for (number, is_answer) in &events.order[..count] {
            let node = 2 * number + usize::from(*is_answer);
            search.next[last] = node;
            search.previous[node] = last;
            search.is_answered[*number] |= is_answer;
            search.left += usize::from(*is_answer);
            last = node;
        }
        search.next[last] = end;
        search.previous[end] = last;
        search
    }

    fn run(mut self, budget_steps: u64) -> Found {
        let end = 2 * self.all.len();
        let mut node = self.next[end];
        for _ in 0..budget_steps {
            if self.left == 0 {
                return Found::Order;
            }
            let is_invocation = node != end && node.is_multiple_of(2);
            if is_invocation && self.place(node / 2) {
                node = self.next[end];
            } else if is_invocation {
                node = self.next[node];
            } else {
                // An answer comes before anything else can: one of those placed was placed wrongly.
                let Some((number, state)) = self.path.pop() else { return Found::None };
                self.state = state;
                self.put_back(number);
                node = self.next[2 * number];
            }
        }
        Found::GivenUp
    }

    /// Puts an operation next in the order, unless it does not fit or that was tried.
    fn place(&mut self, number: usize) -> bool {
        let operation = self.all[number];
        let output = operation.output().filter(|_| self.is_answered[number]);
        let Some(state) = M::step(&self.state, &operation.input, output) else { return false };
        if self.last_is_for_nothing(operation, output, &state) {
            return false;
        }
        self.placed[number / 64] |= 1 << (number % 64);
        if !self.tried.insert((self.placed.clone(), state.clone())) {
            self.placed[number / 64] &= !(1 << (number % 64));
            return false;
        }
        self.path.push((number, std::mem::replace(&mut self.state, state)));
        self.take_out(2 * number);
        if self.is_answered[number] {
            self.take_out(2 * number + 1);
            self.left -= 1;
        }
        true
    }

    /// Whether the last one placed has no answer and changes nothing for this one: then it may as well be
    /// left out, and the order without it is tried too. Without this every set of those without an answer
    /// would be tried.
    fn last_is_for_nothing(
        &self,
        operation: &Operation<M::Input, M::Output>,
        output: Option<&M::Output>,
        after: &M::State,
    ) -> bool {
        self.path.last().is_some_and(|(last, before)| {
            let without = || M::step(before, &operation.input, output);
            !self.is_answered[*last] && without().as_ref() == Some(after)
        })
    }

    fn put_back(&mut self, number: usize) {
        self.placed[number / 64] &= !(1 << (number % 64));
        if self.is_answered[number] {
            self.put_in(2 * number + 1);
            self.left += 1;
        }
        self.put_in(2 * number);
    }

    fn take_out(&mut self, node: usize) {
        let (previous, next) = (self.previous[node], self.next[node]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    /// The opposite, in the opposite order.
    fn put_in(&mut self, node: usize) {
        let (previous, next) = (self.previous[node], self.next[node]);
        self.next[previous] = node;
        self.previous[next] = node;
    }
}

/// Finds the first answer with which there is no order any more, and shows what came before. What holds
/// for a history holds for what it begins with, so halving finds it.
fn smallest<M: Model>(
    all: &[&Operation<M::Input, M::Output>],
    events: &Events,
    budget_steps: u64,
) -> String {
    let answers: Vec<usize> =
        (0..events.order.len()).filter(|at| events.order[*at].1).map(|at| at + 1).collect();
    let (mut good, mut bad) = (0, answers.len() - 1);
    while good < bad {
        let middle = usize::midpoint(good, bad);
        match Search::<M>::new(all, events, answers[middle]).run(budget_steps) {
            Found::Order => good = middle + 1,
            Found::None | Found::GivenUp => bad = middle,
        }
    }
    shown::<M>(all, events, answers[bad])
}

fn shown<M: Model>(
    all: &[&Operation<M::Input, M::Output>],
    events: &Events,
    count: usize,
) -> String {
    let (culprit, _) = events.order[count - 1];
    let mut answered = vec![false; all.len()];
    let mut begun = vec![];
    for (number, is_answer) in &events.order[..count] {
        answered[*number] |= is_answer;
        if !is_answer {
            begun.push(*number);
        }
    }
    let mut text = format!("{} of {} operations have no order:\n", begun.len(), all.len());
    let left_out = begun.len().saturating_sub(SHOWN);
    if left_out > 0 {
        let _ = writeln!(text, "    … {left_out} before");
    }
    for number in begun.into_iter().skip(left_out).filter(|number| *number != culprit) {
        text.push_str(&line::<M>(all[number], answered[number], ' '));
    }
    text.push_str(&line::<M>(all[culprit], true, '>'));
    text
}

fn line<M: Model>(
    operation: &Operation<M::Input, M::Output>,
    is_answered: bool,
    mark: char,
) -> String {
    let output = operation.output().filter(|_| is_answered);
    format!("  {mark} {} {}\n", operation.place(), M::describe(&operation.input, output))
}
