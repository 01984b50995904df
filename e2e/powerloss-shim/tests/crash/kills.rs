//! `kill -9` at random moments, on a real folder with nothing in between.

use std::env;
use std::thread;
use std::time::Duration;

use orrery_powerloss::Random;

use crate::careless::Care;
use crate::stage::{End, Life, PATIENCE, Recovery, Stage};

/// Segments as they are in use, bodies up to 4 KiB, and a tail that grows to tens of megabytes.
const SIZES: &str = "67108864 4096 4000";
const RUNS: u64 = 6;
/// Longest time from the first acknowledged round to the kill, or from the start of the process.
const LIFE_US_MAX: u64 = 300_000;
/// Every so many runs a process is killed while it starts.
const EARLY_EVERY: u64 = 4;
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
    long_tail_cpu: Duration,
}

impl Recoveries {
    fn add(&mut self, life: &Life) {
        let Some(Recovery { time, cpu, tail_bytes }) = life.recovery else { return };
        self.count += 1;
        self.longest = self.longest.max(time);
        if tail_bytes >= LONG_TAIL_BYTES {
            self.long_tails += 1;
            self.long_tail_bytes += tail_bytes;
            self.long_tail_time += time;
            self.long_tail_cpu += cpu;
        }
    }

    fn per_gigabyte(&self, time: Duration) -> f64 {
        time.as_secs_f64() / (self.long_tail_bytes as f64 / 1e9)
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
        let lived = stage.live_through(&mut stage.command(), |child, begins| {
            if !run.is_multiple_of(EARLY_EVERY) {
                begins.recv_timeout(PATIENCE).expect("the process acknowledges something");
            }
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
        "{runs} kills, {acknowledged} acknowledged, {recoveries:?}; {:.2} s and {:.2} CPU s per GB",
        recoveries.per_gigabyte(recoveries.long_tail_time),
        recoveries.per_gigabyte(recoveries.long_tail_cpu),
    );
    assert!(acknowledged > 0, "processes that acknowledge nothing prove nothing");
}
