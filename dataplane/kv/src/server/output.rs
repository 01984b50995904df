//! What a connection still has to send, and what of it must wait for the journal.
//!
//! Replies leave in the order of their commands. A reply that must not leave before a journal
//! position is durable holds back everything behind it on the same connection, and nothing else.
//! Pure: the socket and the journal are the caller's.

use std::collections::VecDeque;

/// Sent bytes are cut off the front of the buffer when at least this many have piled up.
const COMPACT_BYTES: usize = 64 * 1024;

/// The bytes from `from` on wait until `position` is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gate {
    from: usize,
    position: u64,
}

/// Replies of one connection in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    sent: usize,
    /// Ascending in both fields.
    gates: VecDeque<Gate>,
    /// Something in the buffer waits or waited for the journal.
    was_gated: bool,
}

impl Output {
    /// Nothing left to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes that are not in the socket yet, gated ones included.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Bytes held on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.buffer.capacity() + self.gates.capacity() * size_of::<Gate>()
    }

    pub(crate) fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Whether something in it says that a write is safe.
    pub(crate) fn was_gated(&self) -> bool {
        self.was_gated
    }

    /// Hands the buffer to a reply writer; [`Output::put_back`] returns it.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Takes the buffer back with replies appended.
    pub(crate) fn put_back(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.buffer.is_empty() && buffer.len() >= self.sent);
        self.buffer = buffer;
    }

    /// The bytes from `from` on must wait until `position` is durable.
    pub(crate) fn gate(&mut self, from: usize, position: u64) {
        self.was_gated = true;
        match self.gates.back() {
            Some(last) if last.position >= position => {}
            Some(last) if last.from == from => {
                self.gates.pop_back();
                self.gates.push_back(Gate { from, position });
            }
            _ => self.gates.push_back(Gate { from, position }),
        }
    }

    /// Opens every gate up to `durable` and returns what may be sent now.
    pub(crate) fn sendable(&mut self, durable: u64) -> &[u8] {
        while self.gates.front().is_some_and(|gate| gate.position <= durable) {
            self.gates.pop_front();
        }
        let end = self.gates.front().map_or(self.buffer.len(), |gate| gate.from);
        &self.buffer[self.sent..end]
    }

    /// `bytes` more are in the socket.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        debug_assert!(self.sent <= self.buffer.len());
        if self.sent == self.buffer.len() {
            self.buffer.clear();
            self.sent = 0;
            self.was_gated = false;
            debug_assert!(self.gates.is_empty(), "a gate holds at least one byte back");
        } else if self.sent >= COMPACT_BYTES && self.sent * 2 >= self.buffer.len() {
            self.buffer.drain(..self.sent);
            self.gates.iter_mut().for_each(|gate| gate.from -= self.sent);
            self.sent = 0;
        }
    }

    /// The position above `durable` that the first reply held back waits for.
    pub(crate) fn next_gate(&mut self, durable: u64) -> Option<u64> {
        self.sendable(durable);
        self.gates.front().map(|gate| gate.position)
    }

    /// Drops every reply that still waits for the journal. True when there was one.
    pub(crate) fn drop_gated(&mut self) -> bool {
        let Some(gate) = self.gates.front() else { return false };
        self.buffer.truncate(gate.from);
        self.gates = VecDeque::new();
        true
    }

    /// Appends bytes that wait for nothing but their turn.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The empty buffer, for another connection to use; what idle connections hold is then nothing.
    pub(crate) fn release_buffer(&mut self) -> Option<Vec<u8>> {
        if !self.buffer.is_empty() || self.buffer.capacity() == 0 {
            return None;
        }
        Some(std::mem::take(&mut self.buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(replies: &[(&str, u64)]) -> Output {
        let mut output = Output::default();
        for (reply, position) in replies {
            let from = output.buffer.len();
            output.push(reply.as_bytes());
            if *position > 0 {
                output.gate(from, *position);
            }
        }
        output
    }

    #[test]
    fn a_gated_reply_holds_back_what_follows_it() {
        let mut output = with(&[("a", 0), ("b", 5), ("c", 0), ("d", 7), ("e", 6)]);
        assert_eq!(output.sendable(4), b"a");
        output.advance(1);
        assert_eq!(output.sendable(4), b"");
        assert_eq!(output.sendable(6), b"bc");
        output.advance(2);
        assert_eq!(output.sendable(7), b"de");
        output.advance(2);
        assert!(output.is_empty() && !output.is_gated());
    }

    #[test]
    fn a_gate_that_is_open_is_not_waited_for_although_nothing_was_sent() {
        let mut output = with(&[("a", 5), ("b", 7)]);
        assert_eq!(output.next_gate(4), Some(5));
        assert_eq!(output.next_gate(5), Some(7));
        assert_eq!(output.next_gate(7), None);
    }

    #[test]
    fn replies_of_a_failed_journal_are_dropped_and_earlier_ones_kept() {
        let mut output = with(&[("a", 0), ("b", 5), ("c", 0)]);
        assert!(output.drop_gated());
        output.push(b"!");
        assert_eq!(output.sendable(0), b"a!");
        assert!(!output.drop_gated());
    }

    proptest! {
        #[test]
        fn every_byte_leaves_once_in_order_and_never_early(
            replies in prop::collection::vec((1usize..40_000, 0u64..20), 1..30),
            piece in 1usize..50_000,
        ) {
            let mut output = Output::default();
            let mut expected = vec![];
            for (index, (len, position)) in replies.iter().enumerate() {
                let from = output.buffer.len();
                let bytes = vec![index as u8; *len];
                output.push(&bytes);
                expected.push((bytes, *position));
                if *position > 0 {
                    output.gate(from, *position);
                }
            }
            let mut got = vec![];
            for durable in 0..=20 {
                loop {
                    let sendable = output.sendable(durable);
                    if sendable.is_empty() { break; }
                    let take = sendable.len().min(piece);
                    got.extend_from_slice(&sendable[..take]);
                    output.advance(take);
                }
                let allowed: usize = expected.iter()
                    .take_while(|(_, position)| *position <= durable)
                    .map(|(bytes, _)| bytes.len())
                    .sum();
                prop_assert_eq!(got.len(), allowed);
            }
            prop_assert_eq!(got, expected.into_iter().flat_map(|(b, _)| b).collect::<Vec<u8>>());
            prop_assert!(output.is_empty());
        }
    }
}
