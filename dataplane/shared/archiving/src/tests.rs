//! Sessions on a small journal: gaps that trimming makes, and histories that must not mix.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_archive::Archive;
use orrery_blob::{Access, Address, Store};
use orrery_journal::{Feed, Journal, Options, RealDisk, Record};

use super::WriteError;
use super::config::ArchiveConfig;
use super::figures::Figures;
use super::history::History;
use super::post::Mandate;
use super::session::Session;
use super::writer::{Engine, Source, Wishes};

const SOON: Duration = Duration::from_mins(1);

fn journal(folder: &Path) -> Journal {
    let disk = RealDisk::new(folder.join("shard-0")).expect("writable");
    let options = Options { segment_bytes: 16 << 10, ..Options::default() };
    Journal::open(Arc::new(disk), options).expect("it opens").journal
}

/// Appends records up to `last`; the record of position n has the time 10 n.
fn append(journal: &mut Journal, last: u64, salt: u8) {
    while journal.last().0 < last {
        let time_us = (journal.last().0 as i64 + 1) * 10;
        let record = Record { stream: 0, kind: 1, time_us, body: &[salt; 1000] };
        journal.append(record).expect("there is room");
        journal.flush();
        journal.wait_durable_until(journal.last(), Instant::now() + SOON).expect("it is written");
    }
}

fn snapshot(journal: &mut Journal, image: &[u8]) {
    use std::io::Write;
    let mut writer = journal.snapshot_writer(journal.last()).expect("none runs");
    writer.write_all(image).expect("writable");
    writer.finish().expect("it is written");
}

/// An engine that makes no snapshots unasked.
#[derive(Debug)]
struct Still;

