//! Everything at once, by a seed: whatever happens, a call has one outcome, and nothing stays behind.

use std::collections::HashMap;
use std::time::Duration;

use orrery_scheduler::dispatch::{AdHoc, HttpAction, Options, Target};
use orrery_scheduler::run::{Call, RunId};

use super::rig::{Rig, ad_hoc, http, named, now_ms, run, wait_until};
use super::server::{Server, Then, answer, wait_for_close};

/// A generator that gives the same numbers for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// Does what the path says.
fn fickle() -> Server {
    Server::start(|request, stream| match request.path.as_str() {
        "/reset" => Then::Reset,
        "/close" => Then::Close,
        "/silent" => {
            wait_for_close(stream);
            Then::Close
        }
        "/slow" => {
            std::thread::sleep(Duration::from_millis(5));
            answer(stream, 200, &[], "")
        }
        "/busy" => answer(stream, 503, &[], ""),
        _ => answer(stream, 200, &[], "x"),
    })
}

#[test]
fn whatever_happens_a_call_has_one_outcome_and_nothing_stays_behind() {
    for seed in 0..3 {
        storm(seed);
    }
}

fn storm(seed: u64) {
    const CALLS: u64 = 1_500;
    let mut dice = Dice(seed);
    let servers: Vec<Server> = (0..4).map(|_| fickle()).collect();
    let few = AdHoc { targets_max: 2, max_in_flight: 3, ..AdHoc::default() };
    let options = Options {
        allow_loopback: true,
        ad_hoc: few,
        in_flight_max: 20,
        threads: 1 + (seed % 2) as usize,
        ..Options::default()
    };
    let rate_per_second = Some(2_000);
    let targets = vec![
        Target { max_in_flight: 2, ..Target::new("narrow") },
        Target { rate_per_second, ..Target::new("measured") },
    ];
    let rig = Rig::with(options, targets);
    let mut attempts = HashMap::<RunId, u32>::new();
    for number in 0..CALLS {
        let paths = ["/", "/", "/", "/reset", "/close", "/silent", "/slow", "/busy"];
        let uri = servers[dice.roll(4) as usize].uri(paths[dice.roll(8) as usize]);
        let mut action: HttpAction = match dice.roll(4) {
            0 => named("narrow", &uri),
            1 => named("measured", &uri),
            _ => ad_hoc(&uri),
        };
        action.timeout = Duration::from_millis(20);
        let call = Call {
            priority: dice.roll(10) as u8,
            tenant: ["a", "b", "c"][dice.roll(3) as usize].into(),
            planned_ms: now_ms() - dice.roll(1_000) as i64,
            expires_ms: (dice.roll(3) == 0).then(|| now_ms() + dice.roll(100) as i64),
            ..http(number, action)
        };
        attempts.insert(call.run, call.attempt);
        rig.dispatcher.hand_over(vec![call]);
        if dice.roll(4) == 0 {
            rig.dispatcher.cancel(run(dice.roll(number + 1)));
        }
        if dice.roll(100) == 0 {
            std::thread::sleep(Duration::from_millis(dice.roll(10)));
        }
    }
    for (run, attempt, outcome) in rig.wait_for_count(CALLS as usize) {
        assert_eq!(attempts.remove(&run), Some(attempt), "seed {seed}: {outcome:?}");
    }
    assert_eq!(attempts.len(), 0, "seed {seed}");
    wait_until(|| rig.dispatcher.room() == Options::default().calls_max);
    for figures in rig.dispatcher.figures() {
        assert_eq!((figures.queued, figures.in_flight), (0, 0), "seed {seed}: {figures:?}");
    }
    assert!(rig.dispatcher.figures().len() <= 4, "seed {seed}");
    // Requests that were dropped are dropped at their servers as well.
    wait_until(|| servers.iter().all(|server| server.at_work() == 0));
}
