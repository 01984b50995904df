//! Random commits on an engine and on its twin in memory: the same answers, the same rows, across
//! reopening. `ORRERY_STORE_SEED` repeats a run, `ORRERY_STORE_STEPS` makes it longer.

use std::env;
use std::sync::Arc;

use crate::{Check, Commit, Options, Store, Ticket, Version, Write};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Fixture, Make, fresh_seed};

const STEPS: u64 = 600;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap())
}

fn key(random: &mut StdRng) -> Bytes {
    let length = random.random_range(1..=3);
    (0..length).map(|_| random.random_range(b'a'..=b'c')).collect()
}

fn end(random: &mut StdRng) -> Bytes {
    if random.random_bool(0.2) { Bytes::new() } else { key(random) }
}

/// Sometimes a number, so that `Add` and `Max` find some.
fn value(random: &mut StdRng) -> Bytes {
    match random.random_range(0..3) {
        0 => Bytes::copy_from_slice(&random.random_range(0..9_u64).to_be_bytes()),
        1 => Bytes::copy_from_slice(&random.random::<u64>().to_be_bytes()),
        _ => key(random),
    }
}

fn random_write(random: &mut StdRng, now_us: i64) -> Write {
    match random.random_range(0..13) {
        0..4 => Write::Put(key(random), value(random)),
        4 => {
            let until_us = now_us + random.random_range(-2..20);
            Write::PutUntil(key(random), value(random), until_us)
        }
        5..7 => Write::Delete(key(random)),
        7 => Write::DeleteRange(key(random), end(random)),
        8 => Write::Add(key(random), random.random_range(-9..9)),
        9 => Write::Add(key(random), random.random()),
        11 => Write::DeleteExpired(key(random)),
        10 => Write::Max(key(random), random.random_range(0..9)),
        _ => Write::PutVersioned { prefix: key(random), value: value(random) },
    }
}

fn random_check(random: &mut StdRng) -> Check {
    match random.random_range(0..4) {
        0 => Check::Key(key(random)),
        1 => Check::Range(key(random), end(random)),
        2 => Check::Absent(key(random)),
        _ => Check::Equals(key(random), value(random)),
    }
}

fn random_commit(random: &mut StdRng, durable: Version, now_us: i64) -> Commit {
    let checks = if random.random_bool(0.5) { random.random_range(1..3) } else { 0 };
    let writes = random.random_range(0..5);
    Commit {
        read_version: Version(durable.0.saturating_sub(random.random_range(0..6))),
        checks: (0..checks).map(|_| random_check(random)).collect(),
        writes: (0..writes).map(|_| random_write(random, now_us)).collect(),
        idempotency: random.random_bool(0.3).then(|| [random.random_range(0..40); 16]),
    }
}

fn assert_same_rows(random: &mut StdRng, left: &Arc<dyn Store>, right: &Arc<dyn Store>) {
    let (left, right) = (left.snapshot().unwrap(), right.snapshot().unwrap());
    assert_eq!(left.version(), right.version());
    let everything = left.scan(b"", b"", false, usize::MAX).unwrap();
    assert_eq!(everything, right.scan(b"", b"", false, usize::MAX).unwrap());
    let (from, to, reverse) = (key(random), end(random), random.random());
    let limit = random.random_range(0..5);
    let part = left.scan(&from, &to, reverse, limit).unwrap();
    assert_eq!(part, right.scan(&from, &to, reverse, limit).unwrap());
    assert_eq!(left.get(&[&from, &to]).unwrap(), right.get(&[&from, &to]).unwrap());
}

/// Goal: a group of commits on an engine answers as the same commits one by one on the twin.
/// Method: bursts without waiting between, so that groups form; the clock stands still meanwhile.
pub fn agrees_with_its_twin(make: Make<'_>) {
    let seed = number("ORRERY_STORE_SEED").unwrap_or_else(fresh_seed);
    let steps = number("ORRERY_STORE_STEPS").unwrap_or(STEPS);
    println!("ORRERY_STORE_SEED={seed} ORRERY_STORE_STEPS={steps}");
    let random = &mut StdRng::seed_from_u64(seed);
    let options = Options { receipts_max: 16, delete_range_rows_max: 12, ..Options::default() };
    let (engine, twin) = (make(options), Fixture::memory(options));
    let (mut left, mut right) = (engine.open(0), twin.open(0));
    let mut accepted = 0;
    for step in 0..steps {
        let now_us = i64::try_from(step).unwrap();
        engine.clock.set(now_us);
        twin.clock.set(now_us);
        let held = random.random_bool(0.1).then(|| {
            let (left, right) = (left.snapshot().unwrap(), right.snapshot().unwrap());
            (left, right)
        });
        let burst = random.random_range(1..12);
        let commits: Vec<Commit> =
            (0..burst).map(|_| random_commit(random, right.durable(), now_us)).collect();
        let tickets: Vec<Ticket> =
            commits.iter().map(|commit| left.commit(commit.clone())).collect();
        for (commit, ticket) in commits.into_iter().zip(tickets) {
            let shown = format!("{commit:?}");
            let (found, expected) = (ticket.wait(), right.commit(commit).wait());
            assert_eq!(found, expected, "step {step}, seed {seed}: {shown}");
            accepted += u64::from(found.is_ok());
        }
        assert_same_rows(random, &left, &right);
        if let Some((held_left, held_right)) = held {
            let rows = held_left.scan(b"", b"", false, usize::MAX).unwrap();
            assert_eq!(rows, held_right.scan(b"", b"", false, usize::MAX).unwrap());
        }
        if random.random_bool(0.01) {
            drop((left, right));
            let epoch = step + 1;
            (left, right) = (engine.open(epoch), twin.open(epoch));
            assert_same_rows(random, &left, &right);
        }
    }
    assert!(accepted > steps, "most commits must be carried out, {accepted} were");
}
