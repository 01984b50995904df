//! The course of calls: cancelled, expired, stopped, and how many there is room for.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use orrery_scheduler::dispatch::{AdHoc, Dispatcher, Options, Settled, Target};
use orrery_scheduler::run::{Call, Outcome};

use super::rig::{DEADLINE, Rig, ad_hoc, call, http, named, now_ms, run, succeeded, wait_until};
use super::server::{Server, Then, answer, wait_for_close};

/// Answers nothing until the peer closes.
fn silent() -> Server {
    Server::start(|_, stream| {
        wait_for_close(stream);
        Then::Close
    })
}

fn one_at_a_time() -> Target {
    Target { max_in_flight: 1, ..Target::new("t") }
}

#[test]
fn a_queued_call_that_is_cancelled_is_not_sent() {
    let server = silent();
    let rig = Rig::new(vec![one_at_a_time()]);
    rig.dispatcher.hand_over((0..3).map(|n| http(n, named("t", &server.uri("/")))).collect());
    wait_until(|| server.at_work() == 1);
    rig.dispatcher.cancel(run(1));
    assert_eq!(rig.wait_for(run(1)), Outcome::Cancelled);
    assert_eq!(rig.figures("t").queued, 1);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_call_in_flight_that_is_cancelled_is_dropped_and_makes_room() {
    let server = silent();
    let rig = Rig::new(vec![one_at_a_time()]);
    rig.dispatcher.hand_over((0..2).map(|n| http(n, named("t", &server.uri("/")))).collect());
    wait_until(|| server.at_work() == 1);
    rig.dispatcher.cancel(run(0));
    assert_eq!(rig.wait_for(run(0)), Outcome::Cancelled);
    // The connection is closed, and the next call is sent on another.
    wait_until(|| server.requests().len() == 2 && server.at_work() == 1);
    // What is not here has no outcome.
    rig.dispatcher.cancel(run(0));
    rig.dispatcher.cancel(run(77));
    rig.dispatcher.cancel(run(1));
    assert_eq!(rig.wait_for(run(1)), Outcome::Cancelled);
    assert_eq!(rig.outcomes().len(), 2);
    assert_eq!(rig.figures("t").counts.cancelled, 2);
    assert_eq!(rig.figures("t").in_flight, 0);
}

#[test]
fn a_run_that_was_cancelled_may_come_again() {
    let server = silent();
    let rig = Rig::new(vec![one_at_a_time()]);
    for attempt in 1..50 {
        let again = Call { attempt, ..http(1, named("t", &server.uri("/"))) };
        rig.dispatcher.hand_over(vec![again]);
        if attempt % 2 == 0 {
            wait_until(|| rig.figures("t").in_flight == 1);
        }
        rig.dispatcher.cancel(run(1));
        let outcomes = rig.wait_for_count(attempt as usize);
        assert_eq!(outcomes.last(), Some(&(run(1), attempt, Outcome::Cancelled)));
    }
}

#[test]
fn a_call_is_not_sent_after_its_deadline() {
    let server = silent();
    let rig = Rig::new(vec![one_at_a_time()]);
    let action = || named("t", &server.uri("/"));
    let late = Call { expires_ms: Some(now_ms() - 1), ..http(1, action()) };
    assert_eq!(rig.outcome(late), Outcome::Expired);
    let sent = Call { expires_ms: Some(now_ms() + 50_000), ..http(2, action()) };
    let queued = Call { expires_ms: Some(now_ms() + 100), ..http(3, action()) };
    rig.dispatcher.hand_over(vec![sent, queued]);
    // It expires while it waits, although nothing else happens.
    assert_eq!(rig.wait_for(run(3)), Outcome::Expired);
    assert_eq!(rig.figures("t").queued, 0);
    assert_eq!(rig.figures("t").counts.expired, 2);
    rig.dispatcher.cancel(run(2));
    assert_eq!(rig.wait_for(run(2)), Outcome::Cancelled);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_deadline_holds_until_sending_and_not_until_the_answer() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = Server::start(move |_, stream| {
        let _ = released.lock().expect("whole").recv_timeout(DEADLINE);
        answer(stream, 200, &[], "late")
    });
    let rig = Rig::new(vec![one_at_a_time()]);
    let expires_ms = now_ms() + 3_000;
    let sent = Call { expires_ms: Some(expires_ms), ..http(1, named("t", &server.uri("/"))) };
    rig.dispatcher.hand_over(vec![sent]);
    wait_until(|| server.at_work() == 1 && now_ms() > expires_ms + 50);
    release.send(()).expect("it waits");
    assert_eq!(rig.wait_for(run(1)), succeeded("late"));
}

#[test]
fn a_stop_waits_for_what_is_in_flight_and_sends_nothing_more() {
    let server = Server::start(|_, stream| {
        std::thread::sleep(Duration::from_millis(100));
        answer(stream, 200, &[], "")
    });
    let (settled, outcomes) = mpsc::channel();
    let options = Options { allow_loopback: true, ..Options::default() };
    let on_outcome = move |run, attempt, outcome| {
        settled.send((run, attempt, outcome)).expect("the test listens");
    };
    let targets = vec![one_at_a_time()];
    let dispatcher = Dispatcher::start(options, targets, on_outcome).expect("it starts");
    dispatcher.hand_over((0..50).map(|n| http(n, named("t", &server.uri("/")))).collect());
    wait_until(|| server.at_work() == 1);
    dispatcher.stop(Duration::MAX);
    drop(dispatcher);
    let outcomes: Vec<_> = outcomes.iter().collect();
    let done = outcomes.len();
    assert!((1..50).contains(&done), "{outcomes:?}");
    assert!(outcomes.iter().all(|(_, _, outcome)| *outcome == succeeded("")), "{outcomes:?}");
    assert_eq!(server.requests().len(), done);
}

#[test]
fn a_stop_waits_no_longer_than_its_patience() {
    let server = silent();
    let rig = Rig::new(vec![]);
    rig.dispatcher.hand_over(vec![http(1, ad_hoc(&server.uri("/")))]);
    wait_until(|| server.at_work() == 1);
    rig.dispatcher.stop(Duration::from_millis(50));
    rig.dispatcher.stop(Duration::MAX);
    assert_eq!(rig.outcomes().len(), 0);
    // The request is dropped with the dispatcher.
    wait_until(|| server.at_work() == 0);
}

#[test]
fn a_dispatcher_that_is_dropped_ends() {
    let server = silent();
    let (settled, outcomes) = mpsc::channel();
    let options = Options { allow_loopback: true, ..Options::default() };
    let on_outcome = move |run, _, _| settled.send(run).expect("the test listens");
    let dispatcher = Dispatcher::start(options, vec![], on_outcome).expect("it starts");
    dispatcher.hand_over(vec![http(1, ad_hoc(&server.uri("/")))]);
    wait_until(|| server.at_work() == 1);
    drop(dispatcher);
    outcomes.recv_timeout(DEADLINE).expect_err("the sender is dropped with the loop");
    wait_until(|| server.at_work() == 0);
}

#[test]
fn a_lane_whose_calls_were_cancelled_takes_no_turn_of_another() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = Server::start(move |_, stream| {
        let _ = released.lock().expect("whole").recv_timeout(DEADLINE);
        answer(stream, 200, &[], "")
    });
    let options = Options { allow_loopback: true, in_flight_max: 1, ..Options::default() };
    let rig = Rig::with(options, ["a", "b", "c"].map(Target::new).to_vec());
    let call = |(n, name)| http(n, named(name, &server.uri("/")));
    rig.dispatcher.hand_over([(0, "a"), (1, "b"), (2, "c")].map(call).to_vec());
    wait_until(|| server.at_work() == 1);
    rig.dispatcher.cancel(run(1));
    assert_eq!(rig.wait_for(run(1)), Outcome::Cancelled);
    // Its end is the only thing that happens.
    release.send(()).expect("it waits");
    wait_until(|| server.requests().len() == 2);
    release.send(()).expect("it waits");
    assert_eq!(rig.wait_for(run(2)), succeeded(""));
}

