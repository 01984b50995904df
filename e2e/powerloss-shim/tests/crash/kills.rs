//! `kill -9` at random moments, on a real folder with nothing in between.

use std::env;
use std::thread;
use std::time::Duration;

use orrery_powerloss::Random;

use crate::careless::Care;
use crate::stage::{End, Life, Stage};

/// Segments as they are in use, bodies up to 4 KiB, and a tail that grows to tens of megabytes.
const SIZES: &str = "67108864 4096 4000";
const RUNS: u64 = 6;
/// Longest time from the start of a process to its end.
const LIFE_US_MAX: u64 = 400_000;
/// A shorter tail says more about the start of a process than about the reading of it.
const LONG_TAIL_BYTES: u64 = 16 << 20;

/// How long it took to open the journals and replay them.
#[derive(Debug, Default)]
struct Recoveries {
    count: u64,
    longest: Duration,
    long_tails: u64,
    long_tail_bytes: u64,
    long_tail_time: Duration,
}

impl Recoveries {
    fn add(&mut self, life: &Life) {
        let Some((time, bytes)) = life.recovery else { return };
        self.count += 1;
        self.longest = self.longest.max(time);
        if bytes >= LONG_TAIL_BYTES {
            self.long_tails += 1;
            self.long_tail_bytes += bytes;
            self.long_tail_time += time;
        }
    }

    fn seconds_per_gigabyte(&self) -> f64 {
        self.long_tail_time.as_secs_f64() / (self.long_tail_bytes as f64 / 1e9)
    }
}

/// Goal: what was acknowledged survives a kill, once and in order. Method: kills after a random time,
/// which may fall into the opening. `ORRERY_CRASH_RUNS` asks for more of them.
#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_a_kill() {
    let runs = env::var("ORRERY_CRASH_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let mut random = Random::new(u64::from(std::process::id()) << 20);
    let mut stage = Stage::new(Care::Full, SIZES);
    let (mut acknowledged, mut recoveries) = (0, Recoveries::default());
    for run in 0..runs {
        let life = Duration::from_micros(random.below(LIFE_US_MAX));
        let lived = stage.live_through(&mut stage.command(), |child| {
            // Not to wait for anything: this is the random moment.
            thread::sleep(life);
            child.kill().unwrap();
        });
        let (life, end) = lived.unwrap_or_else(|what| panic!("run {run}: {what}"));
        assert_eq!(end, End::Killed, "run {run}: the disk failed");
        acknowledged += life.rounds;
        recoveries.add(&life);
        stage.assert_undamaged().unwrap_or_else(|what| panic!("run {run}: {what}"));
    }
    println!(
        "{runs} kills, {acknowledged} acknowledged, {recoveries:?}, {:.2} s per GB of tail",
        recoveries.seconds_per_gigabyte()
    );
    assert!(acknowledged > 0, "processes that acknowledge nothing prove nothing");
}
