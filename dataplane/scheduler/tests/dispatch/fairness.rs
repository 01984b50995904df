//! Who is served first, as the server sees it.

use std::sync::{Arc, Condvar, Mutex};

use orrery_scheduler::dispatch::Target;
use orrery_scheduler::run::Call;

use super::rig::{DEADLINE, Rig, http, named, wait_until};
use super::server::{Server, answer};

/// Opens once.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().expect("whole") = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let is_open = self.is_open.lock().expect("whole");
        let opened = self.opened.wait_timeout_while(is_open, DEADLINE, |is_open| !*is_open);
        drop(opened.expect("whole"));
    }
}

/// The order in which one call after the other arrives at a server, when all of them wait for the
/// first one to end.
fn order(calls: Vec<Call>, uri: impl Fn(&str) -> String, server: &Server, gate: &Gate) -> Vec<u64> {
    let rig = Rig::new(vec![Target { max_in_flight: 1, ..Target::new("t") }]);
    let count = calls.len();
    rig.dispatcher.hand_over(vec![http(1_000_000, named("t", &uri("/first")))]);
    wait_until(|| server.at_work() == 1);
    rig.dispatcher.hand_over(calls);
    wait_until(|| rig.figures("t").queued == count as u64);
    gate.open();
    rig.wait_for_count(count + 1);
    let number = |key: &str| key.strip_prefix("job-").and_then(|text| text.parse().ok());
    let requests = server.requests();
    let keys = requests.iter().filter_map(|request| request.header("idempotency-key"));
    keys.filter_map(number).filter(|number| *number != 1_000_000).collect()
}

fn gated() -> (Server, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let closed = Arc::clone(&gate);
    let server = Server::start(move |_, stream| {
        closed.pass();
        answer(stream, 200, &[], "")
    });
    (server, gate)
}

#[test]
fn a_tenant_with_nine_tenths_of_the_calls_gets_its_share() {
    let (server, gate) = gated();
    let calls = (0..1_000).map(|n| {
        let tenant = if n < 900 { "loud".to_owned() } else { format!("quiet-{}", n % 2) };
        Call { tenant: tenant.as_str().into(), ..http(n, named("t", &server.uri("/"))) }
    });
    let order = order(calls.collect(), |path| server.uri(path), &server, &gate);
    let loud = order[..150].iter().filter(|number| **number < 900).count();
    assert_eq!(loud, 50, "three tenants, a third each");
    assert_eq!(order.len(), 1_000);
}

#[test]
fn higher_priorities_are_sent_first_and_then_what_was_planned_first() {
    let (server, gate) = gated();
    let calls = [(0, 10), (9, 30), (5, 20), (9, 20), (5, 10), (0, 5)];
    let calls = calls.into_iter().enumerate().map(|(n, (priority, planned_ms))| Call {
        priority,
        planned_ms,
        ..http(n as u64, named("t", &server.uri("/")))
    });
    let order = order(calls.collect(), |path| server.uri(path), &server, &gate);
    assert_eq!(order, [3, 1, 4, 2, 5, 0]);
}
