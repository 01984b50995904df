//! Frames survive encoding, any damage to them is noticed, and their bytes do not change.

use proptest::prelude::*;

use super::*;

const SEED: u32 = 0x1234_5678;

fn stamped(position: u64, epoch: u64, watermark: u64, record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, position, epoch, record);
    stamp(&mut bytes, SEED, watermark);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        let space = if index > 0 && index % 8 == 0 { " " } else { "" };
        text = format!("{text}{space}{byte:02x}");
    }
    text
}

proptest! {
    #[test]
    fn a_frame_survives_encoding(
        (stream, kind, time_us) in any::<(u32, u8, i64)>(),
        position in 1..u64::MAX,
        epoch in any::<u64>(),
        behind in any::<u64>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let watermark = position.saturating_sub(behind);
        let record = Record { stream, kind, time_us, body: &body };
        let bytes = stamped(position, epoch, watermark, &record);
        prop_assert_eq!(bytes.len(), frame_bytes(body.len()));
        prop_assert_eq!(bytes.len() % FRAME_ALIGN, 0);
        let header = decode(&bytes, SEED).expect("intact");
        prop_assert_eq!(header.body(&bytes), Some(body.as_slice()));
        prop_assert_eq!(header.frame_bytes(), bytes.len());
        prop_assert_eq!((header.position, header.epoch, header.watermark), (position, epoch, watermark));
        prop_assert_eq!((header.stream, header.kind, header.time_us), (stream, kind, time_us));
        prop_assert!(!header.mark);
    }

    #[test]
    fn a_flipped_bit_is_noticed(
        body in prop::collection::vec(any::<u8>(), 0..100),
        bit in any::<prop::sample::Index>(),
    ) {
        let record = Record { stream: 1, kind: 2, time_us: 3, body: &body };
        let mut bytes = stamped(9, 4, 8, &record);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let body = decode(&bytes, SEED).and_then(|header| header.body(&bytes).map(<[u8]>::len));
        prop_assert_eq!(body, None);
    }

    #[test]
    fn a_cut_frame_is_noticed(
        body in prop::collection::vec(any::<u8>(), 0..100),
        cut in any::<prop::sample::Index>(),
    ) {
        let record = Record { stream: 1, kind: 2, time_us: 3, body: &body };
        let mut bytes = stamped(9, 4, 8, &record);
        bytes.truncate(cut.index(bytes.len()));
        let body = decode(&bytes, SEED).and_then(|header| header.body(&bytes).map(<[u8]>::len));
        prop_assert_eq!(body, None);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(header) = decode(&bytes, SEED) {
            header.body(&bytes);
        }
    }
}

#[test]
fn every_frame_of_a_group_is_stamped() {
    let mut group = Vec::new();
    for position in 5..8 {
        encode(&mut group, position, 1, &Record { stream: 0, kind: 0, time_us: 0, body: b"abc" });
    }
    encode_mark(&mut group, 7, 1);
    stamp(&mut group, SEED, 4);
    let mut rest = group.as_slice();
    let mut seen = Vec::new();
    while let Some(header) = decode(rest, SEED) {
        assert_eq!(header.watermark, 4);
        seen.push((header.position, header.mark));
        rest = &rest[header.frame_bytes()..];
    }
    assert_eq!(seen, [(5, false), (6, false), (7, false), (7, true)]);
    assert!(rest.is_empty());
}

#[test]
fn a_frame_of_another_segment_is_none() {
    let bytes = stamped(9, 4, 8, &Record { stream: 1, kind: 2, time_us: 3, body: b"x" });
    assert!(decode(&bytes, SEED + 1).is_none());
}

#[test]
fn the_bytes_of_a_frame_are_fixed() {
    let record = Record { stream: 0x0a0b_0c0d, kind: 0x7f, time_us: -2, body: b"journal" };
    let golden = "2bb9a0fac53f6f04 070000000d0c0b0a 2211000000000000 2111000000000000 \
        feffffffffffffff 3300000000000000 7f00000000000000 6a6f75726e616c00";
    assert_eq!(hex(&stamped(0x1122, 0x33, 0x1121, &record)), golden);
}

#[test]
fn the_bytes_of_a_mark_are_fixed() {
    let mut bytes = Vec::new();
    encode_mark(&mut bytes, 0x1122, 0x33);
    stamp(&mut bytes, SEED, 0x1122);
    assert_eq!(
        hex(&bytes),
        "ec45711400000000 0000000000000000 2211000000000000 2211000000000000 \
        0000000000000000 3300000000000000 0001000000000000"
    );
}
