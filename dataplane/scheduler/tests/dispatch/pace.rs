//! How much a target gets, as the target sees it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orrery_scheduler::dispatch::{Options, Target};
use orrery_scheduler::run::Outcome;

use super::rig::{Rig, ad_hoc, http, named, run, succeeded, wait_until};
use super::server::{Server, answer};

#[test]
fn a_target_has_no_more_in_flight_than_it_allows() {
    let server = Server::working(Duration::from_millis(2));
    let rig = Rig::new(vec![Target { max_in_flight: 7, ..Target::new("t") }]);
    rig.dispatcher.hand_over((0..300).map(|n| http(n, named("t", &server.uri("/")))).collect());
    rig.wait_for_count(300);
    assert!((2..=7).contains(&server.working_max()), "{} at work", server.working_max());
    assert!(server.connections() <= 7 + 1, "{} connections", server.connections());
}

#[test]
fn all_targets_together_have_no_more_in_flight_than_there_may_be() {
    let server = Server::working(Duration::from_millis(2));
    let options = Options { allow_loopback: true, in_flight_max: 5, ..Options::default() };
    let names = ["a", "b", "c"];
    let targets = names.map(|name| Target { max_in_flight: 4, ..Target::new(name) });
    let rig = Rig::with(options, targets.to_vec());
    // The first has all of its calls before the others have any.
    let call = |n: u64| http(n, named(names[(n / 100) as usize], &server.uri("/")));
    rig.dispatcher.hand_over((0..300).map(call).collect());
    let outcomes = rig.wait_for_count(300);
    assert!((2..=5).contains(&server.working_max()), "{} at work", server.working_max());
    let half = &outcomes[..150];
    for first in [0, 100, 200] {
        let count = half.iter().filter(|(run, ..)| (first..first + 100).contains(&run.number));
        assert!(count.count() >= 20, "each target has a part of the first half");
    }
}

#[test]
fn a_target_gets_no_more_than_its_rate() {
    let times = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&times);
    let server = Server::start(move |_, stream| {
        seen.lock().expect("whole").push(Instant::now());
        answer(stream, 200, &[], "")
    });
    let rig = Rig::new(vec![Target { rate_per_second: Some(100), ..Target::new("t") }]);
    let started = Instant::now();
    rig.dispatcher.hand_over((0..150).map(|n| http(n, named("t", &server.uri("/")))).collect());
    wait_until(|| rig.figures("t").throttled_since_ms.is_some());
    rig.wait_for_count(150);
    // A tenth of a second's calls may go at once, the others at the rate.
    assert!(started.elapsed() >= Duration::from_millis(1_390), "{:?}", started.elapsed());
    assert_eq!(times.lock().expect("whole").len(), 150);
    wait_until(|| rig.figures("t").throttled_since_ms.is_none());
}

#[test]
fn a_target_that_asks_for_a_pause_has_it() {
    let count = AtomicUsize::new(0);
    let first = Mutex::new(None);
    let broken = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&broken);
    let server = Server::start(move |_, stream| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            *first.lock().expect("whole") = Some(Instant::now());
            return answer(stream, 503, &[("retry-after", "2")], "busy");
        }
        let since = first.lock().expect("whole").expect("not the first").elapsed();
        if since < Duration::from_secs(2) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        answer(stream, 200, &[], "")
    });
    let other = Server::saying(200, "");
    let rig = Rig::new(vec![Target { max_in_flight: 1, ..Target::new("t") }]);
    rig.dispatcher.hand_over((0..5).map(|n| http(n, named("t", &server.uri("/")))).collect());
    let outcome = rig.wait_for(run(0));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    wait_until(|| rig.figures("t").throttled_since_ms.is_some());
    // Nobody else is paused.
    assert_eq!(rig.outcome(http(9, ad_hoc(&other.uri("/")))), succeeded(""));
    assert_eq!(rig.wait_for_count(6).len(), 6);
    assert_eq!(broken.load(Ordering::SeqCst), 0, "calls came during the pause");
    assert_eq!(rig.figures("t").throttled_since_ms, None);
    assert_eq!(rig.figures("t").latency.count(), 5);
}
