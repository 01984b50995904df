//! The messages of a replication link, after the handshake.
//!
//! A message is kind (1 byte), length of its payload (4), CRC-32C of kind and payload (4), payload;
//! numbers are little-endian. A length beyond what its kind may have is refused before anything is
//! set aside for it.

use std::io::{self, Read};

use crc_fast::{CrcAlgorithm, Digest};
use orrery_journal::RECORD_BYTES_MAX;

/// Named in the handshake; another version would have another name.
pub(crate) const CAPABILITY: &str = "orrery-journal-1";

/// What a follower says of itself: `<capability>:<epoch it was told to follow>:<epoch of its last
/// record>`, and `:<shard>` unless it is the first, which is all that earlier releases know.
pub(crate) fn history(epoch: u64, position_epoch: u64, shard: u32) -> String {
    match shard {
        0 => format!("{CAPABILITY}:{epoch}:{position_epoch}"),
        _ => format!("{CAPABILITY}:{epoch}:{position_epoch}:{shard}"),
    }
}

/// The numbers of [`history`].
pub(crate) fn parse_history(text: &str) -> Option<(u64, u64, u32)> {
    let mut numbers = text.strip_prefix(CAPABILITY)?.strip_prefix(':')?.split(':');
    let (wanted, epoch) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let shard = numbers.next().map_or(Ok(0), str::parse).ok()?;
    numbers.next().is_none().then_some((wanted, epoch, shard))
}
/// First line of the primary's consent.
pub(crate) const CONSENT: &str = "+ORRERY\r\n";
/// Content of one piece of an image.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

const HEAD_BYTES: usize = 9;
const RECORD_HEAD_BYTES: usize = 29;
/// Set aside on the word of a length field alone.
const TRUST_BYTES: usize = 1 << 20;

/// One record of the primary's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) position: u64,
    pub(crate) epoch: u64,
    pub(crate) time_us: i64,
    pub(crate) stream: u32,
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

/// Where a full copy begins and when it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyPlan {
    /// Position of the image, 0 for none; records follow.
    pub(crate) at: u64,
    /// Epoch of the record at that position.
    pub(crate) at_epoch: u64,
    /// The copy is whole with this record.
    pub(crate) target: u64,
    /// Up to where the two journals can agree.
    pub(crate) common: u64,
    /// About how many bytes the image has.
    pub(crate) image_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// The primary of `epoch` begins, with a full copy or where the follower is.
    Start {
        epoch: u64,
        copy: Option<CopyPlan>,
    },
    /// The primary lives: its clock, its epoch, and up to where its journal is durable.
    Heartbeat {
        stamp: u64,
        epoch: u64,
        durable: u64,
    },
    Record(Record),
    Piece(Vec<u8>),
    ImageEnd,
    /// The record at `position` was the last of `epoch`: the primary ends and gives it up.
    Goodbye {
        epoch: u64,
        position: u64,
    },
    /// The follower has everything up to `durable` on disk, knows of no epoch above `known`, and has
    /// seen the heartbeat with this stamp.
    Confirm {
        known: u64,
        durable: u64,
        stamp: u64,
    },
}

const START: u8 = 1;
const HEARTBEAT: u8 = 2;
const RECORD: u8 = 3;
const PIECE: u8 = 4;
const IMAGE_END: u8 = 5;
const GOODBYE: u8 = 6;
const CONFIRM: u8 = 7;

/// What came in is no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("failed to read from the link: {0}")]
    Io(#[from] io::Error),
    #[error("failed to understand the link: message {kind} with {bytes} bytes")]
    Length { kind: u8, bytes: usize },
    #[error("failed to verify the link: message {kind} does not match its checksum")]
    Checksum { kind: u8 },
}

fn checksum(kind: u8, payload: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&[kind]);
    digest.update(payload);
    digest.finalize() as u32
}

/// Appends a message whose payload `write` appends.
fn frame(to: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0, 0]);
    write(to);
    let payload = &to[start + HEAD_BYTES..];
    let (bytes, crc) = (payload.len() as u32, checksum(kind, payload));
    to[start + 1..start + 5].copy_from_slice(&bytes.to_le_bytes());
    to[start + 5..start + 9].copy_from_slice(&crc.to_le_bytes());
}

fn numbers(to: &mut Vec<u8>, kind: u8, all: &[u64]) {
    frame(to, kind, |to| all.iter().for_each(|number| to.extend(number.to_le_bytes())));
}

/// Appends a record without owning it.
pub(crate) fn put_record(to: &mut Vec<u8>, entry: &orrery_journal::Entry<'_>) {
    frame(to, RECORD, |to| {
        to.extend(entry.position.0.to_le_bytes());
        to.extend(entry.epoch.0.to_le_bytes());
        to.extend(entry.time_us.to_le_bytes());
        to.extend(entry.stream.to_le_bytes());
        to.push(entry.kind);
        to.extend_from_slice(entry.body);
    });
}

/// Appends a piece of an image.
pub(crate) fn put_piece(to: &mut Vec<u8>, content: &[u8]) {
    frame(to, PIECE, |to| to.extend_from_slice(content));
}

