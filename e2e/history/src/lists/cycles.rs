//! Circles of dependencies: whether there is one, the worst kind, and the shortest of that kind.

use std::collections::VecDeque;

use super::graph::{Edge, Graph, Why};
use super::observed::Observed;
use super::{Anomaly, Kind, describe};

/// Kinds of circles in the order of how bad they are: whether real time may take part, and which other
/// edges.
const KINDS: [(Kind, bool, Allowed); 8] = [
    (Kind::G0, false, Allowed::Appends),
    (Kind::G1c, false, Allowed::Reads),
    (Kind::GSingle, false, Allowed::OneUnread),
    (Kind::G2, false, Allowed::All),
    (Kind::G0RealTime, true, Allowed::Appends),
    (Kind::G1cRealTime, true, Allowed::Reads),
    (Kind::GSingleRealTime, true, Allowed::OneUnread),
    (Kind::G2RealTime, true, Allowed::All),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Appends,
    Reads,
    OneUnread,
    All,
}

impl Allowed {
    fn has(self, why: Why, has_real_time: bool) -> bool {
        match why {
            Why::Append { .. } => true,
            Why::Read { .. } => self != Self::Appends,
            // The one is where the search begins.
            Why::Unread { .. } => self == Self::All,
            Why::RealTime => has_real_time,
        }
    }
}

/// The shortest circle of the worst kind there is.
pub(super) fn worst(graph: &Graph, observed: &Observed<'_>) -> Option<Anomaly> {
    let in_circle = in_circles(graph);
    if !in_circle.contains(&true) {
        return None;
    }
    KINDS.iter().find_map(|(kind, has_real_time, allowed)| {
        let usable = |edge: &Edge| in_circle[edge.to] && allowed.has(edge.why, *has_real_time);
        let circle = match allowed {
            Allowed::OneUnread => shortest_with_unread(graph, &in_circle, usable),
            _ => shortest(graph, &in_circle, usable),
        }?;
        Some(Anomaly { kind: *kind, text: told(&circle, observed) })
    })
}

/// Edges, each with where it comes from.
type Circle = Vec<(usize, Edge)>;

fn shortest(graph: &Graph, in_circle: &[bool], usable: impl Fn(&Edge) -> bool) -> Option<Circle> {
    let starts = (0..graph.edges.len()).filter(|at| in_circle[*at]);
    starts.filter_map(|start| path(graph, start, start, &usable)).min_by_key(Vec::len)
}

fn shortest_with_unread(
    graph: &Graph,
    in_circle: &[bool],
    usable: impl Fn(&Edge) -> bool,
) -> Option<Circle> {
    let mut best: Option<Circle> = None;
    for from in (0..graph.edges.len()).filter(|at| in_circle[*at]) {
        let unread = graph.edges[from]
            .iter()
            .filter(|edge| in_circle[edge.to] && matches!(edge.why, Why::Unread { .. }));
        for edge in unread {
            let Some(back) = path(graph, edge.to, from, &usable) else { continue };
            if best.as_ref().is_none_or(|best| back.len() + 1 < best.len()) {
                best = Some([vec![(from, *edge)], back].concat());
            }
        }
    }
    best
}

/// The shortest way of at least one edge from one to the other.
fn path(
    graph: &Graph,
    start: usize,
    goal: usize,
    usable: &impl Fn(&Edge) -> bool,
) -> Option<Circle> {
    let mut came: Vec<Option<(usize, Edge)>> = vec![None; graph.edges.len()];
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for edge in graph.edges[at].iter().filter(|edge| usable(edge)) {
            if came[edge.to].is_some() || (edge.to == start && start != goal) {
                continue;
            }
            came[edge.to] = Some((at, *edge));
            if edge.to == goal {
                return Some(back(&came, start, goal));
            }
            queue.push_back(edge.to);
        }
    }
    None
}

fn back(came: &[Option<(usize, Edge)>], start: usize, goal: usize) -> Circle {
    let mut circle = vec![];
    let mut at = goal;
    while let Some((from, edge)) = came[at] {
        circle.push((from, edge));
        at = from;
        if at == start {
            break;
        }
    }
    circle.reverse();
    circle
}

/// Which transactions are part of some circle: what is left when those are taken away that nothing
/// leads to, and those that lead nowhere, until there are none (Kahn). What lies between two circles
/// stays as well, which only costs time.
fn in_circles(graph: &Graph) -> Vec<bool> {
    let mut backward = vec![vec![]; graph.edges.len()];
    for (from, edges) in graph.edges.iter().enumerate() {
        for edge in edges {
            backward[edge.to].push(from);
        }
    }
    let forward: Vec<Vec<usize>> =
        graph.edges.iter().map(|edges| edges.iter().map(|edge| edge.to).collect()).collect();
    let mut left = vec![true; graph.edges.len()];
    peel(&forward, &backward, &mut left);
    peel(&backward, &forward, &mut left);
    left
}

/// Takes away what nothing leads to.
fn peel(forward: &[Vec<usize>], backward: &[Vec<usize>], left: &mut [bool]) {
    let count = |at: usize, left: &[bool]| backward[at].iter().filter(|from| left[**from]).count();
    let mut counts: Vec<usize> = (0..left.len()).map(|at| count(at, left)).collect();
    let mut free: Vec<usize> = (0..left.len()).filter(|at| left[*at] && counts[*at] == 0).collect();
    while let Some(at) = free.pop() {
        left[at] = false;
        for to in forward[at].iter().filter(|to| left[**to]) {
            counts[*to] -= 1;
            if counts[*to] == 0 {
                free.push(*to);
            }
        }
    }
}

fn told(circle: &Circle, observed: &Observed<'_>) -> String {
    let count = circle.len();
    let mut lines = vec![format!("{count} transactions come before one another:")];
    for (at, _) in circle {
        lines.push(format!("    T{at}: {}", describe(&observed.history[*at])));
    }
    for (from, edge) in circle {
        lines.push(format!("    {}", edge.why.told(*from, edge.to)));
    }
    lines.join("\n")
}