#[test]
fn room_is_what_is_not_settled() {
    let server = silent();
    let options = Options { allow_loopback: true, calls_max: 100, ..Options::default() };
    let rig = Rig::with(options, vec![one_at_a_time()]);
    assert_eq!(rig.dispatcher.room(), 100);
    rig.dispatcher.hand_over((0..40).map(|n| http(n, named("t", &server.uri("/")))).collect());
    assert_eq!(rig.dispatcher.room(), 60);
    rig.dispatcher.hand_over((40..140).map(|n| http(n, named("t", &server.uri("/")))).collect());
    assert_eq!(rig.dispatcher.room(), 0, "more than there is room for is taken in all the same");
    (0..140).for_each(|n| rig.dispatcher.cancel(run(n)));
    assert_eq!(rig.wait_for_count(140).len(), 140);
    assert_eq!(rig.dispatcher.room(), 100);
}

#[test]
fn outcomes_come_in_batches_to_who_wants_them_so() {
    let (settled, batches) = mpsc::channel::<Vec<Settled>>();
    let on_outcomes = move |batch| settled.send(batch).expect("the test listens");
    let options = Options::default();
    let dispatcher = Dispatcher::start_batched(options, vec![], on_outcomes).expect("it starts");
    let sink = Arc::new(orrery_scheduler::dispatch::Action::Sink);
    dispatcher.hand_over((0..3_000).map(|n| call(n, Arc::clone(&sink))).collect());
    let (mut seen, mut batches_seen) = (0, 0);
    while seen < 3_000 {
        seen += batches.recv_timeout(DEADLINE).expect("there are more").len();
        batches_seen += 1;
    }
    assert!(batches_seen <= 10, "{batches_seen} batches");
}

