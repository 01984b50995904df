//! Random choices: which of `len` elements a command picks.

use std::collections::HashSet;

use crate::keyspace::hasher::Random;

/// Distinct numbers below `len`, in random order; all of them if `count` is that large.
pub fn distinct(count: usize, len: usize, random: &mut Random) -> Vec<usize> {
    if count >= len {
        return (0..len).collect();
    }
    // Robert Floyd's algorithm: `count` draws, whatever the length.
    let mut chosen = HashSet::with_capacity(count);
    let mut order = Vec::with_capacity(count);
    for last in len - count..len {
        let draw = random.below(last + 1);
        let pick = if chosen.insert(draw) { draw } else { last };
        chosen.insert(pick);
        order.push(pick);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_distinct_and_within_bounds() {
        let mut random = Random::new(1);
        for (count, len) in [(0, 0), (0, 5), (1, 1), (3, 10), (9, 10), (10, 10), (20, 10)] {
            let sample = distinct(count, len, &mut random);
            let set: HashSet<_> = sample.iter().collect();
            assert_eq!(sample.len(), count.min(len));
            assert_eq!(set.len(), sample.len());
            assert!(sample.iter().all(|at| *at < len));
        }
    }
}
