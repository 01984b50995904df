//! Owners that disturb each other at the level of Kafka, where every record moves those that were to
//! lie in its place, whoever it belongs to.

use crate::broker::shared;
use orrery_journal::{Carrier, CarrierError, Owner};

use crate::history::{again, group, owner, records};

/// Goal: who has no right to the journal does not keep the owner from writing on, whatever it tries.
#[test]
fn an_owner_goes_on_after_others_tried_to_take_over() {
    let Some((world, _guard)) = shared() else { return };
    let (old, new) = (world.carrier("tried"), world.carrier("tried"));
    again(|| old.prepare()).unwrap();
    again(|| old.take_over(owner(1))).unwrap();
    again(|| old.append(owner(1), &group(1, 1, &[b"a"]))).unwrap();
    again(|| new.take_over(owner(3))).unwrap();
    let other = Owner { token: 5, ..owner(3) };
    for number in 2..6 {
        for refused in [
            again(|| old.take_over(owner(2))).map(drop),
            again(|| old.take_over(other)).map(drop),
            again(|| old.append(owner(1), &group(1, number, &[b"stale"]))),
            again(|| old.append(other, &group(3, number, &[b"stale"]))),
        ] {
            let is_fenced = matches!(refused, Err(CarrierError::Fenced { held }) if held.0 == 3);
            assert!(is_fenced, "{refused:?}");
        }
        again(|| new.append(owner(3), &group(3, number, &[b"b"]))).unwrap();
    }
    assert_eq!(records(&old).len(), 5);
}

/// Goal: two clients of one owner are in each other's way, and both get on.
#[test]
fn two_clients_of_one_owner_take_turns() {
    let Some((world, _guard)) = shared() else { return };
    let clients = [world.carrier("turns"), world.carrier("turns")];
    again(|| clients[0].prepare()).unwrap();
    again(|| clients[0].take_over(owner(1))).unwrap();
    for number in 1..=6 {
        let group = group(1, number, &[b"a"]);
        for client in &clients {
            again(|| client.append(owner(1), &group)).unwrap();
        }
    }
    let ahead = again(|| clients[1].append(owner(1), &group(1, 9, &[b"x"])));
    assert!(
        matches!(ahead, Err(CarrierError::OutOfPlace { last, .. }) if last.0 == 6),
        "{ahead:?}"
    );
    assert_eq!(records(&clients[0]).len(), 6);
}
