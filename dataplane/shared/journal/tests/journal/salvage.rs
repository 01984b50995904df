//! What is taken out of a damaged journal: everything that is provably good, nothing else, and the
//! damaged folder stays as it is.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use orrery_journal::sim::{Random, SimDisk};
use orrery_journal::{
    Disk, Epoch, Journal, JournalError, Opened, Options, Position, Record, Salvage, SalvageError,
    salvage, scrub,
};

const SHARD: u32 = 4;
/// Damaged journals tried by a plain `cargo test`.
const RUNS: u64 = 400;

fn options() -> Options {
    Options { shard: SHARD, segment_bytes: 8 << 10, threaded: false, ..Options::default() }
}

fn open(disk: &SimDisk) -> Result<Opened, JournalError> {
    Journal::open(Arc::new(disk.clone()), options())
}

/// The body of a record, made from its position.
fn body(position: u64) -> Vec<u8> {
    vec![position as u8; (position * 7919 % 1500) as usize]
}

fn state(position: u64) -> Vec<u8> {
    position.to_le_bytes().repeat(40)
}

/// Some journal: a few segments, perhaps snapshots and epochs, closed or not. Gives its last position.
fn make(disk: &SimDisk, random: &mut Random) -> u64 {
    let options = Options { snapshots_kept: 1 + random.below(2) as usize, ..options() };
    let mut journal = Journal::open(Arc::new(disk.clone()), options).unwrap().journal;
    let last = 1 + random.below(60);
    let (snapshots, epochs) = (random.chance(2, 3), random.chance(1, 2));
    for position in 1..=last {
        let record = Record { stream: 1, kind: 2, time_us: position as i64, body: &body(position) };
        journal.append(record).unwrap();
        if position == last || random.chance(1, 3) {
            journal.flush();
            while journal.step() {}
            assert_eq!(journal.durable().0, position);
            if snapshots && random.chance(1, 6) {
                let mut writer = journal.snapshot_writer(Position(position)).unwrap();
                writer.write_all(&state(position)).unwrap();
                writer.finish().unwrap();
            }
            if epochs && random.chance(1, 4) {
                journal.raise_epoch(Epoch(journal.epoch().0 + 1)).unwrap();
            }
        }
    }
    if random.chance(1, 2) {
        journal.close().unwrap();
    }
    disk.restart();
    last
}

