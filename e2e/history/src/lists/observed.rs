//! What a history says directly: who appended what, in which order lists grew, and what is wrong with
//! single reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Anomaly, Kind, Step, Transaction, describe, shortened};

/// One read of a transaction.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) transaction: usize,
    pub(super) key: u32,
    pub(super) list: &'a [u64],
    /// How much of the list was there before the transaction's own appends.
    pub(super) foreign: usize,
    /// Own appends to that list before this read.
    own: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Observed<'a> {
    pub(super) history: &'a [Transaction],
    /// Who appended an element to a list.
    pub(super) writers: HashMap<(u32, u64), usize>,
    pub(super) reads: Vec<Read<'a>>,
    /// The longest that was read of every list: the order in which it grew.
    pub(super) orders: BTreeMap<u32, &'a [u64]>,
    /// Whether a transaction happened: it was acknowledged, or somebody saw what it appended.
    pub(super) happened: Vec<bool>,
}

impl<'a> Observed<'a> {
    pub(super) fn of(history: &'a [Transaction]) -> Self {
        let mut observed = Self {
            history,
            writers: writers(history),
            reads: vec![],
            orders: BTreeMap::new(),
            happened: history.iter().map(|one| one.output().is_some()).collect(),
        };
        for number in 0..history.len() {
            observed.reads.extend(reads_of(history, number));
        }
        for read in &observed.reads {
            let order = observed.orders.entry(read.key).or_insert(read.list);
            if read.list.len() > order.len() {
                *order = read.list;
            }
            for element in read.list {
                if let Some(writer) = observed.writers.get(&(read.key, *element)) {
                    observed.happened[*writer] = true;
                }
            }
        }
        observed
    }

    /// Whether it agrees with the order of its list.
    pub(super) fn is_in_order(&self, read: &Read<'_>) -> bool {
        self.orders[&read.key].starts_with(read.list)
    }

    /// The appends of a transaction to one list.
    fn appends(&self, transaction: usize, key: u32) -> Vec<u64> {
        let steps = self.history[transaction].input.iter();
        steps
            .filter_map(|step| appended(step).filter(|(to, _)| *to == key))
            .map(|(_, e)| e)
            .collect()
    }

    pub(super) fn anomalies(&self) -> Vec<Anomaly> {
        let mut found = BTreeMap::new();
        let mut add = |kind: Kind, text: Option<String>| {
            // One of a kind is enough for a person; more hide the others.
            if let Some(text) = text {
                found.entry(kind).or_insert(text);
            }
        };
        for read in &self.reads {
            add(Kind::Garbage, self.garbage(read));
            add(Kind::Duplicate, self.duplicate(read));
            add(Kind::AbortedRead, self.aborted(read));
            add(Kind::IntermediateRead, self.intermediate(read));
            add(Kind::Internal, self.internal(read));
            add(Kind::IncompatibleOrder, self.incompatible(read));
            add(Kind::Lost, self.lost(read));
        }
        found.into_iter().map(|(kind, text)| Anomaly { kind, text }).collect()
    }

    fn told(&self, read: &Read<'_>, what: &str) -> String {
        format!("{what}\n    {}", describe(&self.history[read.transaction]))
    }

    fn garbage(&self, read: &Read<'_>) -> Option<String> {
        let element = read.list.iter().find(|e| !self.writers.contains_key(&(read.key, **e)))?;
        Some(self.told(read, &format!("nobody appended {element} to {}", read.key)))
    }

    fn duplicate(&self, read: &Read<'_>) -> Option<String> {
        let mut seen = BTreeSet::new();
        let element = read.list.iter().find(|element| !seen.insert(**element))?;
        Some(self.told(read, &format!("{element} is twice in {}", read.key)))
    }

    fn aborted(&self, read: &Read<'_>) -> Option<String> {
        let writer = |element: &u64| self.writers.get(&(read.key, *element));
        let failed = |at: &usize| self.history[*at].is_failed();
        let (element, writer) =
            read.list.iter().find_map(|e| Some((e, *writer(e).filter(|at| failed(at))?)))?;
        let what = format!("{element} was refused, and is in {}", read.key);
        Some(format!("{}\n    {}", self.told(read, &what), describe(&self.history[writer])))
    }

