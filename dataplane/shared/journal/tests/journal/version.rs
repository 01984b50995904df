//! Folders of other versions of the format: refused by name, and left as they are. That those of
//! version 1 are read is in `golden.rs`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use orrery_journal::sim::SimDisk;
use orrery_journal::{
    Disk, Journal, JournalError, Options, Position, Record, SalvageError, salvage, scrub,
    scrub_running,
};

const KNOWN: u32 = 1;
const OTHERS: [u32; 3] = [0, KNOWN + 1, u32::MAX];
const SEGMENT_HEADER_BYTES: usize = 4096;
const SNAPSHOT_HEADER_BYTES: usize = 64;
const EPOCH_BYTES: usize = 28;

fn options() -> Options {
    Options { segment_bytes: 16 << 10, threaded: false, ..Options::default() }
}

fn open(disk: &SimDisk) -> Result<Journal, JournalError> {
    disk.restart();
    Ok(Journal::open(Arc::new(disk.clone()), options())?.journal)
}

/// A folder with everything that one may hold: segments below and above a snapshot, an epoch, a spare,
/// and what a process had not finished.
fn folder() -> SimDisk {
    let disk = SimDisk::new(0);
    let mut journal = open(&disk).unwrap();
    let append = |journal: &mut Journal| {
        journal.append(Record { stream: 0, kind: 0, time_us: 0, body: &[1; 4000] }).unwrap();
        journal.flush();
        while journal.step() {}
    };
    for _ in 0..12 {
        append(&mut journal);
    }
    let mut writer = journal.snapshot_writer(Position(5)).unwrap();
    writer.write_all(b"state").unwrap();
    writer.finish().unwrap();
    drop(journal);
    for unfinished in ["epoch.tmp", "snapshot-00000000000000000009.tmp"] {
        let file = disk.create(unfinished).unwrap();
        file.write_at(b"not finished", 0).unwrap();
        file.sync().unwrap();
    }
    disk.sync_dir().unwrap();
    disk
}

fn content(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let name_and_content = |(name, _): (String, usize)| {
        let content = disk.content(&name).unwrap();
        (name, content)
    };
    disk.files().into_iter().map(name_and_content).collect()
}

/// Makes a file one of another version, with a header that says other things too.
fn rewrite(disk: &SimDisk, name: &str, version: u32) {
    let bytes = match name {
        "epoch" => EPOCH_BYTES,
        name if name.starts_with("snapshot-") => SNAPSHOT_HEADER_BYTES,
        _ => SEGMENT_HEADER_BYTES,
    };
    let mut header = disk.content(name).unwrap()[..bytes].to_vec();
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[12..bytes - 4].fill(0xa5);
    let crc = crc32c::crc32c(&header[..bytes - 4]);
    header[bytes - 4..].copy_from_slice(&crc.to_le_bytes());
    let file = disk.open(name).unwrap();
    file.write_at(&header, 0).unwrap();
    file.sync().unwrap();
}

/// The files whose version counts.
fn versioned(disk: &SimDisk) -> Vec<String> {
    let names = disk.files().into_iter().map(|(name, _)| name);
    let counts = |name: &String| {
        let is_content = name.starts_with("segment-") || name.starts_with("snapshot-");
        name == "epoch" || is_content && !name.contains("tmp")
    };
    names.filter(counts).collect()
}

#[track_caller]
fn assert_refused(error: &JournalError, name: &str, version: u32) {
    let JournalError::Version { file, found, known } = error else { panic!("{error}") };
    assert_eq!((file.as_str(), *found, *known), (name, version, KNOWN));
    let said = error.to_string();
    for part in [name.to_owned(), version.to_string(), KNOWN.to_string()] {
        assert!(said.contains(&part), "{part} is missing: {said}");
    }
}

#[test]
fn a_folder_with_a_file_of_another_version_is_refused_and_left_as_it_is() {
    let disk = folder();
    let names = versioned(&disk);
    assert!(names.len() > 4, "{names:?}");
    for name in names {
        for version in OTHERS {
            let disk = disk.fork();
            rewrite(&disk, &name, version);
            let before = content(&disk);
            assert_refused(&open(&disk).unwrap_err(), &name, version);
            assert!(content(&disk) == before, "{name} of version {version}: files were changed");
        }
    }
    // Nothing else was in the way.
    assert_eq!(open(&disk).unwrap().durable(), Position(12));
}

#[test]
fn another_version_is_neither_damage_nor_to_be_salvaged() {
    let disk = folder();
    for name in versioned(&disk) {
        for version in OTHERS {
            let disk = disk.fork();
            rewrite(&disk, &name, version);
            assert_refused(&scrub(&disk).unwrap_err(), &name, version);
            let beside = scrub_running(&disk, &mut |_, _| {}, &mut || {});
            assert_refused(&beside.unwrap_err(), &name, version);
            let target: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
            let salvaged = salvage(&disk, &target, &mut |_, _| {});
            let Err(SalvageError::Source(error)) = salvaged else { panic!("{salvaged:?}") };
            assert_refused(&error, &name, version);
            assert!(target.list().unwrap().is_empty());
        }
    }
}

#[test]
fn damage_that_hits_the_version_is_damage() {
    let disk = folder();
    for name in versioned(&disk) {
        let disk = disk.fork();
        disk.flip_bit(&name, 8 * 8 + 1);
        let found = scrub(&disk).unwrap();
        assert!(found.iter().any(|damage| damage.file == name), "{name}: {found:?}");
    }
}
