//! An archive in a store in memory: written, continued, damaged, followed back.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use orrery_archive::group::{Builder, Group, Record};
use orrery_archive::{Archive, ArchiveError, GroupName, SnapshotName, Target, base, plan};
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
    let (snapshots, target) = (archive.snapshots().await?, Target::Time(target_us));
    let base = base(&snapshots, target).map_or(0, |snapshot| snapshot.position);
    let plan = plan(&snapshots, &groups(archive, base).await?, target)?;
    let mut applied = vec![];
    for (number, name) in plan.groups.iter().enumerate() {
        let group = archive.group(*name).await?;
        let reached = applied.last().copied().unwrap_or(base);
        let is_last = number + 1 == plan.groups.len();
        let end = if is_last { group.last_at(target_us).unwrap_or(0) } else { name.last };
        let new = group.records().map(|record| record.position);
        applied.extend(new.filter(|position| (reached + 1..=end).contains(position)));
    }
    Ok((base, applied))
}

#[tokio::test]
async fn every_moment_is_reached_exactly() {
    let archive = Archive::claim(Store::memory(), "default/kv").await.unwrap();
    for first in [1, 11, 21, 31] {
        put(&archive, first..=first + 9).await;
    }
    let mut image = archive.begin_snapshot(SnapshotName { position: 17, time_us: 175 }, 1);
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
    let name = SnapshotName { position: 7, time_us: 70 };
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
        let mut image = archive.begin_snapshot(SnapshotName { position, time_us }, 1);
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
    let name = SnapshotName { position: 7, time_us: 70 };
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
