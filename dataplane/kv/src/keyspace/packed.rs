//! A sequence of byte strings in one array, readable from both ends.
//!
//! An element is `length varint | bytes | back length`, where the back length is the size of the
//! two parts before it as a varint written backwards (lowest group last), as in Redis' listpack.
//! Small hashes and the nodes of lists are kept this way.

/// A packed sequence.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    len: u32,
}

fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn push_varint(to: &mut impl Extend<u8>, mut value: usize) {
    while value >= 0x80 {
        to.extend([value as u8 | 0x80]);
        value >>= 7;
    }
    to.extend([value as u8]);
}

/// Writes the back length: read from its end towards its start, the high bit says "more".
fn push_back_length(to: &mut Vec<u8>, value: usize) {
    let start = to.len();
    push_varint(to, value);
    to[start..].reverse();
}

fn push_element(to: &mut Vec<u8>, element: &[u8]) {
    push_varint(to, element.len());
    to.extend_from_slice(element);
    push_back_length(to, varint_len(element.len()) + element.len());
}

impl Packed {
    /// An empty sequence.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the encoded elements.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes one element of this length takes.
    pub fn element_bytes(len: usize) -> usize {
        let front = varint_len(len) + len;
        front + varint_len(front)
    }

    /// The element at byte offset `at` and the offset behind it.
    fn read(&self, at: usize) -> (&[u8], usize) {
        let mut len = 0;
        let mut shift = 0;
        let mut next = at;
        loop {
            let byte = self.bytes[next];
            next += 1;
            len |= ((byte & 0x7f) as usize) << shift;
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
        let end = next + len;
        (&self.bytes[next..end], end + varint_len(end - at))
    }

    /// Byte offset of the element that ends at `end`.
    fn start_of_last(&self, end: usize) -> usize {
        let mut at = end;
        let mut back = 0;
        let mut shift = 0;
        loop {
            at -= 1;
            let byte = self.bytes[at];
            back |= ((byte & 0x7f) as usize) << shift;
            if byte < 0x80 {
                return at - back;
            }
            shift += 7;
        }
    }

    /// Byte offset of element `index`, from the nearer end; `index == len` gives the end.
    fn offset(&self, index: usize) -> usize {
        if index * 2 <= self.len() {
            (0..index).fold(0, |at, _| self.read(at).1)
        } else {
            (index..self.len()).fold(self.bytes.len(), |end, _| self.start_of_last(end))
        }
    }

    /// Element `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        (index < self.len()).then(|| self.read(self.offset(index)).0)
    }

    /// Elements from `index` on.
    pub fn iter_from(&self, index: usize) -> Forward<'_> {
        Forward { packed: self, at: self.offset(index.min(self.len())) }
    }

    /// All elements.
    pub fn iter(&self) -> Forward<'_> {
        Forward { packed: self, at: 0 }
    }

    /// All elements, last first.
    pub fn iter_back(&self) -> Backward<'_> {
        Backward { packed: self, end: self.bytes.len() }
    }

    /// Elements from `index` on towards the front; `index` must exist.
    pub fn iter_back_from(&self, index: usize) -> Backward<'_> {
        Backward { packed: self, end: self.offset(index + 1) }
    }

    /// Appends an element.
    pub fn push_back(&mut self, element: &[u8]) {
        push_element(&mut self.bytes, element);
        self.len += 1;
    }

    /// Inserts an element before element `index`.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        if index == self.len() {
            return self.push_back(element);
        }
        let at = self.offset(index);
        self.replace(at, at, element);
        self.len += 1;
    }

    /// Replaces element `index`.
    pub fn set(&mut self, index: usize, element: &[u8]) {
        let at = self.offset(index);
        let (old, end) = self.read(at);
        if old.len() == element.len() {
            let start = at + varint_len(element.len());
            self.bytes[start..start + element.len()].copy_from_slice(element);
            return;
        }
        self.replace(at, end, element);
    }

    /// Puts an encoded element in place of the bytes from `at` to `end`; the tail moves once.
    fn replace(&mut self, at: usize, end: usize, element: &[u8]) {
        let mut head = smallvec::SmallVec::<[u8; 10]>::new();
        push_varint(&mut head, element.len());
        let mut back = smallvec::SmallVec::<[u8; 10]>::new();
        push_varint(&mut back, head.len() + element.len());
        back.reverse();
        let (old_len, new_end) = (self.bytes.len(), at + head.len() + element.len() + back.len());
        let new_len = old_len - end + new_end;
        if new_len > old_len {
            self.bytes.resize(new_len, 0);
        }
        self.bytes.copy_within(end..old_len, new_end);
        self.bytes.truncate(new_len);
        let element_at = at + head.len();
        self.bytes[at..element_at].copy_from_slice(&head);
        self.bytes[element_at..element_at + element.len()].copy_from_slice(element);
        self.bytes[new_end - back.len()..new_end].copy_from_slice(&back);
    }

    /// Removes `count` elements from `index` on.
    pub fn remove(&mut self, index: usize, count: usize) {
        let count = count.min(self.len() - index);
        let at = self.offset(index);
        let end = (0..count).fold(at, |end, _| self.read(end).1);
        self.bytes.drain(at..end);
        self.len -= count as u32;
        if self.bytes.capacity() > 64 && self.bytes.len() < self.bytes.capacity() / 4 {
            self.bytes.shrink_to(self.bytes.len() * 2);
        }
    }

    /// Splits the elements from `index` on off into a sequence of their own.
    #[must_use]
    pub fn split_off(&mut self, index: usize) -> Self {
        let at = self.offset(index);
        let bytes = self.bytes.split_off(at);
        let len = self.len - index as u32;
        self.len = index as u32;
        Self { bytes, len }
    }

    /// Appends all elements of another sequence.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.len += other.len;
    }
}