fn numbered(disk: &SimDisk, prefix: &str) -> Vec<String> {
    let names = disk.files().into_iter().map(|(name, _)| name);
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Damages the disk in one of many ways.
fn damage(disk: &SimDisk, random: &mut Random) {
    let files = disk.files();
    let (name, bytes) = &files[random.below(files.len() as u64) as usize];
    let file = disk.open(name).unwrap();
    match random.below(5) {
        0 => disk.remove(name).unwrap(),
        1 => {
            let from = random.below(*bytes as u64);
            file.write_at(&vec![0; random.below(9000) as usize], from).unwrap();
        }
        2 => {
            let piece = disk.content(name).unwrap();
            let from = random.below(piece.len() as u64 / 512 + 1) * 512;
            let piece = &piece[from as usize..][..(piece.len() - from as usize).min(2048)];
            let victim = &files[random.below(files.len() as u64) as usize].0;
            disk.open(victim).unwrap().write_at(piece, random.below(16) * 512).unwrap();
        }
        _ => disk.flip_bit(name, random.below(*bytes as u64 * 8) as usize),
    }
}

/// Opens what was salvaged and checks every byte of it against what was appended.
fn check(found: &Salvage, disk: &SimDisk) {
    disk.restart();
    assert_eq!(scrub(disk).unwrap(), []);
    let Opened { journal, mut recovery } = open(disk).unwrap();
    let mut last = 0;
    if let Some(mut reader) = recovery.snapshot().unwrap() {
        last = reader.position().0;
        let mut content = vec![];
        reader.read_to_end(&mut content).unwrap();
        assert_eq!(content, state(last));
    }
    assert_eq!(found.snapshot, Position(last));
    while let Some(entry) = recovery.next_record().unwrap() {
        last += 1;
        assert_eq!((entry.position.0, entry.time_us), (last, last as i64));
        assert_eq!((entry.stream, entry.kind), (1, 2));
        assert_eq!(entry.body, body(last));
    }
    assert_eq!((found.last, found.epoch), (Position(last), journal.epoch()));
    assert_eq!(found.records(), last - found.snapshot.0);
}

fn contents(disk: &SimDisk) -> Vec<(String, Option<Vec<u8>>)> {
    disk.files().into_iter().map(|(name, _)| (name.clone(), disk.content(&name))).collect()
}

fn try_salvage(from: &SimDisk) -> (SimDisk, Result<Salvage, SalvageError>) {
    let target = SimDisk::new(77);
    let to: Arc<dyn Disk> = Arc::new(target.clone());
    let before = contents(from);
    let (mut heard, mut most) = (0, 0);
    let found = salvage(from, &to, &mut |done, of| {
        assert!(done >= heard && done <= of);
        (heard, most) = (done, of);
    });
    assert!(contents(from) == before, "the damaged folder stays as it is");
    assert!(found.is_err() || heard > 0 || most == 0);
    (target, found)
}

#[test]
fn all_that_is_good_is_salvaged_and_nothing_else_wherever_the_damage_is() {
    let (mut shortened, mut whole, mut nothing, mut behind) = (0, 0, 0, 0);
    for seed in 0..RUNS {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let last = make(&disk, &mut random);
        damage(&disk, &mut random);
        let firsts = numbered(&disk, "segment-");
        let (target, found) = try_salvage(&disk);
        let opened = open(&disk.fork()).map(|opened| opened.journal.durable().0);
        let found = match found {
            Ok(found) => found,
            Err(SalvageError::NothingLeft { .. }) => {
                assert!(opened.is_err(), "seed {seed}: it opens, so something is left");
                nothing += 1;
                continue;
            }
            Err(error) => panic!("seed {seed}: {error:?}"),
        };
        check(&found, &target);
        assert!(found.last.0 <= last, "seed {seed}");
        assert!(found.lost_at_least() <= last - found.last.0, "seed {seed}: {found:?}");
        assert!(found.left_out <= last, "seed {seed}: {found:?}");
        match opened {
            Ok(durable) => {
                assert_eq!(found.last.0, durable, "seed {seed}: {found:?}");
                assert_eq!(found.ends, None, "seed {seed}: what opens ends as it should");
            }
            Err(JournalError::Corrupt { position, file, .. }) => {
                // Opening reads more than is needed, so it may stop earlier, never later.
                if file.starts_with("segment-") && !firsts.is_empty() {
                    assert!(found.last.0 + 1 >= position.0, "seed {seed}: {found:?}");
                }
                assert!(
                    found.ends.is_some() || !found.passed_over.is_empty() || found.last.0 == last,
                    "seed {seed}: {found:?}"
                );
            }
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
        whole += u64::from(found.last.0 == last);
        shortened += u64::from(found.lost_at_least() > 0);
        behind += u64::from(found.left_out > 0);
    }
    println!("{whole} whole, {shortened} shortened, {behind} with more behind, {nothing} nothing");
    assert!(whole > RUNS / 4 && shortened > RUNS / 20 && behind > RUNS / 20 && nothing > RUNS / 50);
}

/// Records 1 to 30 in groups of one, with a snapshot at 10 if asked for, closed.
fn thirty(snapshot: bool) -> SimDisk {
    let disk = SimDisk::new(3);
    let mut journal = open(&disk).unwrap().journal;
    for position in 1..=30 {
        let record = Record { stream: 1, kind: 2, time_us: position, body: &body(position as u64) };
        journal.append(record).unwrap();
        journal.flush();
        while journal.step() {}
        if snapshot && position == 10 {
            let mut writer = journal.snapshot_writer(Position(10)).unwrap();
            writer.write_all(&state(10)).unwrap();
            writer.finish().unwrap();
        }
    }
    journal.close().unwrap();
    disk.restart();
    disk
}

/// Flips a bit in the time of the frame of `position`.
fn strike(disk: &SimDisk, position: u64) {
    for name in numbered(disk, "segment-") {
        let bytes = disk.content(&name).unwrap();
        let is_frame = |at: &usize| {
            bytes[at + 16..at + 24] == position.to_le_bytes()
                && bytes[at + 32..at + 40] == position.to_le_bytes()
        };
        if let Some(at) = (4096..bytes.len() - 56).step_by(8).find(is_frame) {
            return disk.flip_bit(&name, (at + 32) * 8);
        }
    }
    panic!("there is no record {position}");
}

#[test]
fn what_ends_it_what_is_left_out_and_what_is_lost_is_told() {
    let disk = thirty(false);
    strike(&disk, 20);
    let (target, found) = try_salvage(&disk);
    let found = found.unwrap();
    check(&found, &target);
    assert_eq!(
        (found.snapshot, found.last, found.proven),
        (Position(0), Position(19), Position(30))
    );
    assert_eq!((found.left_out, found.lost_at_least()), (10, 11));
    assert_eq!(found.ends.unwrap().position, Position(20));
    assert_eq!(found.passed_over, []);
}

#[test]
fn damage_that_a_snapshot_covers_costs_nothing() {
    let disk = thirty(true);
    let first = numbered(&disk, "segment-")[0]["segment-".len()..].parse().unwrap();
    assert!(first <= 10, "the oldest segment begins with a record that the snapshot covers");
    strike(&disk, first);
    assert!(open(&disk.fork()).is_err());
    let (target, found) = try_salvage(&disk);
    let found = found.unwrap();
    check(&found, &target);
    assert_eq!((found.snapshot, found.last), (Position(10), Position(30)));
    assert_eq!((found.ends, found.left_out), (None, 0));
}

#[test]
fn a_lost_epoch_is_made_again_from_the_records() {
    let disk = thirty(false);
    disk.remove("epoch").unwrap();
    assert!(!scrub(&disk).unwrap().is_empty(), "it does not open, so it is not whole");
    let (target, found) = try_salvage(&disk);
    let found = found.unwrap();
    check(&found, &target);
    assert_eq!((found.last, found.ends), (Position(30), None));
    assert_eq!(found.passed_over[0].file, "epoch");
}

#[test]
fn a_missing_first_segment_leaves_nothing_and_is_found_by_a_scrub() {
    let disk = thirty(false);
    disk.remove(&numbered(&disk, "segment-")[0]).unwrap();
    assert_eq!(scrub(&disk).unwrap()[0].position, Position(1));
    let (_, found) = try_salvage(&disk);
    assert!(matches!(found, Err(SalvageError::NothingLeft { .. })), "{found:?}");
}

#[test]
fn a_folder_that_holds_something_is_not_written_into() {
    let disk = thirty(false);
    let to: Arc<dyn Disk> = Arc::new(disk.fork());
    let found = salvage(&disk, &to, &mut |_, _| {});
    assert!(matches!(found, Err(SalvageError::NotEmpty)), "{found:?}");
}
