//! An archive in a store in memory: written, continued, damaged, followed back.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use orrery_archive::group::{Builder, Group, Record};
use orrery_archive::{
    Archive, ArchiveError, GroupName, Line, SnapshotName, Stretch, Target, base, plan,
};
use orrery_blob::Store;
use proptest::prelude::*;

/// The record of position n: time 10 n, a body that says n.
fn push(builder: &mut Builder, position: u64) {
    let body = position.to_string();
    let record = Record {
        position,
        epoch: 1,
        time_us: position as i64 * 10,
        stream: 0,
        kind: 1,
        body: body.as_bytes(),
    };
    assert!(builder.push(&record));
}

async fn put(archive: &Archive, positions: std::ops::RangeInclusive<u64>) {
    let mut builder = Builder::default();
    positions.for_each(|position| push(&mut builder, position));
    let (name, object) = builder.take().unwrap();
    archive.put_group(name, object).await.unwrap();
}

async fn groups(archive: &Archive, behind: u64) -> Result<Vec<GroupName>, ArchiveError> {
    let groups = archive.groups_behind(behind).await?;
    Ok(groups.into_iter().map(|(name, _)| name).collect())
}

/// Positions that a restore to `target_us` applies behind its snapshot, as an engine does it.
async fn restore(archive: &Archive, target_us: i64) -> Result<(u64, Vec<u64>), ArchiveError> {
    let (records, target) = (restored(archive, target_us, None).await?, Target::Time(target_us));
    let snapshots = archive.view(None).await?.snapshots(&archive.snapshots().await?);
    let base = base(&snapshots, target).map_or(0, |snapshot| snapshot.position);
    Ok((base, records.into_iter().map(|(position, _)| position).collect()))
}

/// The same with what the bodies say, on a line.
async fn restored(
    archive: &Archive,
    target_us: i64,
    line: Option<u64>,
) -> Result<Vec<(u64, String)>, ArchiveError> {
    let (view, target) = (archive.view(line).await?, Target::Time(target_us));
    let snapshots = view.snapshots(&archive.snapshots().await?);
    let base = base(&snapshots, target).map_or(0, |snapshot| snapshot.position);
    let plan = plan(&snapshots, &view.pieces(groups(archive, base).await?), target)?;
    let mut end = base;
    for piece in plan.pieces.iter().rev() {
        let group = archive.group(piece.name).await?;
        if let Some(last) = group.last_at(target_us, piece.first..=piece.last) {
            end = last;
            break;
        }
    }
    let mut applied = vec![];
    for piece in &plan.pieces {
        let group = archive.group(piece.name).await?;
        let mine =
            group.records().filter(|r| (piece.first..=piece.last.min(end)).contains(&r.position));
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        applied.extend(mine.map(|record| (record.position, text(record.body))));
    }
    Ok(applied)
}

#[tokio::test]
async fn every_moment_is_reached_exactly() {
    let archive = Archive::claim(Store::memory(), "default/kv").await.unwrap();
    for first in [1, 11, 21, 31] {
        put(&archive, first..=first + 9).await;
    }
    let mut image = archive.begin_snapshot(SnapshotName { position: 17, time_us: 175, line: 0 }, 1);
    image.write(b"the image").await.unwrap();
    image.finish().await.unwrap();
    for target_us in 10..=420 {
        let last = (target_us as u64 / 10).min(40);
        let (base, applied) = restore(&archive, target_us).await.unwrap();
        assert_eq!(base, if target_us < 175 { 0 } else { 17 });
        assert_eq!(applied, (base + 1..=last).collect::<Vec<_>>(), "at {target_us}");
    }
}

#[tokio::test]
async fn a_place_of_another_journal_is_not_written_to() {
    let store = Store::memory();
    Archive::claim(store.clone(), "default/one").await.unwrap();
    Archive::claim(store.clone(), "default/one").await.unwrap();
    let foreign = Archive::claim(store, "default/two").await.expect_err("it is taken");
    assert!(matches!(foreign, ArchiveError::Foreign { .. }), "{foreign}");
}

