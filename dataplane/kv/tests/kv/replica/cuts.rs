//! A `redis-server` whose connection is cut again and again: it goes on where it was, or begins anew
//! where that would not be true.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Redis, run_some};
use crate::process::{Client, Engine, Value, ok};
use crate::replication::group::{
    content, content_of, eventually, follow, lead, promote, renew, standby, wait_in_sync,
};

/// A way to an engine that can be cut at any byte.
struct Way {
    port: u16,
    state: Arc<State>,
}

struct State {
    to: Mutex<String>,
    /// Both ends of each connection that is open.
    open: Mutex<Vec<[TcpStream; 2]>>,
    is_closed: AtomicBool,
}

impl Way {
    fn to(engine: &Engine) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(State {
            to: Mutex::new(engine.address()),
            open: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for replica in listener.incoming().flatten() {
                if serving.is_closed.load(Ordering::Acquire) {
                    continue;
                }
                let to = serving.to.lock().expect("no panic held it").clone();
                // Where nobody listens the replica comes again.
                let Ok(engine) = TcpStream::connect(to) else { continue };
                // The engine hears of the end of a replica only when it is told.
                carry(&replica, &engine, false);
                carry(&engine, &replica, true);
                serving.open.lock().expect("no panic held it").push([replica, engine]);
            }
        });
        Self { port, state }
    }

    /// Ends every connection, whatever is on its way. `quietly`: the engine does not see it.
    fn cut(&self, quietly: bool) {
        let open = std::mem::take(&mut *self.state.open.lock().expect("no panic held it"));
        for [replica, engine] in open {
            // It may be closed already.
            let _ = replica.shutdown(Shutdown::Both);
            if quietly {
                // It stays open, with nobody at the other end.
                std::mem::forget(engine);
            } else {
                let _ = engine.shutdown(Shutdown::Both);
            }
        }
    }

    /// Lets nobody through from now on, or everybody.
    fn close(&self, is_closed: bool) {
        self.state.is_closed.store(is_closed, Ordering::Release);
        if is_closed {
            self.cut(false);
        }
    }

    fn lead_to(&self, engine: &Engine) {
        *self.state.to.lock().expect("no panic held it") = engine.address();
    }

    fn follow(&self, more: &[&str]) -> Option<Redis> {
        let port = self.port.to_string();
        let mut args = vec!["--replicaof", "127.0.0.1", &port, "--repl-diskless-load", "swapdb"];
        args.extend(more);
        Redis::serve(&args)
    }
}

/// Carries what comes from one end to the other, in pieces of no particular size.
fn carry(from: &TcpStream, to: &TcpStream, with_end: bool) {
    let (mut from, mut to) = (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
    thread::spawn(move || {
        let mut piece = [0; 777];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        if with_end {
            // It may be closed already.
            let _ = to.shutdown(Shutdown::Both);
        }
    });
}

/// A figure of INFO.
fn figure(client: &mut Client, name: &str) -> u64 {
    let info = client.run("INFO").text();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.expect("it is there").trim().parse().expect("a number")
}

fn syncs(engine: &Engine) -> [u64; 3] {
    let mut client = engine.client();
    ["sync_full", "sync_partial_ok", "sync_partial_err"].map(|name| figure(&mut client, name))
}

fn wait_until_up(redis: &Redis) {
    eventually("the replica is up", || {
        let info = redis.client().run("INFO replication").text();
        info.contains("master_link_status:up").then_some(())
    });
}

/// Two keys that are only ever written together.
fn write_twins(client: &mut Client, number: usize) {
    assert_eq!(client.run("SELECT 0"), ok());
    assert_eq!(client.run("MULTI"), ok());
    client.run(&format!("SET twin1 {number}"));
    client.run("RPUSH grows x");
    client.run(&format!("SET twin2 {number}"));
    assert!(matches!(client.run("EXEC"), Value::Array(Some(_))));
}

fn assert_twins(redis: &Redis) {
    let Value::Array(Some(twins)) = redis.client().run("MGET twin1 twin2") else {
        panic!("no values")
    };
    assert_eq!(twins[0], twins[1], "a transaction is there as a whole or not at all");
}

#[test]
fn nothing_is_lost_or_doubled_however_often_it_is_cut_off() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let engine = Engine::start("snapshotAfterBytes: 50000\n");
    run_some(&mut engine.client(), &mut random, 100);
    let way = Way::to(&engine);
    let Some(redis) = way.follow(&[]) else { return };
    wait_until_up(&redis);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for part in 0..2 {
            let (is_over, mut client) = (&is_over, engine.client());
            let mut random = StdRng::seed_from_u64(seed + part);
            scope.spawn(move || {
                let mut number = 0;
                while !is_over.load(Ordering::Acquire) {
                    run_some(&mut client, &mut random, 5);
                    if part == 0 {
                        write_twins(&mut client, number);
                        number += 1;
                    }
                }
            });
        }
        for number in 0..40 {
            let before = syncs(&engine)[1];
            thread::sleep(Duration::from_millis(random.random_range(0..30)));
            way.cut(number % 3 == 0);
            assert_twins(&redis);
            eventually("it is back", || (syncs(&engine)[1] > before).then_some(()));
        }
        is_over.store(true, Ordering::Release);
    });
    redis.catch_up(&engine, 1);
    assert_eq!(content_of(&mut redis.client()), content(&engine));
    let [full, ok, failed] = syncs(&engine);
    println!("{full} full, {ok} partial");
    assert_eq!((full, failed), (1, 0));
    assert!(ok >= 40);
    // As Redis tells it, too: it listens where it says, and it is counted with what it has executed.
    let listens = redis.address().replace(':', ",port=");
    eventually("it is in sync", || {
        let info = engine.client().run("INFO replication").text();
        let offset = figure(&mut engine.client(), "master_repl_offset");
        info.contains(&format!("slave0:ip={listens},state=online,offset={offset}")).then_some(())
    });
}

