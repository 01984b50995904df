//! Lists: a deque of packed nodes of a few kilobytes each (Redis' quicklist).

use std::collections::VecDeque;

use super::packed::Packed;
use super::thresholds::Thresholds;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The head.
    Left,
    /// The tail.
    Right,
}

/// A list.
///
/// Invariants: no node is empty; `len` is the sum over all nodes; `bytes` their heap bytes.
#[derive(Debug, Clone, Default)]
pub struct ListObject {
    nodes: VecDeque<Packed>,
    len: usize,
    bytes: usize,
}

/// Byte limit of nodes that are limited by count.
const NODE_BYTES_SAFE: usize = 8192;

fn fits(node: &Packed, element_len: usize, thresholds: &Thresholds) -> bool {
    let bytes = node.byte_len() + Packed::element_bytes(element_len);
    let size = thresholds.list_max_listpack_size;
    if size < 0 {
        return bytes <= 4096 << ((-i64::from(size)).clamp(1, 5) - 1);
    }
    node.len() < (size.max(1) as usize) && bytes <= NODE_BYTES_SAFE
}

impl ListObject {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + self.nodes.capacity() * size_of::<Packed>()
    }

    /// Changes one node and keeps the books.
    fn change<R>(&mut self, node: usize, change: impl FnOnce(&mut Packed) -> R) -> R {
        let packed = &mut self.nodes[node];
        let (len, bytes) = (packed.len(), packed.heap_bytes());
        let result = change(packed);
        self.len = self.len + packed.len() - len;
        self.bytes = self.bytes + packed.heap_bytes() - bytes;
        if packed.is_empty() {
            self.bytes -= packed.heap_bytes();
            self.nodes.remove(node);
        }
        result
    }

    /// Adds a node with one element before node `at`.
    fn add_node(&mut self, at: usize, element: &[u8]) {
        let mut packed = Packed::new();
        packed.push_back(element);
        self.len += 1;
        self.bytes += packed.heap_bytes();
        self.nodes.insert(at, packed);
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, element: &[u8], thresholds: &Thresholds) {
        let (node, new_node) = match end {
            End::Left => (self.nodes.front(), 0),
            End::Right => (self.nodes.back(), self.nodes.len()),
        };
        if !node.is_some_and(|node| fits(node, element.len(), thresholds)) {
            return self.add_node(new_node, element);
        }
        match end {
            End::Left => self.change(0, |node| node.insert(0, element)),
            End::Right => self.change(new_node - 1, |node| node.push_back(element)),
        }
    }

    /// Removes and returns the element at an end.
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        if self.len == 0 {
            return None;
        }
        let index = if end == End::Left { 0 } else { self.len - 1 };
        let element = self.get(index)?.to_vec();
        self.remove(index, 1);
        Some(element)
    }

    /// Node and place in it of element `index`, which must exist.
    fn locate(&self, index: usize) -> (usize, usize) {
        debug_assert!(index < self.len);
        if index < self.len / 2 {
            let mut rest = index;
            for (at, node) in self.nodes.iter().enumerate() {
                if rest < node.len() {
                    return (at, rest);
                }
                rest -= node.len();
            }
        } else {
            let mut behind = self.len - index;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                if behind <= node.len() {
                    return (at, node.len() - behind);
                }
                behind -= node.len();
            }
        }
        unreachable!("the nodes hold `len` elements")
    }

    /// Element `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        if index >= self.len {
            return None;
        }
        let (node, at) = self.locate(index);
        self.nodes[node].get(at)
    }

    /// Replaces element `index`, which must exist.
    pub fn set(&mut self, index: usize, element: &[u8], thresholds: &Thresholds) {
        let (node, at) = self.locate(index);
        let old = self.nodes[node].get(at).map_or(0, <[u8]>::len);
        if element.len() <= old || fits(&self.nodes[node], element.len() - old, thresholds) {
            self.change(node, |packed| packed.set(at, element));
        } else {
            self.remove(index, 1);
            self.insert(index, element, thresholds);
        }
    }

    /// Inserts before element `index`; `index == len` appends.
    pub fn insert(&mut self, index: usize, element: &[u8], thresholds: &Thresholds) {
        if index == 0 {
            return self.push(End::Left, element, thresholds);
        }
        if index >= self.len {
            return self.push(End::Right, element, thresholds);
        }
        let (node, at) = self.locate(index);
        if fits(&self.nodes[node], element.len(), thresholds) {
            return self.change(node, |packed| packed.insert(at, element));
        }
        if at > 0 {
            let tail = self.change(node, |packed| packed.split_off(at));
            self.len += tail.len();
            self.bytes += tail.heap_bytes();
            self.nodes.insert(node + 1, tail);
            self.add_node(node + 1, element);
        } else {
            self.add_node(node, element);
        }
    }

    /// Removes up to `count` elements from `index` on.
    pub fn remove(&mut self, index: usize, count: usize) {
        let mut left = count.min(self.len.saturating_sub(index));
        while left > 0 {
            let (node, at) = self.locate(index);
            let here = left.min(self.nodes[node].len() - at);
            if here == self.nodes[node].len() {
                self.len -= here;
                self.bytes -= self.nodes[node].heap_bytes();
                self.nodes.remove(node);
            } else {
                self.change(node, |packed| packed.remove(at, here));
            }
            left -= here;
        }
    }

    /// Removes up to `count` elements at an end.
    pub fn remove_at_end(&mut self, end: End, count: usize) {
        let count = count.min(self.len);
        self.remove(if end == End::Left { 0 } else { self.len - count }, count);
    }

    /// Keeps only `count` elements from `start` on.
    pub fn keep(&mut self, start: usize, count: usize) {
        let end = start.saturating_add(count).min(self.len);
        self.remove(end, self.len - end);
        self.remove(0, start);
    }

    /// Removes up to `most` elements equal to `element`, from the given end on.
    pub fn remove_equal(&mut self, element: &[u8], end: End, most: usize) -> usize {
        let mut removed = 0;
        let mut node = if end == End::Left { 0 } else { self.nodes.len() };
        while removed < most {
            let at = match end {
                End::Left if node < self.nodes.len() => node,
                End::Right if node > 0 => node - 1,
                _ => break,
            };
            let nodes = self.nodes.len();
            removed +=
                self.change(at, |packed| remove_equal_in(packed, element, end, most - removed));
            let gone = self.nodes.len() < nodes;
            match end {
                End::Left if !gone => node += 1,
                End::Left => {}
                End::Right => node -= 1,
            }
        }
        removed
    }

    /// Elements from `index` on, towards the tail.
    pub fn iter_from(&self, index: usize) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        if index >= self.len {
            return Box::new(std::iter::empty());
        }
        let (node, at) = self.locate(index);
        let rest = self.nodes.range(node + 1..).flat_map(Packed::iter);
        Box::new(self.nodes[node].iter_from(at).chain(rest))
    }

    /// Elements from `index` on, towards the head.
    pub fn iter_back_from(&self, index: usize) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        if index >= self.len {
            return Box::new(std::iter::empty());
        }
        let (node, at) = self.locate(index);
        let rest = self.nodes.range(..node).rev().flat_map(Packed::iter_back);
        Box::new(self.nodes[node].iter_back_from(at).chain(rest))
    }

    /// All elements.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.iter().flat_map(Packed::iter)
    }

    /// Drops up to `budget` nodes; true once nothing is left.
    pub fn drop_nodes(&mut self, budget: usize) -> bool {
        self.nodes.drain(..budget.min(self.nodes.len()));
        self.nodes.is_empty()
    }
}