#[tokio::test]
async fn an_archive_is_handed_on_by_its_owner_and_only_once() {
    let store = Store::memory();
    let archive = Archive::claim(store.clone(), "one").await.unwrap();
    let first = archive.owner().await.unwrap().unwrap();
    archive.hand_on(&first, "two").await.unwrap();
    archive.hand_on(&first, "two").await.unwrap();
    assert!(archive.hand_on(&first, "three").await.is_err(), "it has one successor");
    assert!(Archive::claim(store.clone(), "one").await.is_err(), "it gave the archive up");
    Archive::claim(store.clone(), "two").await.unwrap();
    let second = archive.owner().await.unwrap().unwrap();
    archive.hand_on(&second, "three").await.unwrap();
    assert_eq!(archive.owner().await.unwrap().unwrap().name, "three");
    assert_eq!(store.get("owners/000002").await.unwrap(), "three");
}

/// Puts records of a line; their bodies say the line as well.
async fn put_on(archive: &Archive, line: u64, positions: std::ops::RangeInclusive<u64>) {
    let mut builder = Builder::of(line);
    for position in positions {
        let (time_us, body) = (position as i64 * 10, format!("{position} of {line}"));
        let body = body.as_bytes();
        let record = Record { position, epoch: line, time_us, stream: 0, kind: 1, body };
        assert!(builder.push(&record));
    }
    let (name, object) = builder.take().unwrap();
    archive.put_group(name, object).await.unwrap();
}

async fn begin(archive: &Archive, epoch: u64, begins: u64, after: &[(u64, u64)]) -> Line {
    let after = after.iter().map(|(line, until)| Stretch { line: *line, until: *until }).collect();
    let line = Line { epoch, member: format!("kv-{epoch}"), begins, history: String::new(), after };
    archive.begin_line(line).await.unwrap()
}

#[tokio::test]
async fn the_newest_line_is_followed_whatever_an_earlier_writer_puts_later() {
    let archive = Archive::new(Store::memory());
    put_on(&archive, 0, 1..=10).await;
    begin(&archive, 2, 10, &[(0, 10)]).await;
    put_on(&archive, 2, 11..=20).await;
    // Another one is promoted without 19 and 20.
    let again = begin(&archive, 5, 18, &[(0, 10), (2, 18)]).await;
    put_on(&archive, 5, 19..=30).await;
    // The one before goes on after a pause: its records, a snapshot, its line once more.
    put_on(&archive, 2, 21..=60).await;
    put_on(&archive, 0, 11..=13).await;
    let name = SnapshotName { position: 60, time_us: 605, line: 2 };
    archive.begin_snapshot(name, 2).finish().await.unwrap();
    begin(&archive, 4, 40, &[(0, 10), (2, 40)]).await;
    let other = Line { member: "another".into(), ..again.clone() };
    assert_eq!(archive.begin_line(other).await.unwrap(), again, "the first one counts");
    assert_eq!(archive.lines().await.unwrap(), [2, 4, 5]);
    let line_of = |position: u64| match position {
        1..=10 => 0,
        11..=18 => 2,
        _ => 5,
    };
    for target_us in 10..=900 {
        let last = (target_us as u64 / 10).min(30);
        let expected: Vec<_> = (1..=last).map(|n| (n, format!("{n} of {}", line_of(n)))).collect();
        assert_eq!(restored(&archive, target_us, None).await.unwrap(), expected);
    }
    // What was left behind can still be asked for by its epoch.
    let left = restored(&archive, 200, Some(2)).await.unwrap();
    assert_eq!(left.last().unwrap(), &(20, "20 of 2".to_owned()));
    assert_eq!(restored(&archive, 900, Some(0)).await.unwrap().len(), 13);
    let none = archive.view(Some(3)).await.expect_err("nobody was promoted with 3");
    assert!(matches!(none, ArchiveError::NoLine { epoch: 3 }), "{none}");
}

