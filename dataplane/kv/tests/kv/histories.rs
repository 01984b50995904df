//! What clients saw while pods were killed, slept, were cut off and replaced, judged by the checkers of
//! `orrery-history`: registers are linearizable, transactions over lists strictly serializable, and
//! the books of what was acknowledged are right. The test is the operator.
//!
//! `ORRERY_HISTORIES` sets the number of runs of each backend, `ORRERY_HISTORIES_SEED` repeats one.

#[path = "histories/backend.rs"]
mod backend;
#[path = "histories/clients.rs"]
mod clients;
#[path = "histories/clock.rs"]
mod clock;
#[path = "histories/connection.rs"]
mod connection;
#[path = "histories/faults.rs"]
mod faults;
#[path = "histories/judge.rs"]
mod judge;
#[path = "histories/liar.rs"]
mod liar;
#[path = "histories/planted.rs"]
mod planted;
#[path = "histories/proxy.rs"]
mod proxy;
#[path = "histories/service.rs"]
mod service;
#[path = "histories/stage.rs"]
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use backend::Backend;
use clients::{Client, History};
use faults::{Fault, pause};
use judge::{Count, judge};
use service::Service;
use stage::Stage;

const CLIENTS: u32 = 5;
/// Runs of each backend, unless `ORRERY_HISTORIES` says otherwise.
const RUNS: u64 = 3;

#[test]
fn a_group_of_its_own() {
    runs(Backend::Local);
}

#[test]
fn a_journal_in_postgresql() {
    runs(Backend::Postgres);
}

#[test]
fn a_journal_in_a_folder() {
    runs(Backend::ObjectStore);
}

#[test]
fn a_journal_in_a_bucket() {
    runs(Backend::Bucket);
}

fn runs(backend: Backend) {
    let mut stage = match Stage::start(backend) {
        Ok(stage) => stage,
        Err(why) => return println!("not run: {why}"),
    };
    let first = orrery_e2e_tests::setting("ORRERY_HISTORIES_SEED", std::process::id().into());
    let runs = orrery_e2e_tests::setting("ORRERY_HISTORIES", RUNS);
    let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
    let mut count = Count::default();
    for seed in first..first + runs {
        let (history, struck) = run(&mut stage, seed);
        for fault in &struck {
            *faults.entry(*fault).or_default() += 1;
        }
        let what = format!("{backend:?}, ORRERY_HISTORIES_SEED={seed}, {struck:?}");
        count.add(&judge(&history).unwrap_or_else(|found| panic!("{what}\n{found}")));
    }
    println!("{backend:?}: {runs} runs from seed {first}, {faults:?}, {count}");
    assert!(count.done > 0 && !faults.is_empty(), "they did work");
}

/// Clients work while one or two faults strike; in the end everything is read.
fn run(stage: &mut Stage, seed: u64) -> (History, Vec<Fault>) {
    let mut random = StdRng::seed_from_u64(seed);
    let struck: Vec<Fault> =
        (0..random.random_range(1..3)).map(|_| Fault::draw(&mut random, stage)).collect();
    let prefix = format!("h{seed}-{}", stage.service.number());
    let history = with_clients(stage, &prefix, seed, |stage| {
        for fault in &struck {
            pause(&mut random, 30..250);
            fault.strike(stage, &mut random);
        }
        pause(&mut random, 30..150);
    });
    (history, struck)
}

/// Ends the work of clients when it is dropped.
struct End<'a>(&'a Service);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

/// What clients see while something is done to the group, and what is there in the end.
fn with_clients(
    stage: &mut Stage,
    prefix: &str,
    seed: u64,
    act: impl FnOnce(&mut Stage),
) -> History {
    let service = Arc::clone(&stage.service);
    observed(&service, prefix, seed, || act(stage))
}

/// The same of any service.
fn observed(service: &Service, prefix: &str, seed: u64, act: impl FnOnce()) -> History {
    service.is_over.store(false, Ordering::Release);
    let mut history = thread::scope(|scope| {
        let work = |number| move || Client::new(service, prefix, number, seed).work();
        let workers: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(work(number))).collect();
        {
            // Also if it panics: nobody would end.
            let _end = End(service);
            act();
        }
        let mut all = History::default();
        for worker in workers {
            all.extend(worker.join().expect("a client's answers are right"));
        }
        all
    });
    history.extend(Client::new(service, prefix, CLIENTS, seed).read_all());
    history
}
