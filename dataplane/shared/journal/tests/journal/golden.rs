//! Whole files of version 1, as bytes: they must be readable for ever. They were made by another
//! program from the tables in `docs/journal.md`.

use std::io::Read as _;
use std::sync::Arc;

use orrery_journal::sim::SimDisk;
use orrery_journal::{Disk, Epoch, Journal, Options, Position, scrub};

/// Shard 2, epoch 3, first position 1, salt `0x1122334455667788`; zeros follow to 4,092.
const HEADER: &str = "
    4f5252595345474d 0100000002000000 0300000000000000 0100000000000000
    8877665544332211";
const HEADER_CRC: &str = "cb75d01d";
/// Record 1 in epoch 3 and record 2 in epoch 4 as one group, record 3 as another, a mark.
const FRAMES: &str = "
    167fac83b929d2dc 0500000001000000 0100000000000000 0000000000000000
    e803000000000000 0300000000000000 0900000000000000 6669727374000000
    9ce70a5a00000000 0000000002000000 0200000000000000 0000000000000000
    ffffffffffffffff 0400000000000000 0800000000000000 750f6742ee82e3a2
    1000000003000000 0300000000000000 0200000000000000 0000000000000000
    0400000000000000 0700000000000000 7468652074686972 64207265636f7264
    5659851300000000 0000000000000000 0300000000000000 0300000000000000
    0000000000000000 0400000000000000 0001000000000000";
/// Shard 2, epoch 4.
const EPOCH: &str = "
    4f52525945504f43 0100000002000000 0400000000000000 143f9901";
/// Position 1, chunks `state at 1` and `!`.
const SNAPSHOT: &str = "
    4f525259534e4150 0100000002000000 0100000000000000 0300000000000000
    0000000000000000 0000000000000000 0000000000000000 000000004afd3b73
    0a000000f8677196 7374617465206174 20310100000036b3 0d9d210000000054
    74fb3a0200000000 0000000b00000000 000000";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn files_of_version_1_are_read() {
    let disk = SimDisk::new(0);
    let write = |name: &str, bytes: &[u8]| {
        disk.create(name).unwrap().write_at(bytes, 0).unwrap();
    };
    let mut segment = unhex(HEADER);
    segment.resize(4092, 0);
    segment.extend(unhex(HEADER_CRC));
    segment.extend(unhex(FRAMES));
    segment.resize(8192, 0);
    write("segment-00000000000000000001", &segment);
    write("epoch", &unhex(EPOCH));
    write("snapshot-00000000000000000001", &unhex(SNAPSHOT));

    assert_eq!(scrub(&disk).unwrap(), []);
    let options = Options { shard: 2, threaded: false, ..Options::default() };
    let mut opened = Journal::open(Arc::new(disk), options).unwrap();
    assert_eq!(opened.journal.epoch(), Epoch(4));
    assert_eq!(opened.journal.durable(), Position(3));
    let mut state = String::new();
    opened.recovery.snapshot().unwrap().unwrap().read_to_string(&mut state).unwrap();
    assert_eq!(state, "state at 1!");
    let second = opened.recovery.next_record().unwrap().unwrap();
    assert_eq!((second.position, second.epoch, second.stream), (Position(2), Epoch(4), 2));
    assert_eq!((second.kind, second.time_us, second.body), (8, -1, b"".as_slice()));
    let third = opened.recovery.next_record().unwrap().unwrap();
    assert_eq!((third.position, third.stream, third.kind), (Position(3), 3, 7));
    assert_eq!(third.body, b"the third record");
    assert!(opened.recovery.next_record().unwrap().is_none());
}
