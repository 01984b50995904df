//! The books: what was acknowledged is there, what was refused is not, and nothing is there twice.

use std::collections::{BTreeMap, BTreeSet};

/// What clients know of the elements they added.
#[derive(Debug, Clone, Default)]
pub struct Books {
    pub acknowledged: BTreeSet<u64>,
    pub refused: BTreeSet<u64>,
    /// Added without an answer: they may be there.
    pub unknown: BTreeSet<u64>,
}

/// What differs between the books and what is there in the end, one line each.
pub fn differences(books: &Books, found: &[u64]) -> Vec<String> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for element in found {
        *counts.entry(*element).or_default() += 1;
    }
    let lost = books.acknowledged.iter().filter(|element| !counts.contains_key(element));
    let mut lines: Vec<String> =
        lost.map(|element| format!("{element} was acknowledged and is lost")).collect();
    for (element, count) in counts {
        if count > 1 {
            lines.push(format!("{element} is there {count} times"));
        }
        if books.refused.contains(&element) {
            lines.push(format!("{element} was refused and is there"));
        } else if !books.acknowledged.contains(&element) && !books.unknown.contains(&element) {
            lines.push(format!("{element} is there and nobody added it"));
        }
    }
    lines
}
