//! The carrier in memory passes what every carrier must, also when calls go wrong.

use std::sync::Arc;

use orrery_journal::carrier::suite::{self, Open, SHARD};
use orrery_journal::carrier::{MemoryCarrier, Trouble};
use orrery_journal::{Carrier, CarrierError, Epoch, Group, Owner, Position, Record};

fn open(carrier: MemoryCarrier) -> Box<Open> {
    Box::new(move || Arc::new(carrier.clone()))
}

#[test]
fn the_one_in_memory_passes() {
    suite::run(&|| open(MemoryCarrier::new(SHARD)), &|_| {});
}

#[test]
fn it_passes_when_requests_and_answers_are_lost() {
    for seed in 0..4 {
        let fresh = || {
            let carrier = MemoryCarrier::new(SHARD);
            carrier.set_chances(seed, 200);
            open(carrier)
        };
        suite::run(&fresh, &|_| {});
    }
}

#[test]
fn a_planned_trouble_does_what_it_says() {
    let carrier = MemoryCarrier::new(SHARD);
    let owner = Owner { epoch: Epoch(1), token: 1 };
    carrier.take_over(owner).expect("it is free");
    let record = Record { stream: 0, kind: 0, time_us: 0, body: b"a" };
    let group = Group::of(SHARD, Epoch(1), Position(1), &[record]);
    carrier.plan([Trouble::Refused, Trouble::Unanswered]);
    for last in [0, 1] {
        let lost = carrier.append(owner, &group);
        assert!(matches!(lost, Err(CarrierError::Unavailable { .. })), "{lost:?}");
        assert_eq!(carrier.look().expect("it answers").last, Position(last));
    }
    carrier.append(owner, &group).expect("it is there");
    assert_eq!(carrier.read(Position(0), 1).expect("one").len(), 1);
}