fn remove_equal_in(packed: &mut Packed, element: &[u8], end: End, most: usize) -> usize {
    let mut places: Vec<usize> = packed
        .iter()
        .enumerate()
        .filter_map(|(at, other)| (other == element).then_some(at))
        .collect();
    match end {
        End::Left => places.truncate(most),
        End::Right => _ = places.drain(..places.len().saturating_sub(most)),
    }
    for at in places.iter().rev() {
        packed.remove(*at, 1);
    }
    places.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(bool, u8, usize),
        Pop(bool),
        Set(usize, u8, usize),
        Insert(usize, u8, usize),
        Remove(usize, usize),
        RemoveEqual(u8, bool, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let len = || prop_oneof![Just(1_usize), Just(2000), 0..40_usize];
        prop_oneof![
            4 => (any::<bool>(), 0..4_u8, len()).prop_map(|(l, b, n)| Step::Push(l, b, n)),
            1 => any::<bool>().prop_map(Step::Pop),
            1 => (any::<usize>(), 0..4_u8, len()).prop_map(|(i, b, n)| Step::Set(i, b, n)),
            2 => (any::<usize>(), 0..4_u8, len()).prop_map(|(i, b, n)| Step::Insert(i, b, n)),
            1 => (any::<usize>(), 0..5_usize).prop_map(|(i, n)| Step::Remove(i, n)),
            1 => (0..4_u8, any::<bool>(), 1..4_usize)
                .prop_map(|(b, l, n)| Step::RemoveEqual(b, l, n)),
        ]
    }

    fn end(left: bool) -> End {
        if left { End::Left } else { End::Right }
    }

    proptest! {
        #[test]
        fn a_list_behaves_like_a_vector(
            size in prop_oneof![Just(-1), Just(-2), Just(3)],
            steps in prop::collection::vec(step(), 1..150),
        ) {
            let thresholds = Thresholds { list_max_listpack_size: size, ..Thresholds::default() };
            let mut list = ListObject::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(left, b, n) => {
                        list.push(end(left), &vec![b; n], &thresholds);
                        model.insert(if left { 0 } else { model.len() }, vec![b; n]);
                    }
                    Step::Pop(left) => {
                        let at = if left { 0 } else { model.len().saturating_sub(1) };
                        let wanted = (!model.is_empty()).then(|| model.remove(at));
                        prop_assert_eq!(list.pop(end(left)), wanted);
                    }
                    Step::Set(i, b, n) if !model.is_empty() => {
                        let i = i % model.len();
                        list.set(i, &vec![b; n], &thresholds);
                        model[i] = vec![b; n];
                    }
                    Step::Insert(i, b, n) => {
                        let i = i % (model.len() + 1);
                        list.insert(i, &vec![b; n], &thresholds);
                        model.insert(i, vec![b; n]);
                    }
                    Step::Remove(i, n) if !model.is_empty() => {
                        let i = i % model.len();
                        list.remove(i, n);
                        model.drain(i..(i + n).min(model.len()));
                    }
                    Step::RemoveEqual(b, left, most) => {
                        let mut places: Vec<usize> =
                            (0..model.len()).filter(|i| model[*i] == [b]).collect();
                        if !left { places.reverse(); }
                        places.truncate(most);
                        prop_assert_eq!(list.remove_equal(&[b], end(left), most), places.len());
                        places.sort_unstable();
                        for at in places.into_iter().rev() { model.remove(at); }
                    }
                    _ => {}
                }
                prop_assert_eq!(list.len(), model.len());
                prop_assert!(list.iter().eq(model.iter().map(Vec::as_slice)));
                let bytes: usize = list.nodes.iter().map(Packed::heap_bytes).sum();
                prop_assert_eq!(list.bytes, bytes);
                prop_assert!(list.nodes.iter().all(|node| !node.is_empty()));
            }
            for i in 0..model.len() {
                prop_assert!(list.iter_from(i).eq(model[i..].iter().map(Vec::as_slice)));
                prop_assert!(list.iter_back_from(i).eq(model[..=i].iter().rev().map(Vec::as_slice)));
            }
        }
    }
}