#[test]
fn one_that_was_away_gets_what_it_missed_even_after_it_started_again() {
    let mut random = StdRng::seed_from_u64(3);
    let engine = Engine::start("");
    run_some(&mut engine.client(), &mut random, 300);
    let way = Way::to(&engine);
    let Some(mut redis) = way.follow(&[]) else { return };
    redis.catch_up(&engine, 1);
    for round in 0..3 {
        way.close(true);
        eventually("it is missed", || {
            (figure(&mut engine.client(), "connected_slaves") == 0).then_some(())
        });
        run_some(&mut engine.client(), &mut random, 300);
        // An image of our own changes nothing for it.
        assert_eq!(engine.client().run("SAVE"), ok());
        if round == 2 {
            redis = redis.restart();
        }
        way.close(false);
        redis.catch_up(&engine, 10 + round);
        assert_eq!(content_of(&mut redis.client()), content(&engine), "round {round}");
        assert_eq!(syncs(&engine), [1, round as u64 + 1, 0]);
    }
    assert_eq!(engine.client().run("CONFIG RESETSTAT"), ok());
    assert_eq!(syncs(&engine), [0, 0, 0]);
}

#[test]
fn a_client_that_waits_for_one_that_comes_back_is_answered() {
    let engine = Engine::start("");
    let way = Way::to(&engine);
    let Some(redis) = way.follow(&[]) else { return };
    redis.catch_up(&engine, 1);
    let mut client = engine.client();
    for number in 0..10 {
        way.cut(number % 2 == 0);
        assert_eq!(client.run(&format!("SET key {number}")), ok());
        assert_eq!(client.run("WAIT 1 40000"), Value::Integer(1));
        assert_eq!(redis.client().run("GET key").text(), number.to_string());
    }
    let [full, _, failed] = syncs(&engine);
    assert_eq!((full, failed), (1, 0));
}

#[test]
fn a_history_of_another_process_is_not_gone_on_with() {
    let mut random = StdRng::seed_from_u64(4);
    let engine = Engine::start("");
    let way = Way::to(&engine);
    let Some(redis) = way.follow(&[]) else { return };
    run_some(&mut engine.client(), &mut random, 200);
    redis.catch_up(&engine, 1);
    // It starts again on its own data.
    let engine = Engine::start_in(engine.stop());
    way.lead_to(&engine);
    run_some(&mut engine.client(), &mut random, 50);
    redis.catch_up(&engine, 2);
    assert_eq!(content_of(&mut redis.client()), content(&engine));
    assert_eq!(syncs(&engine), [1, 0, 1]);
}

#[test]
fn a_primary_that_was_another_one_in_between_begins_anew() {
    const NO_LEASE: (u32, u32, u32) = (1, 0, 0);
    let mut random = StdRng::seed_from_u64(5);
    let (first, second) = (standby(""), standby(""));
    lead(&[&first, &second], 1, NO_LEASE);
    let way = Way::to(&first);
    let Some(redis) = way.follow(&[]) else { return };
    run_some(&mut first.client(), &mut random, 200);
    redis.catch_up(&first, 1);
    assert_eq!(syncs(&first), [1, 0, 0]);
    // The replica waits in front of a closed door while the second one leads, and the first again.
    way.close(true);
    for (epoch, primary, follower) in [(2, &second, &first), (3, &first, &second)] {
        promote(primary, epoch).expect("it obeys");
        renew(primary, epoch, NO_LEASE).expect("it listens");
        follow(follower, epoch, primary).expect("it obeys");
        wait_in_sync(primary, follower);
        run_some(&mut primary.client(), &mut random, 50);
        wait_in_sync(primary, follower);
    }
    way.close(false);
    redis.catch_up(&first, 2);
    assert_eq!(content_of(&mut redis.client()), content(&first));
    let [full, partial, failed] = syncs(&first);
    // A copy of its primary's data makes it begin to count anew.
    assert!(full >= 1 && partial == 0 && failed == 1, "{full} {partial} {failed}");
}
