//! The follower's side of replication: a thread that connects to the primary and hands what it gets
//! to the event loop, and one per connection that confirms what is on disk.
//!
//! The queue between thread and loop is bounded: a loop that cannot take more, because its disk is
//! full, stops the thread, and the socket stops the primary's.

mod session;
mod takeover;

use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;
use orrery_kit::identity::Identity;
use orrery_kit::secrets::Secret;

use super::wire::Record;
pub(crate) use takeover::TakeOver;

/// Batches that may wait for the loop.
const BATCHES_MAX: usize = 16;
/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

/// What the loop gets from the thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// The link is up, and records go on where this process is.
    Up {
        epoch: u64,
    },
    /// A full copy is under way; what is here is not what the primary has.
    Copying,
    Records(Vec<Record>),
    /// A whole copy lies beside the data, and records behind it are to be asked for by whoever has
    /// taken it over.
    Copied,
    Goodbye {
        epoch: u64,
        position: u64,
    },
    /// Everything that was carried has been handed over.
    Arrived,
    /// Another owner, of this epoch, has what was to be taken over.
    Fenced {
        held: u64,
    },
    Down,
}

/// Whom to follow, and from where on.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) address: String,
    /// What to show the primary, and whom to expect there: with it, the link is mutual TLS.
    pub(crate) identity: Option<Arc<Identity>>,
    /// A primary of an older epoch is not accepted.
    pub(crate) epoch: u64,
    pub(crate) name: String,
    pub(crate) token: Option<Secret>,
    /// Folder of this process; copies are made in it.
    pub(crate) data: PathBuf,
    /// The shard whose journal it is.
    pub(crate) shard: u32,
    /// Databases that are configured here.
    pub(crate) databases: u16,
    /// The last record here.
    pub(crate) position: u64,
    pub(crate) position_epoch: u64,
    /// The journal is carried elsewhere, and to be taken over from there: nobody is followed.
    pub(crate) takes_over: Option<TakeOver>,
}

/// Where the primary is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Primary {
    pub(crate) address: String,
    pub(crate) mutual_tls: bool,
}

impl Plan {
    pub(crate) fn primary(&self) -> Primary {
        Primary { address: self.address.clone(), mutual_tls: self.identity.is_some() }
    }
}

/// Figures both sides look at.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    socket: Mutex<Option<TcpStream>>,
    up: AtomicBool,
    /// Highest epoch this process knows.
    known: AtomicU64,
    primary_position: AtomicU64,
    copy_percent: AtomicU64,
    heard_ms: AtomicU64,
    stamp: AtomicU64,
    /// Why the last connection ended; empty while one is in order.
    trouble: Mutex<String>,
    /// What is on disk here.
    durable: Mutex<u64>,
    durable_moved: Condvar,
    start: Instant,
}

/// A link in being; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) plan: Plan,
    shared: Arc<Shared>,
    from: Receiver<Event>,
}

impl Link {
    pub(crate) fn start(
        plan: Plan,
        known: u64,
        durable: u64,
        waker: Arc<Waker>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            socket: Mutex::default(),
            up: AtomicBool::new(false),
            known: AtomicU64::new(known),
            primary_position: AtomicU64::new(0),
            copy_percent: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            trouble: Mutex::default(),
            durable: Mutex::new(durable),
            durable_moved: Condvar::new(),
            start: Instant::now(),
        });
        let (to, from) = sync_channel(BATCHES_MAX);
        let runner = Runner { plan: plan.clone(), shared: Arc::clone(&shared), to, waker };
        thread::Builder::new().name("follow".into()).spawn(move || runner.run())?;
        Ok(Self { plan, shared, from })
    }

    /// What came in next, if anything did.
    pub(crate) fn take(&self) -> Option<Event> {
        self.from.try_recv().ok()
    }

    /// This is on disk now: the primary is told.
    pub(crate) fn set_durable(&self, position: u64) {
        let mut durable = self.shared.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if *durable != position {
            *durable = position;
            self.shared.durable_moved.notify_one();
        }
    }

    /// Nothing is confirmed to primaries of older epochs from now on.
    pub(crate) fn set_known(&self, epoch: u64) {
        self.shared.known.store(epoch, Ordering::SeqCst);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.shared.up.load(Ordering::Acquire)
    }

    pub(crate) fn primary_position(&self) -> u64 {
        self.shared.primary_position.load(Ordering::Acquire)
    }

    pub(crate) fn copy_percent(&self) -> u32 {
        self.shared.copy_percent.load(Ordering::Acquire) as u32
    }

    /// Why the last connection ended; empty while one is in order.
    pub(crate) fn trouble(&self) -> String {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn silent_ms(&self) -> u64 {
        self.shared.now_ms().saturating_sub(self.shared.heard_ms.load(Ordering::Acquire))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.hang_up();
        self.shared.durable_moved.notify_one();
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn tell_trouble(&self, trouble: &str) {
        let mut held = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone_into(&mut held);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn hang_up(&self) {
        self.up.store(false, Ordering::Release);
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(socket) = socket {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// The thread.
struct Runner {
    plan: Plan,
    shared: Arc<Shared>,
    to: SyncSender<Event>,
    waker: Arc<Waker>,
}

/// The loop does not want to hear of this link any more.
#[derive(Debug)]
struct Dropped;

impl Runner {
    fn run(mut self) {
        let mut said = String::new();
        while !self.shared.is_stopped() {
            let ended = match self.plan.takes_over.clone() {
                Some(from) => takeover::run(&mut self, &from),
                None => session::run(&mut self),
            };
            self.shared.hang_up();
            let trouble = ended.as_ref().err().map_or_else(String::new, ToString::to_string);
            self.shared.tell_trouble(&trouble);
            match ended {
                Ok(()) => return,
                // The same trouble five times a second is said once.
                Err(error) if trouble != said && !self.shared.is_stopped() => {
                    said = trouble;
                    let carrier = self.plan.takes_over.as_ref().map(|from| from.carrier.name());
                    let primary = carrier.as_ref().unwrap_or(&self.plan.address);
                    tracing::warn!(primary, %error, "the link is down");
                }
                Err(_) => {}
            }
            if self.send(Event::Down).is_err() {
                return;
            }
            thread::sleep(RETRY);
        }
    }

    fn send(&self, event: Event) -> Result<(), Dropped> {
        self.to.send(event).map_err(|_| Dropped)?;
        // A poll that cannot be woken looks again at its next cron.
        let _ = self.waker.wake();
        Ok(())
    }
}
