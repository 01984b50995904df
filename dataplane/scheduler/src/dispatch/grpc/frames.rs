//! Messages with their length before them, as gRPC puts them into bodies (PROTOCOL-HTTP2,
//! “Length-Prefixed-Message”): a byte that says whether it is compressed, four of length, the message.
//!
//! Must not: believe a length. No more is kept than was asked for, however long messages say to be.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes before a message.
const PREFIX_BYTES: usize = 5;

/// A message as the body of a request.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    put(&mut body, message);
    body.freeze()
}

/// Appends a message to the body of a request.
pub(super) fn put(body: &mut BytesMut, message: &[u8]) {
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(message);
}

/// One message of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// All of it was kept.
    pub(super) is_whole: bool,
    /// It is compressed, which nobody asked for.
    pub(super) is_compressed: bool,
    pub(super) bytes: Vec<u8>,
}

/// Takes an answer apart while it comes.
#[derive(Debug)]
pub(super) struct Frames {
    prefix: Vec<u8>,
    /// Bytes of the present message that are still to come.
    left: usize,
    /// Bytes that may still be kept.
    room: usize,
    messages: Vec<Message>,
    /// Messages that began, also those that nobody has room for.
    count: usize,
    count_max: usize,
}

impl Frames {
    /// Keeps so many bytes of so many messages.
    pub(super) fn new(count_max: usize, bytes_kept: usize) -> Self {
        let (prefix, messages) = (Vec::with_capacity(PREFIX_BYTES), Vec::new());
        Self { prefix, left: 0, room: bytes_kept, messages, count: 0, count_max }
    }

    pub(super) fn take(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left == 0 {
                let wanted = (PREFIX_BYTES - self.prefix.len()).min(data.len());
                let (prefix, rest) = data.split_at(wanted);
                self.prefix.extend_from_slice(prefix);
                data = rest;
                if self.prefix.len() == PREFIX_BYTES {
                    self.begin();
                }
                continue;
            }
            let (part, rest) = data.split_at(self.left.min(data.len()));
            data = rest;
            self.left -= part.len();
            let is_kept = self.count <= self.count_max;
            if let Some(message) = self.messages.last_mut().filter(|_| is_kept) {
                let kept = &part[..part.len().min(self.room)];
                self.room -= kept.len();
                message.bytes.extend_from_slice(kept);
                message.is_whole &= kept.len() == part.len();
            }
        }
    }

    fn begin(&mut self) {
        let prefix = std::mem::take(&mut self.prefix);
        let [flag, a, b, c, d] = prefix[..] else { return };
        self.left = u32::from_be_bytes([a, b, c, d]) as usize;
        self.count += 1;
        if self.count <= self.count_max {
            let (is_whole, is_compressed) = (true, flag != 0);
            self.messages.push(Message { is_whole, is_compressed, bytes: Vec::new() });
        }
    }

    /// Messages that began.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The messages that there was room for; none when the body ended within one.
    pub(super) fn messages(&self) -> Option<&[Message]> {
        (self.left == 0 && self.prefix.is_empty()).then_some(&self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(messages: &[&[u8]]) -> Vec<u8> {
        let mut body = BytesMut::new();
        for message in messages {
            put(&mut body, message);
        }
        body.to_vec()
    }

    #[test]
    fn messages_are_found_however_a_body_is_cut() {
        let body = body(&[b"one", b"", b"three"]);
        for size in 1..=body.len() {
            let mut frames = Frames::new(3, 100);
            body.chunks(size).for_each(|part| frames.take(part));
            let found = frames.messages().expect("it is whole");
            let found: Vec<&[u8]> = found.iter().map(|message| &message.bytes[..]).collect();
            assert_eq!(found, [&b"one"[..], b"", b"three"]);
        }
        for cut in 1..body.len() {
            let mut frames = Frames::new(3, 100);
            frames.take(&body[..cut]);
            assert_eq!(frames.messages().is_some(), [8, 13].contains(&cut), "{cut}");
        }
    }

    #[test]
    fn a_length_is_not_believed_and_only_a_part_is_kept() {
        let mut frames = Frames::new(1, 4);
        frames.take(&[0, 0xff, 0xff, 0xff, 0xff]);
        frames.take(&[7; 100]);
        assert_eq!((frames.count(), frames.messages()), (1, None));
        let mut frames = Frames::new(1, 4);
        frames.take(&body(&[b"abcdef", b"g"]));
        let kept = Message { is_whole: false, is_compressed: false, bytes: b"abcd".to_vec() };
        assert_eq!((frames.count(), frames.messages()), (2, Some(&[kept][..])));
    }
}
