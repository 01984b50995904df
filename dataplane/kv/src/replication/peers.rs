//! The primary's side of replication: one link per follower, each with two threads of its own.
//!
//! The sending thread reads the journal from disk at the pace of its socket, so a slow follower costs
//! no memory and holds nobody up; the receiving thread takes confirmations. Only durable records are
//! sent: a primary that restarts under its epoch must not write other records at positions that a
//! follower has already. The event loop only looks at figures.

mod send;

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mio::Waker;
use orrery_journal::Feed;

use super::lease::Moments;
use super::socket::Socket;
use super::wire::{self, Message};
use orrery_archiving::History;

/// Links at the same time; a group has far fewer members.
const LINKS_MAX: usize = 16;
/// A follower that says nothing for so long is cut off: it confirms four times a second.
const SILENCE: Duration = Duration::from_secs(5);
/// A follower that takes nothing for so long is cut off. It comes back and goes on from the journal.
const STUCK: Duration = Duration::from_secs(10);
/// A follower that confirmed within this time is in sync, if it has caught up.
const FRESH_MS: u64 = 3000;

/// A follower that asks for records.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Its last record.
    pub(crate) position: u64,
    pub(crate) epoch: u64,
}

/// One follower's link.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: String,
    socket: TcpStream,
    /// What it has on disk.
    confirmed: AtomicU64,
    /// Highest epoch it knows.
    known: AtomicU64,
    /// Last stamp of ours that it has seen; 0 before the first.
    stamp: AtomicU64,
    heard_ms: AtomicU64,
    /// It is in sync from this position on.
    caught_up_at: AtomicU64,
    /// It was told that this was all.
    told_goodbye: AtomicBool,
    gone: AtomicBool,
}

impl Peer {
    fn cut(&self) {
        self.gone.store(true, Ordering::Release);
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    pub(crate) fn is_in_sync(&self, now_ms: u64) -> bool {
        let is_fresh = now_ms.saturating_sub(self.heard_ms.load(Ordering::Acquire)) < FRESH_MS;
        let target = self.caught_up_at.load(Ordering::Acquire);
        is_fresh && self.known.load(Ordering::Acquire) > 0 && self.confirmed() >= target
    }
}

/// All links of a primary.
#[derive(Debug)]
pub(crate) struct Peers {
    links: Mutex<Vec<Arc<Peer>>>,
    /// The primary's epoch.
    epoch: AtomicU64,
    /// Highest epoch any follower knows.
    heard_of: AtomicU64,
    /// One above the last position of the epoch, once the primary gives it up; 0 before.
    last: AtomicU64,
    /// Replies wait for confirmations: the loop is to be woken by each.
    eager: AtomicBool,
    /// The same for a client that waits for followers.
    awaited: AtomicBool,
    moments: Moments,
    waker: Arc<Waker>,
}

impl Peers {
    /// `moments`: the clock of the stamps.
    pub(crate) fn new(moments: Moments, waker: Arc<Waker>) -> Self {
        Self {
            links: Mutex::default(),
            epoch: AtomicU64::new(0),
            heard_of: AtomicU64::new(0),
            last: AtomicU64::new(0),
            eager: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            moments,
            waker,
        }
    }

    fn links(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Peer>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.moments.now_ms()
    }

    fn wake(&self) {
        // A poll that cannot be woken looks again at its next cron.
        let _ = self.waker.wake();
    }

    /// Serves followers under `epoch` from now on.
    pub(crate) fn begin(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
        self.last.store(0, Ordering::Release);
    }

    pub(crate) fn set_eager(&self, on: bool) {
        self.eager.store(on, Ordering::Release);
    }

    pub(crate) fn set_awaited(&self, on: bool) {
        self.awaited.store(on, Ordering::Release);
    }

    /// Tells every follower that has all records up to `position` that this was all.
    pub(crate) fn say_goodbye(&self, position: u64) {
        self.last.store(position + 1, Ordering::Release);
    }

    /// Whether everyone who was in sync has been told.
    pub(crate) fn have_said_goodbye(&self, now_ms: u64) -> bool {
        let told = |peer: &Arc<Peer>| peer.told_goodbye.load(Ordering::Acquire);
        self.links().iter().all(|peer| told(peer) || !peer.is_in_sync(now_ms))
    }

    /// Cuts every link.
    pub(crate) fn close(&self) {
        self.links().drain(..).for_each(|peer| peer.cut());
    }

    /// Highest epoch any follower knows.
    pub(crate) fn heard_of(&self) -> u64 {
        self.heard_of.load(Ordering::Acquire)
    }

    /// The links there are.
    pub(crate) fn list(&self) -> Vec<Arc<Peer>> {
        self.links().clone()
    }

    /// What each follower of the same epoch has on disk.
    pub(crate) fn confirmed(&self) -> Vec<u64> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let links = self.links();
        let of_epoch = links.iter().filter(|peer| peer.known.load(Ordering::Acquire) == epoch);
        of_epoch.map(|peer| peer.confirmed()).collect()
    }

