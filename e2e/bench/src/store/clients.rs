//! Closed-loop clients: as threads that block, and as tasks of one thread. Each commits a row under a
//! key of its own, waits until it is durable, and begins again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::CLIENTS;
use crate::measured::{Begun, Measured};

/// What is stored under each key.
pub const VALUE: [u8; 150] = [0x5a; 150];

/// A key that no other commit has: of random order, as the keys of many users are.
pub type Key = [u8; 24];

/// Numbers of commits, of all runs of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub fn fresh_key() -> Key {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    let mut key = [0; 24];
    key[..8].copy_from_slice(&mixed.to_be_bytes());
    key[8..16].copy_from_slice(&number.to_be_bytes());
    key
}

/// A thread for each client.
pub fn threads(
    commits: u64,
    commit: &(dyn Fn(&Key) -> Result<(), String> + Sync),
) -> Result<Measured, String> {
    let begun = Begun::now()?;
    let done = AtomicU64::new(0);
    let client = || {
        let mut latencies = Vec::new();
        while done.fetch_add(1, Ordering::Relaxed) < commits {
            let since = Instant::now();
            commit(&fresh_key())?;
            latencies.push(since.elapsed());
        }
        Ok::<_, String>(latencies)
    };
    let latencies: Result<Vec<Vec<Duration>>, String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let ended = clients.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.map(|latencies| latencies.map_err(|_| "a client panicked".to_owned())?).collect()
    });
    begun.measured(latencies?.concat())
}
