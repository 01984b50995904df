//! A network between a client and its server that loses answers, breaks off, and delivers late.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::Host;

#[derive(Debug, Default)]
struct State {
    is_over: AtomicBool,
    /// Nothing of clients is delivered before this is over, also if they are gone by then.
    is_held: AtomicBool,
    /// Of 1,000 pieces of an answer so many are lost together with the connection.
    lost_in_thousand: AtomicU64,
    random: AtomicU64,
    /// Directions of connections that still carry something.
    open: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

/// Listens on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl State {
    fn random(&self) -> u64 {
        let mut number = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

impl Proxy {
    pub fn to(port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(State { random: AtomicU64::new(seed), ..State::default() });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.is_over.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port)))
                else {
                    continue;
                };
                carry(&shared, &client, &server);
            }
        });
        Self { port: own, state }
    }

    pub fn host(&self) -> Host {
        Host { name: "127.0.0.1".to_owned(), port: self.port }
    }

    /// Breaks all connections off.
    pub fn cut(&self) {
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits until the server has answered, or hung up on, all that clients left behind.
    pub fn await_end(&self) {
        let started = Instant::now();
        while self.state.open.load(Ordering::Acquire) > 0 {
            assert!(started.elapsed() < Duration::from_secs(30), "a client is still there");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn lose(&self, in_thousand: u64) {
        self.state.lost_in_thousand.store(in_thousand, Ordering::Release);
    }

    pub fn hold(&self, is_held: bool) {
        self.state.is_held.store(is_held, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        self.hold(false);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(state: &Arc<State>, client: &TcpStream, server: &TcpStream) {
    for stream in [client, server] {
        stream.set_nodelay(true).unwrap();
        state.streams.lock().unwrap().push(stream.try_clone().unwrap());
    }
    let pair = || (client.try_clone().unwrap(), server.try_clone().unwrap());
    let ((from, to), shared) = (pair(), Arc::clone(state));
    state.open.fetch_add(2, Ordering::AcqRel);
    thread::spawn(move || {
        deliver(&shared, from, to);
        shared.open.fetch_sub(1, Ordering::AcqRel);
    });
    let ((to, from), shared) = (pair(), Arc::clone(state));
    thread::spawn(move || {
        answer(&shared, from, to);
        shared.open.fetch_sub(1, Ordering::AcqRel);
    });
}

/// From the client to the server.
fn deliver(state: &State, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        while state.is_held.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// From the server to the client.
fn answer(state: &State, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if state.random() % 1000 < state.lost_in_thousand.load(Ordering::Acquire) {
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
