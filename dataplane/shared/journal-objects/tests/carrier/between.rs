//! Goal: nothing that another owner does between any two requests of a call makes that call
//! acknowledge what is lost, or show what is not so. Method: each call is run once for each of its
//! requests, and before or after that request a whole other life takes place: another owner takes
//! over, writes, saves, trims, and writes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use orrery_journal::Carrier;
use orrery_journal::carrier::CarrierError;

use crate::faulty::Between;
use crate::machine::{History, Machine, again, client, group, owner, recover};

/// What is acknowledged, by position.
type Acknowledged = BTreeMap<u64, String>;

/// One run: an owner of epoch 1 over a store in which something may happen.
struct Run {
    objects: Arc<dyn ObjectStore>,
    between: Arc<Between>,
    first: Machine,
}

impl Run {
    fn new() -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let between = Arc::new(Between::new(Arc::clone(&objects)));
        let over: Arc<dyn ObjectStore> = between.clone();
        let mut first = Machine::begin(client(&over), 1).unwrap();
        for number in 0..6 {
            first.append(&[&format!("first/{number}"), &format!("first/{number}/b")]).unwrap();
        }
        first.save(4).unwrap();
        first.trim(2).unwrap();
        Self { objects, between, first }
    }

    fn over(&self) -> Arc<dyn ObjectStore> {
        self.between.clone()
    }
}

/// The other life; shorter where somebody with a higher epoch is there.
fn live(objects: &Arc<dyn ObjectStore>, epoch: u64) {
    match try_live(objects, epoch) {
        Ok(()) => {}
        Err(CarrierError::Fenced { held }) => assert!(held.0 > epoch),
        Err(error) => panic!("{error}"),
    }
}

fn try_live(objects: &Arc<dyn ObjectStore>, epoch: u64) -> Result<(), CarrierError> {
    let mut other = Machine::begin(client(objects), epoch)?;
    for number in 0..9 {
        other.append(&[&format!("{epoch}/{number}")])?;
    }
    other.save(other.history.last() - 4)?;
    other.save(other.history.last())?;
    other.trim(other.history.last())?;
    other.append(&[&format!("{epoch}/end")])
}

/// Runs `call` until nothing happens beside it any more; `call` gives what was acknowledged to it.
fn in_between(epoch: u64, call: &dyn Fn(&mut Run) -> Acknowledged) {
    for is_after in [false, true] {
        for request in 0.. {
            let mut run = Run::new();
            let objects = Arc::clone(&run.objects);
            run.between.plan(request, is_after, Box::new(move || live(&objects, epoch)));
            let mut acknowledged = call(&mut run);
            let is_over = run.between.is_left();
            // What the first owner then tries is refused, if there was another one.
            let position = run.first.history.last() + 1;
            match run.first.append(&["late"]) {
                Ok(()) => drop(acknowledged.insert(position, "late".to_owned())),
                Err(CarrierError::Fenced { .. }) => {}
                Err(error) => panic!("request {request}: {error}"),
            }
            let history = recover(&client(&run.objects)).unwrap();
            for (position, body) in &acknowledged {
                let found = history.body(*position);
                assert_eq!(found, Some(body.as_str()), "request {request}, after: {is_after}");
            }
            assert_eq!(recover(&client(&run.objects)).unwrap(), history);
            if is_over {
                assert!(request > 0, "it was never beside a request");
                break;
            }
        }
    }
}