impl<'a> IntoIterator for &'a Packed {
    type Item = &'a [u8];
    type IntoIter = Forward<'a>;

    fn into_iter(self) -> Forward<'a> {
        self.iter()
    }
}

/// Elements in order.
#[derive(Debug, Clone)]
pub struct Forward<'a> {
    packed: &'a Packed,
    at: usize,
}

impl<'a> Iterator for Forward<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.at >= self.packed.bytes.len() {
            return None;
        }
        let (element, next) = self.packed.read(self.at);
        self.at = next;
        Some(element)
    }
}

/// Elements in reverse order.
#[derive(Debug, Clone)]
pub struct Backward<'a> {
    packed: &'a Packed,
    end: usize,
}

impl<'a> Iterator for Backward<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.end == 0 {
            return None;
        }
        self.end = self.packed.start_of_last(self.end);
        Some(self.packed.read(self.end).0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(usize, Vec<u8>),
        Set(usize, Vec<u8>),
        Remove(usize, usize),
        Split(usize),
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..6),
            prop::collection::vec(any::<u8>(), 120..300),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (any::<usize>(), element()).prop_map(|(i, e)| Step::Insert(i, e)),
            (any::<usize>(), element()).prop_map(|(i, e)| Step::Set(i, e)),
            (any::<usize>(), 0..4_usize).prop_map(|(i, n)| Step::Remove(i, n)),
            any::<usize>().prop_map(Step::Split),
        ]
    }

    proptest! {
        #[test]
        fn a_packed_sequence_behaves_like_a_vector(steps in prop::collection::vec(step(), 1..60)) {
            let mut packed = Packed::new();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(i, e) => {
                        let i = i % (model.len() + 1);
                        packed.insert(i, &e);
                        model.insert(i, e);
                    }
                    Step::Set(i, e) if !model.is_empty() => {
                        let i = i % model.len();
                        packed.set(i, &e);
                        model[i] = e;
                    }
                    Step::Remove(i, n) if !model.is_empty() => {
                        let i = i % model.len();
                        packed.remove(i, n);
                        model.drain(i..(i + n).min(model.len()));
                    }
                    Step::Split(i) => {
                        let i = i % (model.len() + 1);
                        let tail = packed.split_off(i);
                        packed.append(&tail);
                    }
                    _ => {}
                }
                prop_assert_eq!(packed.len(), model.len());
                prop_assert!(packed.iter().eq(model.iter().map(Vec::as_slice)));
                prop_assert!(packed.iter_back().eq(model.iter().rev().map(Vec::as_slice)));
                for (i, e) in model.iter().enumerate() {
                    prop_assert_eq!(packed.get(i), Some(e.as_slice()));
                }
            }
        }
    }
}
