//! Transactions that append to lists and read them, judged as Elle does (Kingsbury and Alvaro, "Elle:
//! inferring isolation anomalies from experimental observations", 2020).
//!
//! A list shows how it came about: every element is appended once, so a read names the transactions
//! before it in their order. From that follow dependencies between transactions; together with real
//! time they must not go in a circle. Names of anomalies are those of Adya ("Weak consistency", 1999)
//! and of Elle. No anomaly means that nothing speaks against strict serializability.

mod cycles;
mod graph;
mod observed;

use std::fmt;

use crate::Operation;

/// A part of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Adds an element that nobody else adds to that list.
    Append {
        key: u32,
        element: u64,
    },
    Read {
        key: u32,
    },
}

/// What the reads of a transaction gave, in their order.
pub type Reads = Vec<Vec<u64>>;

pub type Transaction = Operation<Vec<Step>, Reads>;

/// Anomalies, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An element that nobody appended.
    Garbage,
    /// An element that is there twice.
    Duplicate,
    /// An acknowledged element that later reads do not show.
    Lost,
    /// Of an append that was refused (G1a).
    AbortedRead,
    /// The list in the middle of a transaction of another (G1b).
    IntermediateRead,
    /// A transaction that does not see its own appends.
    Internal,
    /// Two reads neither of which is the beginning of the other.
    IncompatibleOrder,
    /// A circle of appends (G0).
    G0,
    /// A circle of appends and reads of them (G1c).
    G1c,
    /// A circle with one read of what was before an append.
    GSingle,
    /// A circle with several of them.
    G2,
    /// The same, where some only follow by real time.
    G0RealTime,
    G1cRealTime,
    GSingleRealTime,
    G2RealTime,
}

/// One anomaly and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    pub kind: Kind,
    pub text: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// Everything that is wrong with a history; of circles the shortest of the worst kind.
///
/// # Panics
/// When an element is appended twice to one list, or an answer has not as many lists as there are
/// reads: that is a mistake of the test.
pub fn anomalies(history: &[Transaction]) -> Vec<Anomaly> {
    let observed = observed::Observed::of(history);
    let mut found = observed.anomalies();
    let graph = graph::Graph::of(&observed);
    found.extend(cycles::worst(&graph, &observed));
    found.sort_by_key(|anomaly| anomaly.kind);
    found
}

/// A transaction in a line.
fn describe(transaction: &Transaction) -> String {
    let mut lists = transaction.output().into_iter().flatten();
    let steps: Vec<String> = transaction
        .input
        .iter()
        .map(|step| match step {
            Step::Append { key, element } => format!("append {element} to {key}"),
            Step::Read { key } => match lists.next() {
                Some(list) => format!("read {key} -> {}", shortened(list)),
                None => format!("read {key} -> ?"),
            },
        })
        .collect();
    format!("{} {}", transaction.place(), steps.join(", "))
}

/// The end of a list, which is what differs.
fn shortened(list: &[u64]) -> String {
    const SHOWN: usize = 6;
    let left_out = list.len().saturating_sub(SHOWN);
    let end: Vec<String> = list[left_out..].iter().map(u64::to_string).collect();
    let dots = if left_out > 0 { format!("… {left_out} more … ") } else { String::new() };
    format!("[{dots}{}]", end.join(" "))
}
