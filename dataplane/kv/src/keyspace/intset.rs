//! A sorted array of integers in the narrowest of three widths (Redis' intset).

/// A set of integers.
#[derive(Debug, Clone)]
pub struct IntSet {
    numbers: Numbers,
}

#[derive(Debug, Clone)]
enum Numbers {
    Two(Vec<i16>),
    Four(Vec<i32>),
    Eight(Vec<i64>),
}

impl Default for IntSet {
    fn default() -> Self {
        Self { numbers: Numbers::Two(Vec::new()) }
    }
}

impl IntSet {
    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Two(n) => n.len(),
            Numbers::Four(n) => n.len(),
            Numbers::Eight(n) => n.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.numbers {
            Numbers::Two(n) => n.capacity() * 2,
            Numbers::Four(n) => n.capacity() * 4,
            Numbers::Eight(n) => n.capacity() * 8,
        }
    }

    /// Member `index` in ascending order.
    pub fn get(&self, index: usize) -> Option<i64> {
        match &self.numbers {
            Numbers::Two(n) => n.get(index).map(|n| i64::from(*n)),
            Numbers::Four(n) => n.get(index).map(|n| i64::from(*n)),
            Numbers::Eight(n) => n.get(index).copied(),
        }
    }

    fn search(&self, number: i64) -> Result<usize, usize> {
        match &self.numbers {
            Numbers::Two(n) => n.binary_search_by(|m| i64::from(*m).cmp(&number)),
            Numbers::Four(n) => n.binary_search_by(|m| i64::from(*m).cmp(&number)),
            Numbers::Eight(n) => n.binary_search(&number),
        }
    }

    /// Whether `number` is a member.
    pub fn contains(&self, number: i64) -> bool {
        self.search(number).is_ok()
    }

    /// Adds `number`; false if it was there.
    pub fn insert(&mut self, number: i64) -> bool {
        let Err(at) = self.search(number) else { return false };
        self.widen(number);
        match &mut self.numbers {
            Numbers::Two(n) => n.insert(at, number as i16),
            Numbers::Four(n) => n.insert(at, number as i32),
            Numbers::Eight(n) => n.insert(at, number),
        }
        true
    }

    fn widen(&mut self, number: i64) {
        if let Numbers::Two(n) = &self.numbers
            && i16::try_from(number).is_err()
        {
            self.numbers = Numbers::Four(n.iter().map(|n| i32::from(*n)).collect());
        }
        if let Numbers::Four(n) = &self.numbers
            && i32::try_from(number).is_err()
        {
            self.numbers = Numbers::Eight(n.iter().map(|n| i64::from(*n)).collect());
        }
    }

    /// Removes `number`; false if it was not there.
    pub fn remove(&mut self, number: i64) -> bool {
        let Ok(at) = self.search(number) else { return false };
        match &mut self.numbers {
            Numbers::Two(n) => _ = n.remove(at),
            Numbers::Four(n) => _ = n.remove(at),
            Numbers::Eight(n) => _ = n.remove(at),
        }
        true
    }

    /// Members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_integer_set_behaves_like_a_tree_set(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![
                -5_i64..5, any::<i16>().prop_map(i64::from), any::<i32>().prop_map(i64::from),
                any::<i64>(),
            ]), 1..100)
        ) {
            let mut set = IntSet::default();
            let mut model = BTreeSet::new();
            for (add, number) in steps {
                if add {
                    prop_assert_eq!(set.insert(number), model.insert(number));
                } else {
                    prop_assert_eq!(set.remove(number), model.remove(&number));
                }
                prop_assert!(set.iter().eq(model.iter().copied()));
                prop_assert_eq!(set.contains(number), model.contains(&number));
            }
        }
    }
}
