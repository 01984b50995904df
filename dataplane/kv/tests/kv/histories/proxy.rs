//! A network between two processes that can be cut, or keep what was sent and deliver it late.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it does with what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Open,
    /// Nothing arrives before it is open again; nobody is told.
    Held,
    /// Connections break off, and there are no new ones.
    Cut,
}

#[derive(Debug)]
struct State {
    mode: AtomicU8,
    target: AtomicU16,
    is_over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl State {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::Acquire) == mode as u8
    }
}

/// Listens on a port of its own.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            mode: AtomicU8::new(Mode::Open as u8),
            target: AtomicU16::new(target),
            is_over: AtomicBool::new(false),
            streams: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::Acquire) {
                    return;
                }
                let target = shared.target.load(Ordering::Acquire);
                if shared.is(Mode::Cut) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)) {
                    carry(&shared, &client, &server);
                }
            }
        });
        Self { port, state }
    }

    /// Whom new connections reach.
    pub(crate) fn lead_to(&self, target: u16) {
        self.state.target.store(target, Ordering::Release);
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.mode.store(mode as u8, Ordering::Release);
        if mode == Mode::Cut {
            for stream in self.state.streams.lock().expect("no panic").drain(..) {
                // It may have ended by itself.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        self.set(Mode::Cut);
        // So that the listener sees it.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(state: &Arc<State>, client: &TcpStream, server: &TcpStream) {
    let twin = |stream: &TcpStream| stream.try_clone().expect("a socket");
    for (from, to) in [(client, server), (server, client)] {
        to.set_nodelay(true).expect("a socket");
        state.streams.lock().expect("no panic").push(twin(to));
        let (from, to, state) = (twin(from), twin(to), Arc::clone(state));
        thread::spawn(move || deliver(&state, from, to));
    }
}

fn deliver(state: &State, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while state.is(Mode::Held) {
            thread::sleep(Duration::from_millis(2));
        }
        if state.is(Mode::Cut) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The other end may be gone.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
