//! Three brokers, of which one at a time is killed or falls asleep, while owners write and take over.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use orrery_journal::Carrier as _;
use orrery_journal_kafka::suite::Broker;
use orrery_journal_kafka::{KafkaCarrier, Options, Replication};

use crate::broker::options;
use crate::history::{History, again};
use crate::kills::rounds;

const OWNERS: u64 = 2;
/// Longer than the others wait before they go on without a broker.
const ASLEEP: Duration = Duration::from_secs(5);

/// Goal: whichever broker leads, and whatever one that was led elsewhere meanwhile still believes,
/// nothing that was acknowledged is lost or doubled. Method: the brokers are killed, or stopped past
/// their session and let go on, in turn.
#[test]
fn nothing_is_lost_or_doubled_when_another_broker_leads() {
    let Some(brokers) = Broker::start_three() else { return };
    let open = || {
        let replication = Replication { factor: Some(3), in_sync_min: Some(2) };
        let bootstrap = brokers.iter().map(Broker::host).collect();
        let options = options(brokers[0].host(), "led");
        KafkaCarrier::open(Options { bootstrap, replication, ..options }).unwrap()
    };
    again(|| open().prepare()).unwrap();
    let history = History::with_large_groups();
    thread::scope(|scope| {
        for _ in 0..OWNERS {
            scope.spawn(|| history.write(&open(), 60));
        }
        for round in 0..rounds(2) {
            history.await_more(60);
            let broker = &brokers[round as usize % 3];
            if round % 2 == 0 {
                broker.crash();
                history.await_more(60);
                broker.begin();
            } else {
                broker.signal(Signal::SIGSTOP);
                thread::sleep(ASLEEP);
                broker.signal(Signal::SIGCONT);
            }
        }
        history.await_more(60);
        history.over.store(true, Ordering::Release);
    });
    history.check(&open());
}
