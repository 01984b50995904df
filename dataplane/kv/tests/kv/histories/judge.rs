//! The verdict on what clients saw.

use std::collections::BTreeSet;
use std::fmt;

use orrery_history::books::{Books, differences};
use orrery_history::lists::{Step, Transaction, anomalies};
use orrery_history::register::registers;
use orrery_history::{Operation, Outcome, Verdict};

use super::clients::{History, LISTS};

/// What was judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) done: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    /// Reads that a replaced primary answered.
    pub(crate) by_replaced: usize,
    /// Histories in which one of these was older than its question.
    pub(crate) with_old_reads: usize,
}

impl Count {
    pub(crate) fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.by_replaced += other.by_replaced;
        self.with_old_reads += other.with_old_reads;
    }

    fn note<I, O>(&mut self, operation: &Operation<I, O>) {
        match operation.outcome {
            Outcome::Done { .. } => self.done += 1,
            Outcome::Failed => self.refused += 1,
            Outcome::Unknown => self.unknown += 1,
        }
        self.by_replaced += usize::from(operation.may_be_old);
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations answered, {} refused, {} unknown; {} reads of replaced primaries, in {} \
             histories older than their question",
            self.done, self.refused, self.unknown, self.by_replaced, self.with_old_reads
        )
    }
}

/// An error is what is wrong.
pub(crate) fn judge(history: &History) -> Result<Count, String> {
    let mut found: Vec<String> = vec![];
    match registers(&history.registers) {
        Verdict::Ok => {}
        Verdict::Anomaly(text) => found.push(text),
        Verdict::Undecided => found.push("the search for an order was given up".to_owned()),
    }
    found.extend(anomalies(&history.lists).iter().map(ToString::to_string));
    for key in 0..LISTS {
        let (books, end) = books(&history.lists, key);
        found
            .extend(differences(&books, end).into_iter().map(|what| format!("list {key}: {what}")));
    }
    if !found.is_empty() {
        return Err(found.join("\n"));
    }
    let mut count = Count::default();
    history.registers.iter().for_each(|operation| count.note(operation));
    history.lists.iter().for_each(|transaction| count.note(transaction));
    count.with_old_reads = usize::from(!holds_strictly(history));
    Ok(count)
}

/// Whether all is right also if nobody may answer with what is old.
fn holds_strictly(history: &History) -> bool {
    let singles = strict(&history.registers);
    registers(&singles) == Verdict::Ok && anomalies(&strict(&history.lists)).is_empty()
}

fn strict<I: Clone, O: Clone>(history: &[Operation<I, O>]) -> Vec<Operation<I, O>> {
    let all = history.iter().cloned();
    all.map(|operation| Operation { may_be_old: false, ..operation }).collect()
}

/// What clients know of the elements of a list, and what was there in the end: the last transaction
/// reads every list.
fn books(lists: &[Transaction], key: u32) -> (Books, &[u64]) {
    let mut books = Books::default();
    for transaction in lists {
        let appended = transaction.input.iter().filter_map(|step| match step {
            Step::Append { key: to, element } if *to == key => Some(*element),
            Step::Append { .. } | Step::Read { .. } => None,
        });
        let side: &mut BTreeSet<u64> = match transaction.outcome {
            Outcome::Done { .. } => &mut books.acknowledged,
            Outcome::Failed => &mut books.refused,
            Outcome::Unknown => &mut books.unknown,
        };
        side.extend(appended);
    }
    let last = lists.last().and_then(Operation::output).expect("the last one reads everything");
    (books, &last[key as usize])
}
