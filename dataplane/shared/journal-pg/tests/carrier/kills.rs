//! Servers that are killed and connections that lose answers, while owners write and take over.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use orrery_journal::Carrier as _;
use orrery_journal_pg::PgCarrier;
use orrery_pg::suite::Proxy;

use crate::history::{History, again};
use crate::server::{Server, options};

/// How often the server is killed, unless `ORRERY_CRASH_RUNS` says otherwise.
const KILLS: u64 = 5;
const OWNERS: u64 = 3;

/// Goal: a server that dies at any moment, together with connections that break off after a commit
/// was sent and before its answer came, loses nothing and doubles nothing.
#[test]
fn nothing_is_lost_or_doubled_when_the_server_is_killed() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(server.port, 1);
    let open = || PgCarrier::open(options(vec![proxy.host()], "kills")).unwrap();
    again(|| open().prepare()).unwrap();
    let history = History::default();
    let kills = std::env::var("ORRERY_CRASH_RUNS");
    let kills =
        kills.map_or(KILLS, |digits| digits.parse().expect("ORRERY_CRASH_RUNS is a number"));
    proxy.lose(10);
    thread::scope(|scope| {
        for _ in 0..OWNERS {
            scope.spawn(|| history.write(&open(), 60));
        }
        for round in 0..kills {
            // Each life of the server is to see some work, and to end at no special moment of it.
            history.await_more(60 + round as usize % 7 * 17);
            proxy.cut();
            let signal = if round % 2 == 0 { Signal::SIGKILL } else { Signal::SIGQUIT };
            server.crash(signal);
            server.begin();
        }
        history.over.store(true, Ordering::Release);
    });
    proxy.lose(0);
    history.check(&open());
}

/// Goal: an answer that is lost leaves the caller in doubt, and asking again ends it, whatever share
/// of the answers is lost.
#[test]
fn lost_answers_are_found_out() {
    let Some(server) = Server::shared() else { return };
    let proxy = Proxy::to(server.port, 2);
    let open = || PgCarrier::open(options(vec![proxy.host()], "lost")).unwrap();
    again(|| open().prepare()).unwrap();
    proxy.lose(60);
    let history = History::default();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| history.write(&open(), 20));
        }
        let started = Instant::now();
        while history.acknowledged() < 400 && started.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(5));
        }
        history.over.store(true, Ordering::Release);
    });
    proxy.lose(0);
    history.check(&open());
}
