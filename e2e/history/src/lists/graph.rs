//! Which transaction must come before which, and why.

use super::observed::{Observed, appended, is_read_only};

/// Why one transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The other appended after it; `before` is none where the list was empty.
    Append { key: u32, before: u64, after: u64 },
    /// The other read what it appended.
    Read { key: u32, element: u64 },
    /// It read the list without what the other appended.
    Unread { key: u32, element: u64 },
    /// It was answered before the other was asked for.
    RealTime,
}

impl Why {
    pub(super) fn told(self, one: usize, other: usize) -> String {
        match self {
            Self::Append { key, before, after } => {
                format!("T{one} appended {before} to {key}, and T{other} then {after}")
            }
            Self::Read { key, element } => {
                format!("T{other} read {element} in {key}, which T{one} appended")
            }
            Self::Unread { key, element } => {
                format!("T{one} read {key} without {element}, which T{other} appended")
            }
            Self::RealTime => format!("T{one} was answered before T{other} was asked for"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) to: usize,
    pub(super) why: Why,
}

/// Edges of every transaction to those that come after it.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) edges: Vec<Vec<Edge>>,
}

impl Graph {
    pub(super) fn of(observed: &Observed<'_>) -> Self {
        let mut graph = Self { edges: vec![vec![]; observed.history.len()] };
        graph.add_appends(observed);
        graph.add_reads(observed);
        graph.add_real_time(observed);
        graph
    }

    fn add(&mut self, from: usize, to: usize, why: Why) {
        if from != to {
            self.edges[from].push(Edge { to, why });
        }
    }

    /// Elements in the order of their list; those that nobody read, though acknowledged, come after all
    /// that was read.
    fn add_appends(&mut self, observed: &Observed<'_>) {
        for (key, order) in &observed.orders {
            let writer = |element: &u64| observed.writers.get(&(*key, *element)).copied();
            for pair in order.windows(2) {
                if let (Some(one), Some(other)) = (writer(&pair[0]), writer(&pair[1])) {
                    let why = Why::Append { key: *key, before: pair[0], after: pair[1] };
                    self.add(one, other, why);
                }
            }
            let Some((last, Some(one))) = order.last().map(|last| (*last, writer(last))) else {
                continue;
            };
            for (element, other) in unread(observed, *key) {
                self.add(one, other, Why::Append { key: *key, before: last, after: element });
            }
        }
    }

    fn add_reads(&mut self, observed: &Observed<'_>) {
        for read in observed.reads.iter().filter(|read| observed.is_in_order(read)) {
            let reader = read.transaction;
            let writer = |element: u64| observed.writers.get(&(read.key, element)).copied();
            if let Some(element) = read.list[..read.foreign].last().copied()
                && let Some(one) = writer(element)
            {
                self.add(one, reader, Why::Read { key: read.key, element });
            }
            match observed.orders[&read.key].get(read.list.len()) {
                Some(element) => {
                    if let Some(other) = writer(*element) {
                        self.add(reader, other, Why::Unread { key: read.key, element: *element });
                    }
                }
                None => {
                    for (element, other) in unread(observed, read.key) {
                        self.add(reader, other, Why::Unread { key: read.key, element });
                    }
                }
            }
        }
    }

    /// Only between neighbours: what lies further apart follows from those between.
    fn add_real_time(&mut self, observed: &Observed<'_>) {
        let history = observed.history;
        // An old read has no earliest moment.
        let asked = |at: usize| {
            let one = &history[at];
            (!(one.may_be_old && is_read_only(one))).then_some(one.invoked_us)
        };
        let mut answered: Vec<(u64, usize)> =
            (0..history.len()).filter_map(|at| Some((history[at].returned_us()?, at))).collect();
        answered.sort_unstable();
        // The latest question among the first so many answered.
        let latest: Vec<u64> = answered
            .iter()
            .scan(0, |latest: &mut u64, (_, at)| {
                *latest = asked(*at).map_or(*latest, |us| us.max(*latest));
                Some(*latest)
            })
            .collect();
        for at in (0..history.len()).filter(|at| observed.happened[*at]) {
            let Some(asked_us) = asked(at) else { continue };
            let count = answered.partition_point(|(us, _)| *us < asked_us);
            let Some(latest) = count.checked_sub(1).map(|last| latest[last]) else { continue };
            for (returned_us, before) in answered[..count].iter().rev() {
                if *returned_us < latest {
                    break;
                }
                self.add(*before, at, Why::RealTime);
            }
        }
    }
}

/// Elements of a list that must be there, as their transactions happened, and that no read shows.
fn unread(observed: &Observed<'_>, key: u32) -> Vec<(u64, usize)> {
    let order = observed.orders[&key];
    let happened = (0..observed.history.len()).filter(|at| observed.happened[*at]);
    happened
        .flat_map(|at| observed.history[at].input.iter().filter_map(appended).map(move |a| (a, at)))
        .filter(|((to, element), _)| *to == key && !order.contains(element))
        .map(|((_, element), at)| (element, at))
        .collect()
}