    fn intermediate(&self, read: &Read<'_>) -> Option<String> {
        let last = read.list[..read.foreign].last()?;
        let writer = *self.writers.get(&(read.key, *last))?;
        let end = *self.appends(writer, read.key).last()?;
        if end == *last || writer == read.transaction {
            return None;
        }
        let what = format!("{} was read up to {last}, before {end} of the same", read.key);
        Some(format!("{}\n    {}", self.told(read, &what), describe(&self.history[writer])))
    }

    fn internal(&self, read: &Read<'_>) -> Option<String> {
        if read.list.ends_with(&read.own) && self.is_as_before(read) {
            return None;
        }
        Some(self.told(read, &format!("{} is not what the transaction itself left", read.key)))
    }

    /// Whether an earlier read of the same transaction had the same of others.
    fn is_as_before(&self, read: &Read<'_>) -> bool {
        let before = self
            .reads
            .iter()
            .find(|other| other.transaction == read.transaction && other.key == read.key);
        before.is_none_or(|other| other.list[..other.foreign] == read.list[..read.foreign])
    }

    fn incompatible(&self, read: &Read<'_>) -> Option<String> {
        if self.is_in_order(read) {
            return None;
        }
        let order = self.orders[&read.key];
        let at = read.list.iter().zip(order).take_while(|(one, other)| one == other).count();
        let end = |list: &[u64]| shortened(&list[..list.len().min(at + 2)]);
        let what = format!("{} was {} here and {} elsewhere", read.key, end(read.list), end(order));
        Some(self.told(read, &what))
    }

    fn lost(&self, read: &Read<'_>) -> Option<String> {
        let reader = &self.history[read.transaction];
        if reader.may_be_old && is_read_only(reader) {
            return None;
        }
        let there: BTreeSet<u64> = read.list.iter().copied().collect();
        let writer = self.history.iter().enumerate().find_map(|(number, writer)| {
            let is_before = writer.returned_us().is_some_and(|us| us < reader.invoked_us);
            let mut appends = self.appends(number, read.key).into_iter();
            let element = appends.find(|element| is_before && !there.contains(element))?;
            Some((element, number))
        });
        let (element, writer) = writer?;
        let what = format!("{element} was acknowledged before, and is not in {}", read.key);
        Some(format!("{}\n    {}", self.told(read, &what), describe(&self.history[writer])))
    }
}

/// List and element of an append.
pub(super) fn appended(step: &Step) -> Option<(u32, u64)> {
    match step {
        Step::Append { key, element } => Some((*key, *element)),
        Step::Read { .. } => None,
    }
}

pub(super) fn is_read_only(transaction: &Transaction) -> bool {
    transaction.input.iter().all(|step| appended(step).is_none())
}

fn writers(history: &[Transaction]) -> HashMap<(u32, u64), usize> {
    let mut writers = HashMap::new();
    for (number, transaction) in history.iter().enumerate() {
        for place in transaction.input.iter().filter_map(appended) {
            let before = writers.insert(place, number);
            assert!(before.is_none(), "{place:?} is appended twice: the test must not do that");
        }
    }
    writers
}

fn reads_of(history: &[Transaction], number: usize) -> Vec<Read<'_>> {
    let transaction = &history[number];
    let Some(lists) = transaction.output() else { return vec![] };
    let mut lists = lists.iter();
    let mut own: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut reads = vec![];
    for step in &transaction.input {
        match step {
            Step::Append { key, element } => own.entry(*key).or_default().push(*element),
            Step::Read { key } => {
                let list = lists.next().expect("a list for each read: the test must not do that");
                let own = own.get(key).cloned().unwrap_or_default();
                let is_own = list.ends_with(&own);
                let foreign = list.len() - if is_own { own.len() } else { 0 };
                reads.push(Read { transaction: number, key: *key, list, foreign, own });
            }
        }
    }
    assert!(lists.next().is_none(), "a read for each list: the test must not do that");
    reads
}