#[tokio::test]
async fn an_archive_of_the_first_version_is_read() {
    let store = Store::memory();
    // One record at position 7: epoch 3, time 70 µs, stream 0, kind 1, body `hi`.
    let mut object = b"ORRYARC1".to_vec();
    object.extend([7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let mut record = vec![3, 0, 0, 0, 0, 0, 0, 0, 70, 0, 0, 0, 0, 0, 0, 0];
    record.extend([0, 0, 0, 0, 2, 0, 0, 0, 1, b'h', b'i']);
    let checksum = [0xa1, 0x5f, 0x26, 0x96];
    object.extend(checksum);
    object.extend(record);
    let name = "journal/00000000000000000007-00000000000000000007-70-70.rec";
    store.put(name, object.into()).await.unwrap();
    let manifest =
        r#"{"position":6,"timeUs":61,"epoch":3,"parts":[{"bytes":2,"crc32c":564516522}]}"#;
    store.put("snapshots/00000000000000000006-61.json", manifest.into()).await.unwrap();
    store.put("images/00000000000000000006-61/000000.part", "im".into()).await.unwrap();
    store.put("owner", "default/kv 00".into()).await.unwrap();
    let archive = Archive::claim(store, "default/kv 00").await.unwrap();
    let snapshots = archive.snapshots().await.unwrap();
    let view = archive.view(None).await.unwrap();
    let plan = plan(
        &view.snapshots(&snapshots),
        &view.pieces(groups(&archive, 6).await.unwrap()),
        Target::Newest,
    );
    let plan = plan.unwrap();
    let manifest = archive.manifest(plan.snapshot.unwrap()).await.unwrap();
    assert_eq!((manifest.line, manifest.epoch), (0, 3));
    assert_eq!(archive.part(&manifest, 0).await.unwrap().unwrap(), "im");
    let group = archive.group(plan.pieces[0].name).await.unwrap();
    let bodies: Vec<_> = group.records().map(|record| record.body).collect();
    assert_eq!(bodies, [b"hi"]);
}

#[tokio::test]
async fn the_same_records_may_be_put_again_and_others_may_not() {
    let archive = Archive::claim(Store::memory(), "default/kv").await.unwrap();
    put(&archive, 1..=10).await;
    put(&archive, 1..=10).await;
    let mut builder = Builder::default();
    (1..=10).for_each(|position| push(&mut builder, position));
    let (name, _) = builder.take().unwrap();
    let conflict = archive.put_group(name, Bytes::from_static(b"other")).await;
    assert!(matches!(conflict, Err(ArchiveError::Conflict { .. })));
}

#[tokio::test]
async fn a_snapshot_that_died_half_way_is_none_and_the_next_attempt_succeeds() {
    let archive = Archive::claim(Store::memory(), "default/kv").await.unwrap();
    let name = SnapshotName { position: 7, time_us: 70, line: 0 };
    let image: Vec<u8> = (0..20 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut dies = archive.begin_snapshot(name, 3);
    dies.write(&image[..10 << 20]).await.unwrap();
    drop(dies);
    assert_eq!(archive.snapshots().await.unwrap(), []);
    let mut again = archive.begin_snapshot(name, 3);
    for piece in image.chunks(1 << 20) {
        again.write(piece).await.unwrap();
    }
    again.finish().await.unwrap();
    assert_eq!(archive.snapshots().await.unwrap(), [name]);
    let manifest = archive.manifest(name).await.unwrap();
    assert_eq!((manifest.bytes(), manifest.epoch), (20 << 20, 3));
    let mut read = vec![];
    while let Some(part) = archive.part(&manifest, read.len() / (8 << 20)).await.unwrap() {
        read.extend_from_slice(&part);
        if read.len() == image.len() {
            break;
        }
    }
    assert!(read == image);
    assert_eq!(archive.part(&manifest, 3).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_before_a_snapshot_goes_and_every_later_moment_stays() {
    let store = Store::memory();
    let archive = Archive::claim(store.clone(), "default/kv").await.unwrap();
    for first in [1, 11, 21, 31] {
        put(&archive, first..=first + 9).await;
    }
    for position in [5, 17, 33] {
        let time_us = position as i64 * 10 + 5;
        let mut image = archive.begin_snapshot(SnapshotName { position, time_us, line: 0 }, 1);
        image.write(b"the image").await.unwrap();
        image.finish().await.unwrap();
    }
    // An attempt that died left a part behind.
    store.put("images/00000000000000000003-1/000000.part", Bytes::new()).await.unwrap();
    let needless = archive.needless_before(17).await.unwrap();
    assert!(needless.len() == 4 && needless[0].starts_with("snapshots/"), "{needless:?}");
    for name in &needless {
        archive.remove(name).await.unwrap();
    }
    assert_eq!(archive.needless_before(17).await.unwrap(), [""; 0]);
    let left = [(11, 20), (21, 30), (31, 40)];
    let groups: Vec<_> = groups(&archive, 0).await.unwrap();
    assert_eq!(groups.iter().map(|name| (name.first, name.last)).collect::<Vec<_>>(), left);
    for target_us in 175..=420 {
        let last = (target_us as u64 / 10).min(40);
        let (base, applied) = restore(&archive, target_us).await.unwrap();
        assert_eq!(applied, (base + 1..=last).collect::<Vec<_>>(), "at {target_us}");
    }
    assert!(restore(&archive, 174).await.is_err(), "that is gone");
}

#[tokio::test]
async fn groups_are_found_from_a_position_on() {
    let archive = Archive::claim(Store::memory(), "default/kv").await.unwrap();
    for first in [1, 11, 21] {
        put(&archive, first..=first + 9).await;
    }
    for (behind, firsts) in [(0, &[1, 11, 21][..]), (10, &[11, 21]), (14, &[11, 21]), (30, &[])] {
        let found = groups(&archive, behind).await.unwrap();
        assert_eq!(found.iter().map(|name| name.first).collect::<Vec<_>>(), firsts);
    }
}

#[tokio::test]
async fn damaged_and_missing_parts_are_typed_refusals() {
    let store = Store::memory();
    let archive = Archive::claim(store.clone(), "default/kv").await.unwrap();
    let name = SnapshotName { position: 7, time_us: 70, line: 0 };
    let mut image = archive.begin_snapshot(name, 1);
    image.write(b"the image").await.unwrap();
    let manifest = image.finish().await.unwrap();
    let part = store.list("images").await.unwrap().remove(0).name;
    store.put(&part, Bytes::from_static(b"the imagf")).await.unwrap();
    let damaged = archive.part(&manifest, 0).await;
    assert!(matches!(damaged, Err(ArchiveError::Damaged { .. })), "{damaged:?}");
    store.delete(&part).await.unwrap();
    let missing = archive.part(&manifest, 0).await.expect_err("it is gone");
    assert!(matches!(missing, ArchiveError::Store(error) if error.is_not_found()));
    store.put(&name.to_string(), Bytes::from_static(b"{}")).await.unwrap();
    assert!(matches!(archive.manifest(name).await, Err(ArchiveError::Damaged { .. })));
}

#[test]
fn a_record_out_of_turn_is_not_taken() {
    let mut builder = Builder::default();
    push(&mut builder, 5);
    let record =
        |position| Record { position, epoch: 1, time_us: 0, stream: 0, kind: 1, body: b"" };
    assert!(!builder.push(&record(5)) && !builder.push(&record(7)));
    let (name, _) = builder.take().unwrap();
    assert_eq!((name.first, name.last), (5, 5));
    assert!(builder.take().is_none());
}

proptest! {
    #[test]
    fn records_read_back_and_no_flipped_bit_goes_unnoticed(
        first in 1_u64..1 << 40,
        records in prop::collection::vec(
            (any::<i64>(), any::<u64>(), any::<u32>(), any::<u8>(),
             prop::collection::vec(any::<u8>(), 0..50)),
            1..20,
        ),
        flip in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut builder = Builder::default();
        for (n, (time_us, epoch, stream, kind, body)) in records.iter().enumerate() {
            let (time_us, epoch, stream, kind) = (*time_us, *epoch, *stream, *kind);
            let position = first + n as u64;
            let record = Record { position, epoch, time_us, stream, kind, body };
            prop_assert!(builder.push(&record));
        }
        let (name, object) = builder.take().unwrap();
        let group = Group::open(name, object.clone()).unwrap();
        prop_assert_eq!(group.records().count(), records.len());
        for (record, (time_us, epoch, stream, kind, body)) in group.records().zip(&records) {
            prop_assert_eq!(
                (record.time_us, record.epoch, record.stream, record.kind, record.body),
                (*time_us, *epoch, *stream, *kind, body.as_slice())
            );
        }
        let mut flipped = object.to_vec();
        let bit = flip.index(flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Group::open(name, flipped.into()).is_err());
        prop_assert!(Group::open(name, object.slice(..cut.index(object.len()))).is_err());
    }
}