/// Appends any other message.
pub(crate) fn put(to: &mut Vec<u8>, message: &Message) {
    match message {
        Message::Start { epoch, copy: None } => numbers(to, START, &[*epoch]),
        Message::Start { epoch, copy: Some(plan) } => {
            let CopyPlan { at, at_epoch, target, common, image_bytes } = *plan;
            numbers(to, START, &[*epoch, at, at_epoch, target, common, image_bytes]);
        }
        Message::Heartbeat { stamp, epoch, durable } => {
            numbers(to, HEARTBEAT, &[*stamp, *epoch, *durable]);
        }
        Message::Record(record) => put_record(
            to,
            &orrery_journal::Entry {
                position: orrery_journal::Position(record.position),
                epoch: orrery_journal::Epoch(record.epoch),
                stream: record.stream,
                kind: record.kind,
                time_us: record.time_us,
                body: &record.body,
            },
        ),
        Message::Piece(content) => put_piece(to, content),
        Message::ImageEnd => numbers(to, IMAGE_END, &[]),
        Message::Goodbye { epoch, position } => numbers(to, GOODBYE, &[*epoch, *position]),
        Message::Confirm { known, durable, stamp } => {
            numbers(to, CONFIRM, &[*known, *durable, *stamp]);
        }
    }
}

/// Whether a payload of this kind may have so many bytes.
fn fits(kind: u8, bytes: usize) -> bool {
    match kind {
        START => bytes == 8 || bytes == 48,
        HEARTBEAT | CONFIRM => bytes == 24,
        RECORD => (RECORD_HEAD_BYTES..=RECORD_HEAD_BYTES + RECORD_BYTES_MAX).contains(&bytes),
        PIECE => (1..=PIECE_BYTES).contains(&bytes),
        IMAGE_END => bytes == 0,
        GOODBYE => bytes == 16,
        _ => false,
    }
}

/// Whether `bytes` begin with a message that is there to its end: reading it waits for nobody.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() >= HEAD_BYTES && bytes.len() - HEAD_BYTES >= u32_at(bytes, 1) as usize
}

/// Reads the next message.
pub(crate) fn read(from: &mut impl Read) -> Result<Message, WireError> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head)?;
    let (kind, bytes) = (head[0], u32_at(&head, 1) as usize);
    if !fits(kind, bytes) {
        return Err(WireError::Length { kind, bytes });
    }
    let mut payload = Vec::with_capacity(bytes.min(TRUST_BYTES));
    from.take(bytes as u64).read_to_end(&mut payload)?;
    if payload.len() < bytes {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    if checksum(kind, &payload) != u32_at(&head, 5) {
        return Err(WireError::Checksum { kind });
    }
    let number = |index: usize| u64_at(&payload, index * 8);
    Ok(match kind {
        START => {
            let plan = || CopyPlan {
                at: number(1),
                at_epoch: number(2),
                target: number(3),
                common: number(4),
                image_bytes: number(5),
            };
            Message::Start { epoch: number(0), copy: (bytes > 8).then(plan) }
        }
        HEARTBEAT => Message::Heartbeat { stamp: number(0), epoch: number(1), durable: number(2) },
        RECORD => Message::Record(Record {
            position: number(0),
            epoch: number(1),
            time_us: number(2) as i64,
            stream: u32_at(&payload, 24),
            kind: payload[28],
            body: payload.split_off(RECORD_HEAD_BYTES),
        }),
        PIECE => Message::Piece(payload),
        IMAGE_END => Message::ImageEnd,
        GOODBYE => Message::Goodbye { epoch: number(0), position: number(1) },
        // Nothing else has a length that fits.
        _ => Message::Confirm { known: number(0), durable: number(1), stamp: number(2) },
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    array.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(array)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages() -> Vec<Message> {
        let plan = CopyPlan { at: 1, at_epoch: 2, target: 3, common: 4, image_bytes: 5 };
        let body = b"body".to_vec();
        vec![
            Message::Start { epoch: 9, copy: None },
            Message::Start { epoch: 9, copy: Some(plan) },
            Message::Heartbeat { stamp: 1, epoch: 2, durable: u64::MAX },
            Message::Record(Record {
                position: 7,
                epoch: 8,
                time_us: -9,
                stream: 1,
                kind: 2,
                body,
            }),
            Message::Piece(vec![1; 1000]),
            Message::ImageEnd,
            Message::Goodbye { epoch: 3, position: 4 },
            Message::Confirm { known: 1, durable: 2, stamp: 3 },
        ]
    }

    #[test]
    fn a_follower_names_its_shard_unless_it_is_the_first() {
        for said in [(3, 2, 0), (3, 2, 7), (u64::MAX, 0, u32::MAX)] {
            let (epoch, of_position, shard) = said;
            assert_eq!(parse_history(&history(epoch, of_position, shard)), Some(said));
        }
        assert_eq!(parse_history(&format!("{CAPABILITY}:3:2")), Some((3, 2, 0)));
        for wrong in ["", ":3", ":3:x", ":3:2:", ":3:2:1:0", ":3:2:-1"] {
            assert_eq!(parse_history(&format!("{CAPABILITY}{wrong}")), None, "{wrong}");
        }
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let mut bytes = vec![];
        for message in &messages() {
            put(&mut bytes, message);
        }
        let mut from = bytes.as_slice();
        for message in messages() {
            assert_eq!(read(&mut from).expect("a message"), message);
        }
        assert!(matches!(read(&mut from), Err(WireError::Io(_))));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for message in messages() {
            let mut bytes = vec![];
            put(&mut bytes, &message);
            for end in 0..bytes.len() {
                assert!(read(&mut &bytes[..end]).is_err(), "cut at {end}");
                assert!(!is_whole(&bytes[..end]), "cut at {end}");
            }
            assert!(is_whole(&bytes));
            for bit in 0..bytes.len().min(80) * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&mut damaged.as_slice()).is_err(), "bit {bit} of {message:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_sets_nothing_aside(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&mut bytes.as_slice()).is_err());
        }
    }
}
