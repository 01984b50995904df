//! Closed-loop clients: as threads that block, and as tasks of one thread. Each commits a row under a
//! key of its own, waits until it is durable, and begins again.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::CLIENTS;
use crate::journal::cpu_time;

/// What is stored under each key.
pub const VALUE: [u8; 150] = [0x5a; 150];

/// A key that no other commit has: of random order, as the keys of many users are.
pub type Key = [u8; 24];

/// Numbers of commits, of all runs of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn fresh_key() -> Key {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    let mut key = [0; 24];
    key[..8].copy_from_slice(&mixed.to_be_bytes());
    key[8..16].copy_from_slice(&number.to_be_bytes());
    key
}

/// Figures of one run.
#[derive(Debug)]
pub struct Measured {
    pub per_second: f64,
    /// Of this process, and of a server that somebody adds.
    pub cpu_us_per_commit: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// When a run began.
struct Begun {
    at: Instant,
    cpu: Duration,
}

impl Begun {
    fn now() -> Result<Self, String> {
        Ok(Self { at: Instant::now(), cpu: cpu_time()? })
    }

    fn measured(&self, mut latencies: Vec<Duration>) -> Result<Measured, String> {
        let (elapsed, used) = (self.at.elapsed(), cpu_time()?.saturating_sub(self.cpu));
        latencies.sort_unstable();
        let count = latencies.len().max(1);
        let ms = |at: usize| latencies.get(at).map_or(0.0, |found| found.as_secs_f64() * 1e3);
        Ok(Measured {
            per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
            cpu_us_per_commit: used.as_secs_f64() * 1e6 / count as f64,
            p50_ms: ms(count / 2),
            p99_ms: ms(count * 99 / 100),
        })
    }
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

/// A task for each client, all on the thread that polls this; a client knows its number.
pub async fn tasks<C, F>(commits: u64, commit: C) -> Result<Measured, String>
where
    C: Fn(usize, Key) -> F + Clone + 'static,
    F: Future<Output = Result<(), String>>,
{
    let begun = Begun::now()?;
    let done = std::rc::Rc::new(Cell::new(0));
    let local = LocalSet::new();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (commit, done) = (commit.clone(), done.clone());
            local.spawn_local(async move {
                let mut latencies = Vec::new();
                while done.replace(done.get() + 1) < commits {
                    let since = Instant::now();
                    commit(number, fresh_key()).await?;
                    latencies.push(since.elapsed());
                }
                Ok::<_, String>(latencies)
            })
        })
        .collect();
    local
        .run_until(async {
            let mut latencies = Vec::new();
            for client in clients {
                latencies.append(&mut client.await.map_err(|error| error.to_string())??);
            }
            begun.measured(latencies)
        })
        .await
}