fn is_answer<T>(result: Result<T, CarrierError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(CarrierError::Fenced { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn an_append_is_in_the_log_or_refused() {
    in_between(2, &|run| {
        let position = run.first.history.last() + 1;
        let taken = is_answer(run.first.append(&["a"]));
        taken.map(|()| (position, "a".to_owned())).into_iter().collect()
    });
}

#[test]
fn an_owner_that_begins_anew_is_in_the_log_or_refused() {
    // A client of its own has no session, and begins one for this append.
    in_between(2, &|run| {
        let history = run.first.history.clone();
        let position = history.last() + 1;
        let carrier = client(&run.over());
        let mut same = Machine { carrier, owner: run.first.owner, history };
        let taken = is_answer(same.append(&["a"]));
        let acknowledged = taken.map(|()| (position, "a".to_owned())).into_iter().collect();
        run.first.history = same.history;
        acknowledged
    });
}

#[test]
fn a_take_over_beside_a_later_one_fails_or_came_before() {
    for epoch in [2, 9] {
        in_between(epoch, &|run| {
            let Some(mut third) = is_answer(Machine::begin(client(&run.over()), 5)) else {
                return Acknowledged::new();
            };
            let position = third.history.last() + 1;
            let taken = is_answer(third.append(&["a"]));
            taken.map(|()| (position, "a".to_owned())).into_iter().collect()
        });
    }
}

#[test]
fn a_snapshot_and_a_trim_beside_another_owner_harm_nothing() {
    in_between(2, &|run| {
        is_answer(run.first.save(run.first.history.last()));
        Acknowledged::new()
    });
    in_between(2, &|run| {
        is_answer(run.first.trim(4));
        Acknowledged::new()
    });
}

#[test]
fn a_reader_sees_nothing_that_is_not_so() {
    in_between(2, &|run| {
        let reader = client(&run.over());
        let mut seen = History::default();
        again(|| seen.follow(&reader, 1)).unwrap();
        assert!(seen.last() >= 12, "{seen:?}");
        let carried = again(|| reader.look()).unwrap();
        assert!(carried.last.0 >= seen.last());
        again(|| seen.follow(&reader, 1 << 20)).unwrap();
        let truth = recover(&client(&run.objects)).unwrap();
        assert!(seen.is_prefix_of(&truth), "{seen:?} is not the beginning of {truth:?}");
        Acknowledged::new()
    });
}

#[test]
fn a_reader_that_slept_goes_on_from_a_snapshot() {
    let run = Run::new();
    let reader = client(&run.over());
    let mut seen = History::default();
    again(|| seen.follow(&reader, 1 << 20)).unwrap();
    live(&run.objects, 2);
    live(&run.objects, 3);
    again(|| seen.follow(&reader, 1 << 20)).unwrap();
    assert_eq!(seen, recover(&client(&run.objects)).unwrap());
}

/// The owner before writes once more, so that the fence of the take-over finds its slot in use, and a
/// later one comes and removes just that: the fence must not pass for one that is in place.
#[test]
fn a_fence_among_what_was_trimmed_is_none() {
    for is_after in [false, true] {
        for request in 0.. {
            let mut run = Run::new();
            let over = run.over();
            let objects = Arc::clone(&run.objects);
            let mut old = Machine::begin(client(&objects), 2).unwrap();
            old.append(&["old"]).unwrap();
            let event = move || {
                // Several, so that also what comes behind the fence finds an empty slot.
                let bodies = ["old/1", "old/2", "old/3", "old/4", "old/5"];
                if bodies.iter().all(|body| old.append(&[body]).is_ok()) {
                    live(&objects, 9);
                }
            };
            run.between.plan(request, is_after, Box::new(event));
            // It believes what it is told, and reads nothing more.
            let third = client(&over);
            let carried = is_answer(again(|| third.take_over(owner(5))));
            let is_over = run.between.is_left();
            let mut acknowledged = Acknowledged::new();
            let first = carried.map_or(u64::MAX, |carried| carried.last.0 + 1);
            for position in (first..u64::MAX).take(3) {
                let body = format!("5/{position}");
                let group = group(5, position, &[&body]);
                if is_answer(again(|| third.append(owner(5), &group))).is_some() {
                    acknowledged.insert(position, body);
                }
            }
            let history = recover(&client(&run.objects)).unwrap();
            for (position, body) in &acknowledged {
                assert_eq!(history.body(*position), Some(body.as_str()), "request {request}");
            }
            assert!(is_answer(run.first.append(&["late"])).is_none());
            if is_over {
                break;
            }
        }
    }
}

/// A group whose answer was lost is in the log of the next owner, who trims it; then its slot is empty,
/// and another group must not be acknowledged for being put there. The very same one may be: it is in
/// the log.
#[test]
fn what_was_not_answered_is_not_written_over() {
    for is_same in [false, true] {
        let mut run = Run::new();
        let position = run.first.history.last() + 1;
        let append = |run: &Run, body: &str| {
            let group = group(1, position, &[body]);
            run.first.carrier.append(run.first.owner, &group)
        };
        run.between.lose_next_answer();
        let unanswered = append(&run, "open");
        assert!(matches!(unanswered, Err(CarrierError::Unavailable { .. })), "{unanswered:?}");
        live(&run.objects, 2);
        let body = if is_same { "open" } else { "other" };
        let taken = is_answer(append(&run, body));
        let history = recover(&client(&run.objects)).unwrap();
        assert_eq!(history.body(position), Some("open"));
        assert!(is_same || taken.is_none(), "another group was acknowledged");
        // Whatever it heard, it is over.
        run.first.history.0.push((1, "open".to_owned()));
        assert!(is_answer(run.first.append(&["late"])).is_none());
    }
}