    /// What `count` followers of the same epoch have on disk at least.
    pub(crate) fn confirmed_by(&self, count: usize) -> u64 {
        let mut confirmed = self.confirmed();
        confirmed.sort_unstable_by(|a, b| b.cmp(a));
        count.checked_sub(1).and_then(|at| confirmed.get(at).copied()).unwrap_or(0)
    }

    /// How many followers of the same epoch are in sync.
    pub(crate) fn in_sync(&self, now_ms: u64) -> usize {
        let epoch = self.epoch.load(Ordering::Acquire);
        let links = self.links();
        let of_epoch = links.iter().filter(|peer| peer.known.load(Ordering::Acquire) == epoch);
        of_epoch.filter(|peer| peer.is_in_sync(now_ms)).count()
    }

    /// The stamps that followers of the same epoch have seen.
    pub(crate) fn stamps(&self) -> Vec<u64> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let links = self.links();
        let of_epoch = links.iter().filter(|peer| peer.known.load(Ordering::Acquire) == epoch);
        let stamps = of_epoch.map(|peer| peer.stamp.load(Ordering::Acquire));
        stamps.filter(|stamp| *stamp > 0).collect()
    }

    /// Begins to serve a follower whose handshake is done.
    pub(crate) fn welcome(
        self: &Arc<Self>,
        socket: Socket,
        asked: Asked,
        feed: Feed,
        history: History,
    ) -> io::Result<()> {
        socket.tcp().set_nonblocking(false)?;
        socket.tcp().set_read_timeout(Some(SILENCE))?;
        socket.tcp().set_write_timeout(Some(STUCK))?;
        let peer = Arc::new(Peer {
            name: asked.name.clone(),
            address: asked.address.clone(),
            socket: socket.tcp().try_clone()?,
            confirmed: AtomicU64::new(0),
            known: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            heard_ms: AtomicU64::new(self.now_ms()),
            caught_up_at: AtomicU64::new(feed.durable().0),
            told_goodbye: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        });
        {
            let mut links = self.links();
            if links.len() >= LINKS_MAX {
                return Err(io::Error::other("too many followers"));
            }
            // A follower that comes back is done with its old link, whatever that one looks like.
            links.retain(|other| {
                let is_same = !other.name.is_empty() && other.name == peer.name;
                if is_same {
                    other.cut();
                }
                !is_same
            });
            links.push(Arc::clone(&peer));
        }
        let receiving = socket.try_clone()?;
        let (peers, receiver) = (Arc::clone(self), Arc::clone(&peer));
        let received = thread::Builder::new()
            .name("follower-in".into())
            .spawn(move || peers.receive(receiving, &receiver));
        let (peers, sender) = (Arc::clone(self), Arc::clone(&peer));
        let sent = received.and_then(|_| {
            thread::Builder::new().name("follower-out".into()).spawn(move || {
                let ended = send::run(&peers, &sender, socket, &asked, &feed, &history);
                tracing::info!(follower = sender.name, address = sender.address, reason = %ended, "link ended");
                peers.leave(&sender);
            })
        });
        if let Err(error) = sent {
            self.leave(&peer);
            return Err(error);
        }
        Ok(())
    }

    fn leave(&self, peer: &Arc<Peer>) {
        peer.cut();
        self.links().retain(|other| !Arc::ptr_eq(other, peer));
        self.wake();
    }

    /// Takes confirmations until the link ends.
    fn receive(&self, socket: Socket, peer: &Peer) {
        let mut from = BufReader::new(socket);
        loop {
            match wire::read(&mut from) {
                Ok(Message::Confirm { known, durable, stamp }) => {
                    self.take_confirmation(peer, known, durable, stamp);
                }
                Ok(_) => break,
                Err(error) => {
                    if !peer.gone.load(Ordering::Acquire) {
                        tracing::info!(follower = peer.name, %error, "no more confirmations");
                    }
                    break;
                }
            }
        }
        peer.cut();
        self.wake();
    }

    fn take_confirmation(&self, peer: &Peer, known: u64, durable: u64, stamp: u64) {
        let before = peer.confirmed.fetch_max(durable, Ordering::AcqRel);
        // A stamp from the future was never ours.
        if stamp <= self.now_ms() {
            peer.stamp.fetch_max(stamp, Ordering::AcqRel);
        }
        peer.heard_ms.store(self.now_ms(), Ordering::Release);
        let known_before = peer.known.swap(known, Ordering::AcqRel);
        let is_news = known > self.epoch.load(Ordering::Acquire)
            && self.heard_of.fetch_max(known, Ordering::AcqRel) < known;
        let is_asked = self.eager.load(Ordering::Acquire) || self.awaited.load(Ordering::Acquire);
        let is_waited_for = is_asked && durable > before;
        if is_news || is_waited_for || known_before != known {
            self.wake();
        }
    }
}