#[test]
fn addresses_that_were_not_used_for_long_make_room_for_others() {
    let servers: Vec<Server> = (0..5).map(|_| Server::saying(200, "")).collect();
    let ad_hoc_targets = AdHoc { targets_max: 3, ..AdHoc::default() };
    let options = Options { allow_loopback: true, ad_hoc: ad_hoc_targets, ..Options::default() };
    let rig = Rig::with(options, vec![]);
    for (number, server) in [0, 1, 2, 0, 3].into_iter().map(|n| &servers[n]).enumerate() {
        assert_eq!(rig.outcome(http(number as u64, ad_hoc(&server.uri("/")))), succeeded(""));
    }
    let mut known: Vec<String> =
        rig.dispatcher.figures().iter().map(|f| f.target.as_str().to_owned()).collect();
    let mut expected: Vec<String> = [0, 2, 3].iter().map(|n| servers[*n].uri("")).collect();
    known.sort();
    expected.sort();
    assert_eq!(known, expected, "the second was used least recently");
}

#[test]
fn busy_addresses_do_not_make_room() {
    let busy = silent();
    let other = Server::saying(200, "");
    let ad_hoc_targets = AdHoc { targets_max: 1, ..AdHoc::default() };
    let options = Options { allow_loopback: true, ad_hoc: ad_hoc_targets, ..Options::default() };
    let rig = Rig::with(options, vec![]);
    rig.dispatcher.hand_over(vec![http(1, ad_hoc(&busy.uri("/")))]);
    wait_until(|| busy.at_work() == 1);
    let outcome = rig.outcome(http(2, ad_hoc(&other.uri("/"))));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    rig.dispatcher.cancel(run(1));
    assert_eq!(rig.outcome(http(3, ad_hoc(&other.uri("/")))), succeeded(""));
}

#[test]
fn more_threads_do_the_same() {
    let server = Server::working(Duration::ZERO);
    let options = Options { allow_loopback: true, threads: 3, ..Options::default() };
    let rig = Rig::with(options, vec![]);
    rig.dispatcher.hand_over((0..500).map(|n| http(n, ad_hoc(&server.uri("/")))).collect());
    let outcomes = rig.wait_for_count(500);
    assert!(outcomes.iter().all(|(_, _, outcome)| *outcome == succeeded("")));
    assert!(server.working_max() <= 64);
}
