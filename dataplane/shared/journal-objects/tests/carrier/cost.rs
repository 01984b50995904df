//! How many requests calls take, that they end when nobody answers, and that they do not wait for each
//! other.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use orrery_journal::carrier::{Carrier, CarrierError};
use orrery_journal::{Epoch, Position};

use crate::faulty::Between;
use crate::machine::{History, Machine, again, client, client_with, group, owner, recover};

fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, CarrierError>) {
    assert!(matches!(result, Err(CarrierError::Unavailable { .. })), "{result:?}");
}

#[test]
fn an_append_is_one_put_and_recovery_one_get_per_group() {
    const GROUPS: u64 = 300;
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut machine = Machine::begin(client(&objects), 1).unwrap();
    let before = machine.carrier.requests();
    for _ in 0..GROUPS {
        machine.append(&["body"]).unwrap();
    }
    let after = machine.carrier.requests();
    assert_eq!((after.puts - before.puts, after.lists - before.lists), (GROUPS, 0));

    let reader = client(&objects);
    let mut history = History::default();
    again(|| history.follow(&reader, 1 << 20)).unwrap();
    assert_eq!(history, machine.history);
    let read = reader.requests();
    assert_eq!((read.puts, read.deletes), (0, 0));
    assert!((GROUPS..GROUPS + 60).contains(&read.gets), "{read:?}");
    again(|| history.follow(&reader, 1 << 20)).unwrap();
    assert_eq!(reader.requests().gets - read.gets, 2, "there is nothing new");

    let next = client(&objects);
    next.take_over(owner(2)).unwrap();
    let taken = next.requests();
    assert_eq!((taken.puts, taken.lists), (2, 3), "{taken:?}");
    assert!(taken.gets < 40, "{taken:?}");
    println!("to take over a journal of {GROUPS} groups: {taken:?}");
}

#[test]
fn a_store_that_does_not_answer_is_given_up_and_asked_again() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let between = Arc::new(Between::new(objects));
    let over: Arc<dyn ObjectStore> = between.clone();
    let carrier = client_with(&over, Duration::from_millis(50));
    again(|| carrier.take_over(owner(1))).unwrap();
    let first = group(1, 1, &["a"]);
    carrier.append(owner(1), &first).unwrap();
    let (saved, state) = History(vec![(1, "a".to_owned())]).snapshot(1);
    carrier.save(owner(1), saved, &mut state.as_slice()).unwrap();
    let mut loading = carrier.load(saved.at).unwrap();
    let next = group(1, 2, &["b"]);
    let newcomer = client_with(&over, Duration::from_millis(50));

    between.set_silent(true);
    is_unavailable(&carrier.append(owner(1), &next));
    is_unavailable(&carrier.look());
    is_unavailable(&carrier.read(Position(1), 1 << 20));
    is_unavailable(&carrier.save(owner(1), saved, &mut state.as_slice()));
    is_unavailable(&carrier.trim(owner(1), Position(1)));
    is_unavailable(&carrier.take_over(owner(2)));
    is_unavailable(&carrier.load(saved.at).map(|_| ()));
    is_unavailable(&newcomer.prepare());
    between.set_silent(false);

    let mut content = vec![];
    loading.read_to_end(&mut content).unwrap();
    assert_eq!(content, state);
    again(|| carrier.append(owner(1), &next)).unwrap();
    let bodies: Vec<String> =
        recover(&client(&over)).unwrap().0.into_iter().map(|(_, b)| b).collect();
    assert_eq!(bodies, ["a", "b"]);
}

#[test]
fn an_append_does_not_wait_for_a_snapshot() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let between = Arc::new(Between::new(objects));
    let over: Arc<dyn ObjectStore> = between.clone();
    let mut machine = Machine::begin(client(&over), 1).unwrap();
    machine.append(&["a"]).unwrap();
    let (saved, state) = machine.history.snapshot(1);
    let (reached, is_reached) = sync_channel(1);
    let (release, is_released) = sync_channel::<()>(1);
    thread::scope(|scope| {
        // The first request asks for the owner, the next one puts a piece.
        let event = move || {
            reached.send(()).unwrap();
            is_released.recv().unwrap();
        };
        between.plan(1, false, Box::new(event));
        let carrier = &machine.carrier;
        let saving = scope.spawn(move || carrier.save(owner(1), saved, &mut state.as_slice()));
        is_reached.recv().unwrap();
        for position in 2..20 {
            carrier.append(owner(1), &group(1, position, &["b"])).unwrap();
        }
        assert_eq!(client(&over).look().unwrap().snapshot, None);
        release.send(()).unwrap();
        saving.join().unwrap().unwrap();
    });
    let found = client(&over).look().unwrap();
    assert_eq!((found.last, found.epoch), (Position(19), Epoch(1)));
    assert_eq!(found.snapshot, Some(saved));
}
