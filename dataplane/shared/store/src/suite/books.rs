//! The books of crash tests: what writers commit, and what must be true of what is left.
//!
//! Each writer commits numbered rounds: a slot of its own, a copy of it, a row that only this round
//! has, an outbox row under the version, and an addition to one total. Nothing else is committed, so
//! the version is the number of rounds, and each state is a prefix of the history or it shows.

use std::sync::Arc;

use super::bytes;
use crate::{Check, Commit, Snapshot, Store, Version, Write};
use bytes::Bytes;

pub const WRITERS: usize = 32;

/// The last round of each writer, and the version it got.
pub type Rounds = [(u64, Version); WRITERS];

fn slot(writer: usize) -> String {
    format!("slot/{writer:02}")
}

fn copy(writer: usize) -> String {
    format!("copy/{writer:02}")
}

fn number(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
}

/// The last round of a writer.
pub fn last_round(store: &Arc<dyn Store>, writer: usize) -> u64 {
    let found = store.snapshot().unwrap().get(&[slot(writer).as_bytes()]).unwrap();
    number(found[0].as_ref())
}

pub fn round_commit(writer: usize, round: u64) -> Commit {
    let slot = slot(writer);
    let written = Bytes::copy_from_slice(&round.to_be_bytes());
    let before = Bytes::copy_from_slice(&(round - 1).to_be_bytes());
    let check =
        if round == 1 { Check::Absent(bytes(&slot)) } else { Check::Equals(bytes(&slot), before) };
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(writer as u64).to_be_bytes());
    key[8..].copy_from_slice(&round.to_be_bytes());
    Commit {
        checks: vec![check],
        writes: vec![
            Write::Put(bytes(&slot), written.clone()),
            Write::Put(bytes(&copy(writer)), written),
            Write::Put(bytes(&format!("row/{writer:02}/{round:08}")), Bytes::from(vec![7; 400])),
            Write::PutVersioned { prefix: bytes("out/"), value: bytes(&format!("{writer}")) },
            Write::Add(bytes("total"), 1),
        ],
        idempotency: Some(key),
        ..Commit::default()
    }
}

/// Whether a snapshot is a prefix of the history, as far as that can be told at little cost: the
/// version, the slots, their copies, the total and the newest outbox row say the same.
pub fn is_prefix(snapshot: &dyn Snapshot) -> Result<(), String> {
    let version = snapshot.version().0;
    let names: Vec<String> = (0..WRITERS)
        .flat_map(|writer| [slot(writer), copy(writer)])
        .chain(["total".into()])
        .collect();
    let keys: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    let found = snapshot.get(&keys).map_err(|error| error.to_string())?;
    let numbers: Vec<u64> = found.iter().map(|value| number(value.as_ref())).collect();
    let (total, slots) = numbers.split_last().unwrap();
    if let Some(torn) = slots.chunks(2).position(|pair| pair[0] != pair[1]) {
        return Err(format!("version {version}: a commit of writer {torn} is torn"));
    }
    let rounds: u64 = slots.iter().step_by(2).sum();
    if (rounds, *total) != (version, version) {
        return Err(format!("version {version}: {rounds} rounds, a total of {total}"));
    }
    let newest = snapshot.scan(b"out/", b"out0", true, 1).map_err(|error| error.to_string())?;
    let newest = newest
        .first()
        .map_or(0, |(key, _)| u64::from_be_bytes(key["out/".len()..].try_into().unwrap()));
    if newest != version {
        return Err(format!("version {version}: the newest outbox row is of {newest}"));
    }
    Ok(())
}

/// The last round of each writer in the store; everything that belongs to it must be there, once, and
/// the versions without a gap.
pub fn assert_whole(store: &Arc<dyn Store>) -> [u64; WRITERS] {
    let snapshot = store.snapshot().unwrap();
    is_prefix(&*snapshot).unwrap();
    assert_eq!(store.durable(), snapshot.version());
    let mut rounds = [0; WRITERS];
    for (writer, round) in rounds.iter_mut().enumerate() {
        *round = last_round(store, writer);
        let (from, to) = (format!("row/{writer:02}/"), format!("row/{writer:02}0"));
        let rows = snapshot.scan(from.as_bytes(), to.as_bytes(), false, usize::MAX).unwrap();
        let expected = (1..=*round).map(|round| format!("row/{writer:02}/{round:08}"));
        assert!(rows.into_iter().map(|(key, _)| key).eq(expected), "writer {writer}: its rows");
    }
    let out = snapshot.scan(b"out/", b"out0", false, usize::MAX).unwrap();
    let versions = out.iter().map(|(key, _)| key["out/".len()..].to_vec());
    let expected = (1..=snapshot.version().0).map(|version| version.to_be_bytes().to_vec());
    assert!(versions.eq(expected), "a version is missing or there twice");
    let mut of_writer = [0; WRITERS];
    for (_, writer) in out {
        let writer: usize = std::str::from_utf8(&writer).unwrap().parse().unwrap();
        of_writer[writer] += 1;
    }
    assert_eq!(of_writer, rounds, "outbox rows of each writer");
    rounds
}

/// Holds what is left against what was acknowledged, and asks again for the last round of each
/// writer: it must answer the version it had, and carry nothing out.
pub fn assert_kept(store: &Arc<dyn Store>, promised: &Rounds) -> Rounds {
    let found = assert_whole(store);
    let mut kept = [(0, Version(0)); WRITERS];
    for (writer, (round, version)) in promised.iter().enumerate() {
        let left = found[writer];
        // One more may have been committed without its answer.
        assert!(left == *round || left == round + 1, "writer {writer}: {left} left of {round}");
        if left == 0 {
            continue;
        }
        let again = store.commit(round_commit(writer, left)).wait().unwrap();
        if left == *round {
            assert_eq!(again, *version, "writer {writer}: round {round} got another version");
        }
        kept[writer] = (left, again);
    }
    assert_eq!(assert_whole(store), found, "asking again carried something out");
    kept
}
