//! Bugs are planted between real clients and a real engine, and in a group that acknowledges too early:
//! the histories must show every one of them.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::backend::Backend;
use super::faults::{Fault, Way};
use super::judge::{Count, judge};
use super::liar::{Lie, liar};
use super::service::{Primary, Service};
use super::stage::Stage;
use super::{observed, with_clients};
use crate::process::Engine;
use crate::replication::group::eventually;

/// After so many every lie was told many times.
const OPERATIONS: u64 = 1000;

fn told(lie: Lie) -> Result<Count, String> {
    let engine = Engine::start("");
    let service = Service::new(1);
    service.lead_to(Primary { pod: 0, epoch: 1, port: liar(lie, engine.port) });
    let history = observed(&service, "planted", 1, || {
        eventually("clients did much", || (service.number() > OPERATIONS).then_some(()));
    });
    judge(&history)
}

#[test]
fn lies_of_a_pod_are_found_and_named() {
    told(Lie::None).expect("without a lie all is well");
    let lies = [
        (Lie::OldRead, "have no order"),
        (Lie::LostWrite, "have no order"),
        (Lie::RefusedAndDone, "was refused, and was read all the same"),
        (Lie::OldList, "was acknowledged before, and is not in"),
        (Lie::LostElement, "was acknowledged and is lost"),
        (Lie::Twice, "is there 2 times"),
    ];
    for (lie, words) in lies {
        let found = told(lie).expect_err("a lie is found");
        assert!(found.contains(words), "{lie:?}: {found}");
    }
}

#[test]
fn a_group_that_acknowledges_what_no_follower_has_is_found() {
    let mut stage = Stage::start_as(Backend::Local, 0).expect("it needs nothing else");
    let mut random = StdRng::seed_from_u64(1);
    let service = Arc::clone(&stage.service);
    let history = with_clients(&mut stage, "early", 1, |stage| {
        eventually("clients did something", || (service.number() > 200).then_some(()));
        Fault::Cut(Way::BreaksOff).strike(stage, &mut random);
    });
    let found = judge(&history).expect_err("what only the old primary had is lost");
    assert!(found.contains("was acknowledged and is lost"), "{found}");
}