impl Engine for Still {
    fn snapshot_position(&self) -> u64 {
        0
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn ask_for_snapshot(&self) {}
}

struct Writing {
    source: Source,
    feed: Feed,
    mandate: Mandate,
}

fn source(folder: &Path, archive: &Path, journal: &Journal) -> Writing {
    let source = Source {
        config: ArchiveConfig {
            to: Address::Folder(archive.to_owned()),
            access: Access::default(),
            object: "default/kv".into(),
            owner: None,
            interval: Duration::from_millis(1),
            retention: None,
            snapshot_after_bytes: 1 << 30,
            engine: None,
        },
        data: folder.to_owned(),
        member: "kv-0".into(),
        is_grouped: false,
        posts: Arc::default(),
        figures: Arc::new(Figures::default()),
        wishes: Arc::new(Wishes::default()),
        engine: Arc::new(Still),
    };
    let mandate = Mandate::new(journal.epoch().0, 0, &History::default(), u64::MAX);
    Writing { source, feed: journal.feed(), mandate }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

async fn archive_all(writing: &Writing) -> Result<(), WriteError> {
    let Writing { source, feed, mandate } = writing;
    let mut session = Session::begin(source, feed, mandate).await?;
    let end = Instant::now() + SOON;
    while session.archived() < feed.durable().0.min(mandate.safe()) {
        session.turn().await?;
        assert!(Instant::now() < end, "it does not get there");
    }
    Ok(())
}

/// Positions of snapshots, first and last positions of groups.
async fn there(archive: &Path) -> (Vec<u64>, Vec<(u64, u64)>) {
    let address = Address::Folder(archive.to_owned());
    let archive = Archive::new(Store::open(&address, &Access::default()).expect("it is there"));
    let snapshots = archive.snapshots().await.expect("it lists");
    let groups = archive.groups_behind(0).await.expect("it lists");
    (
        snapshots.iter().map(|name| name.position).collect(),
        groups.iter().map(|(name, _)| (name.first, name.last)).collect(),
    )
}

#[test]
fn a_gap_that_trimming_made_is_closed_by_a_snapshot() {
    let (folder, archive) =
        (tempfile::tempdir().expect("room"), tempfile::tempdir().expect("room"));
    let mut journal = journal(folder.path());
    append(&mut journal, 20, 1);
    run(archive_all(&source(folder.path(), archive.path(), &journal))).expect("it is archived");
    append(&mut journal, 100, 1);
    snapshot(&mut journal, b"the image");
    append(&mut journal, 120, 1);
    let source = source(folder.path(), archive.path(), &journal);
    run(archive_all(&source)).expect("it goes on");
    let (snapshots, groups) = run(there(archive.path()));
    assert_eq!(snapshots, [100]);
    let behind: Vec<_> = groups.iter().filter(|(_, last)| *last > 20).collect();
    assert_eq!(behind.first().map(|(first, _)| *first), Some(101), "{groups:?}");
    assert_eq!(behind.last().map(|(_, last)| *last), Some(120), "{groups:?}");
    let figures = &source.source.figures;
    assert_eq!(figures.archived_position.get(), 120);
    assert_eq!(figures.snapshot_position.get(), 100);
    assert!(figures.written_bytes.get() > b"the image".len() as u64, "{figures:?}");
    assert!(figures.put_at_s.get() > 0 && figures.lag_records.get() == 0, "{figures:?}");
    assert_eq!(source.mandate.snapshot(), (100, 0));
}

#[test]
fn a_hole_in_the_archive_is_filled_while_the_journal_has_the_records() {
    let (folder, archive) =
        (tempfile::tempdir().expect("room"), tempfile::tempdir().expect("room"));
    let mut journal = journal(folder.path());
    for last in [10, 20, 30] {
        append(&mut journal, last, 1);
        run(archive_all(&source(folder.path(), archive.path(), &journal))).expect("archived");
    }
    let (_, groups) = run(there(archive.path()));
    let names = std::fs::read_dir(archive.path().join("journal")).expect("it is there");
    for entry in names.map(|entry| entry.expect("readable")) {
        let name = entry.file_name().into_string().expect("text");
        let first: u64 = name.split_once('-').expect("a range").0.parse().expect("a number");
        if (11..=20).contains(&first) {
            std::fs::remove_file(entry.path()).expect("writable");
        }
    }
    assert_ne!(run(there(archive.path())).1, groups);
    run(archive_all(&source(folder.path(), archive.path(), &journal))).expect("it goes on");
    let (_, healed) = run(there(archive.path()));
    let mut reached = 0;
    for (first, last) in healed {
        assert!(first <= reached + 1, "a hole behind {reached}");
        reached = reached.max(last);
    }
    assert_eq!(reached, 30);
}

#[test]
fn a_journal_that_is_behind_the_newest_snapshot_is_not_mixed_in() {
    let (folder, archive) =
        (tempfile::tempdir().expect("room"), tempfile::tempdir().expect("room"));
    let mut first = journal(folder.path());
    append(&mut first, 100, 1);
    snapshot(&mut first, b"the image");
    // All records are trimmed: the snapshot is everything that is archived.
    run(archive_all(&source(folder.path(), archive.path(), &first))).expect("it is archived");
    assert_eq!(run(there(archive.path())), (vec![100], vec![]));
    first.close().expect("it closes");
    std::fs::remove_dir_all(folder.path().join("shard-0")).expect("writable");
    let mut second = journal(folder.path());
    append(&mut second, 10, 2);
    let behind = run(archive_all(&source(folder.path(), archive.path(), &second)));
    assert!(matches!(behind, Err(WriteError::Ahead { archived: 100, durable: 10 })), "{behind:?}");
}

#[test]
fn another_history_and_one_that_is_behind_are_not_mixed_in() {
    let (folder, archive) =
        (tempfile::tempdir().expect("room"), tempfile::tempdir().expect("room"));
    let mut first = journal(folder.path());
    append(&mut first, 20, 1);
    run(archive_all(&source(folder.path(), archive.path(), &first))).expect("it is archived");
    first.close().expect("it closes");
    // The same data folder, so the same owner, with another journal in it.
    std::fs::remove_dir_all(folder.path().join("shard-0")).expect("writable");
    let mut second = journal(folder.path());
    append(&mut second, 10, 2);
    let behind = run(archive_all(&source(folder.path(), archive.path(), &second)));
    assert!(matches!(behind, Err(WriteError::Ahead { archived: 20, durable: 10 })), "{behind:?}");
    append(&mut second, 30, 2);
    let other = run(archive_all(&source(folder.path(), archive.path(), &second)));
    assert!(matches!(other, Err(WriteError::Diverged { position: 20 })), "{other:?}");
}

#[test]
fn a_line_has_one_writer_and_a_later_line_ends_it() {
    let (folder, archive) =
        (tempfile::tempdir().expect("room"), tempfile::tempdir().expect("room"));
    let mut journal = journal(folder.path());
    append(&mut journal, 20, 1);
    let member = |name: &str, epoch: u64, safe: u64| {
        let mut writing = source(folder.path(), archive.path(), &journal);
        writing.source.is_grouped = true;
        writing.source.member = name.into();
        writing.source.config.owner = Some("uid".into());
        writing.mandate = Mandate::new(epoch, 20, &History::default(), safe);
        writing
    };
    run(archive_all(&member("kv-0", 2, 15))).expect("it begins a line");
    let last = |groups: &[(u64, u64)]| groups.iter().map(|(_, last)| *last).max();
    assert_eq!(last(&run(there(archive.path())).1), Some(15), "the others are not safe");
    run(archive_all(&member("kv-0", 2, u64::MAX))).expect("it goes on");
    assert_eq!(last(&run(there(archive.path())).1), Some(20));
    let other = run(archive_all(&member("kv-1", 2, u64::MAX)));
    assert!(
        matches!(&other, Err(WriteError::Taken { member, .. }) if member == "kv-0"),
        "{other:?}"
    );
    run(archive_all(&member("kv-1", 3, u64::MAX))).expect("it was promoted");
    let late = run(archive_all(&member("kv-0", 2, u64::MAX)));
    assert!(matches!(late, Err(WriteError::Superseded { by: 3 })), "{late:?}");
}
