//! Replicas that speak the field's own protocol: a `redis-server` that follows this engine.
//!
//! Each gets an image of the keys (an RDB stream that ends in a mark), then commands made from the
//! records of the journal, from a thread of its own at the pace of its socket. It confirms what it has
//! executed, not what is on its disk, so it counts for no acknowledgement and no lease. One that comes
//! back gets an image again.

mod commands;

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;
use orrery_journal::{Feed, JournalError, Position, SnapshotReader};
use orrery_resp::{Decoder, Limits, Parsed};

use self::commands::Stream;
use crate::persistence::kind;
use crate::rdb;
use crate::replication::socket::Socket;

/// Replicas at the same time.
const REPLICAS_MAX: usize = 16;
/// As long as `repl-timeout` of Redis: a replica that loads its image neither reads nor speaks.
const PATIENCE: Duration = Duration::from_mins(1);
/// Something is sent at least so often.
const PING: Duration = Duration::from_secs(5);
/// One that confirmed within this time is in sync.
const FRESH: Duration = Duration::from_secs(3);
/// Gathered before it is sent.
const BATCH_BYTES: usize = 256 << 10;
/// Whether anybody waits for the replica is looked at so often.
const LOOK: Duration = Duration::from_millis(50);
/// Places in the stream whose positions are remembered until the replica has executed them; when there
/// are more, it counts as further behind than it is.
const MARKS_MAX: usize = 1024;
/// Requests of a replica are a few dozen bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// A snapshot that is replaced while the copy begins is tried again so often.
const SNAPSHOT_TRIES: usize = 5;

/// One replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) address: String,
    socket: TcpStream,
    /// Bytes of the stream of commands, sent and executed.
    sent: AtomicU64,
    executed: AtomicU64,
    /// Position of the journal up to which it has executed everything.
    position: AtomicU64,
    /// Bytes of the stream, and the position they reach.
    marks: Mutex<VecDeque<(u64, u64)>>,
    waker: Arc<Waker>,
    heard: Mutex<Option<Instant>>,
    was_heard: Condvar,
    gone: AtomicBool,
}

impl Replica {
    fn cut(&self) {
        self.gone.store(true, Ordering::Release);
        self.was_heard.notify_all();
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Waits until it says that it has loaded its image. It takes the image for whole when what it
    /// has read ends in the mark: nothing may follow before that.
    fn wait_until_loaded(&self) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        while heard.is_none() && !self.gone.load(Ordering::Acquire) {
            let waited = self.was_heard.wait_timeout(heard, PING);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// It has loaded its image and says regularly how far it is.
    pub(crate) fn is_in_sync(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Position up to which it has executed everything; none before it has loaded its image.
    pub(crate) fn executed(&self) -> Option<u64> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|_| self.position.load(Ordering::Acquire))
    }

    /// The next `bytes` of the stream reach `position`.
    fn note_sent(&self, bytes: usize, position: u64) {
        let sent = self.sent.fetch_add(bytes as u64, Ordering::AcqRel) + bytes as u64;
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= MARKS_MAX {
            marks.pop_back();
        }
        marks.push_back((sent, position));
    }

    fn note_executed(&self, offset: u64) {
        self.executed.fetch_max(offset, Ordering::AcqRel);
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, position)) = marks.pop_front_if(|(bytes, _)| *bytes <= offset) {
            self.position.fetch_max(position, Ordering::AcqRel);
        }
        drop(marks);
        // A poll that cannot be woken looks again at its next cron.
        let _ = self.waker.wake();
    }

    /// Bytes of the stream that it has not executed yet.
    pub(crate) fn lag_bytes(&self) -> u64 {
        let sent = self.sent.load(Ordering::Acquire);
        sent.saturating_sub(self.executed.load(Ordering::Acquire))
    }
}

/// All replicas of an engine.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    links: Mutex<Vec<Arc<Replica>>>,
    /// A client waits for what they say.
    awaited: AtomicBool,
}

impl Replicas {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Replica>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_awaited(&self, on: bool) {
        self.awaited.store(on, Ordering::Release);
    }

    pub(crate) fn list(&self) -> Vec<Arc<Replica>> {
        self.all().clone()
    }

    pub(crate) fn close(&self) {
        self.all().drain(..).for_each(|replica| replica.cut());
    }

    /// Begins to serve a replica whose handshake is done. `id`: forty digits that name this stream.
    pub(crate) fn welcome(
        self: &Arc<Self>,
        socket: Socket,
        address: String,
        id: String,
        feed: Feed,
        waker: Arc<Waker>,
    ) -> io::Result<()> {
        socket.tcp().set_nonblocking(false)?;
        socket.tcp().set_read_timeout(Some(PATIENCE))?;
        socket.tcp().set_write_timeout(Some(PATIENCE))?;
        let replica = Arc::new(Replica {
            address,
            socket: socket.tcp().try_clone()?,
            sent: AtomicU64::new(0),
            executed: AtomicU64::new(0),
            position: AtomicU64::new(0),
            marks: Mutex::default(),
            waker,
            heard: Mutex::default(),
            was_heard: Condvar::new(),
            gone: AtomicBool::new(false),
        });
        {
            let mut all = self.all();
            if all.len() >= REPLICAS_MAX {
                return Err(io::Error::other("too many replicas"));
            }
            all.push(Arc::clone(&replica));
        }
        let (all, sending) = (Arc::clone(self), Arc::clone(&replica));
        let spawned = thread::Builder::new().name("replica-out".into()).spawn(move || {
            let ended = serve(&all, &sending, socket, &id, &feed);
            let reason = ended.map_or_else(|error| error.to_string(), |()| "it was cut".into());
            tracing::info!(address = sending.address, reason, "a replica is gone");
            all.leave(&sending);
        });
        if let Err(error) = spawned {
            self.leave(&replica);
            return Err(error);
        }
        Ok(())
    }

    fn leave(&self, replica: &Arc<Replica>) {
        replica.cut();
        self.all().retain(|other| !Arc::ptr_eq(other, replica));
    }
}

/// Why a replica is not served any more.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("failed to send: {0}")]
    Socket(#[from] io::Error),
    #[error("failed to read the journal: {0}")]
    Journal(#[from] JournalError),
    #[error("failed to read a record: {0}")]
    Record(#[from] crate::effects::CorruptEffect),
}

fn serve(
    all: &Replicas,
    replica: &Arc<Replica>,
    mut socket: Socket,
    id: &str,
    feed: &Feed,
) -> Result<(), Ended> {
    let mut tries = 0;
    let (mut image, mut tail) = loop {
        let image = feed.snapshot()?;
        let at = image.as_ref().map_or(Position(0), SnapshotReader::position);
        tries += 1;
        match feed.tail(at) {
            Err(JournalError::Trimmed { .. }) if tries < SNAPSHOT_TRIES => {}
            tail => break (image, tail?),
        }
    };
    replica.position.store(tail.last().0, Ordering::Release);
    let mark = mark();
    write!(socket, "+FULLRESYNC {id} 0\r\n$EOF:{mark}\r\n")?;
    match &mut image {
        Some(image) => _ = io::copy(image, &mut socket)?,
        None => socket.write_all(&rdb::Writer::new(vec![])?.finish()?)?,
    }
    socket.write_all(mark.as_bytes())?;
    let (receiving, from) = (Arc::clone(replica), socket.try_clone()?);
    thread::Builder::new().name("replica-in".into()).spawn(move || receive(&receiving, from))?;
    replica.wait_until_loaded();
    let mut stream = Stream::default();
    let mut ping_due = Instant::now();
    // Up to where it was asked how far it is.
    let mut asked = None;
    while !replica.gone.load(Ordering::Acquire) {
        match tail.next(ping_due.min(Instant::now() + LOOK))? {
            Some(entry) if entry.kind == kind::EFFECTS => stream.put(entry.body)?,
            None if Instant::now() >= ping_due => stream.ping(),
            Some(_) | None => {}
        }
        let (last, is_awaited) = (tail.last().0, all.awaited.load(Ordering::Acquire));
        let is_last = tail.last() >= feed.durable();
        if !is_last && stream.bytes.len() < BATCH_BYTES {
            continue;
        }
        let is_asked = is_awaited && asked != Some(last);
        if stream.bytes.is_empty() && !is_asked {
            continue;
        }
        ping_due = Instant::now() + PING;
        replica.note_sent(stream.bytes.len(), last);
        if is_asked {
            let before = stream.bytes.len();
            stream.ask();
            replica.sent.fetch_add((stream.bytes.len() - before) as u64, Ordering::AcqRel);
            asked = Some(last);
        }
        socket.write_all(&stream.bytes)?;
        stream.bytes.clear();
    }
    Ok(())
}

/// Forty digits that nobody can have put into a value.
fn mark() -> String {
    // The standard library seeds its hash maps from the system's random source.
    let random = || RandomState::new().hash_one(0);
    let digits = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    digits[..40].to_owned()
}

/// Takes what the replica says: `REPLCONF ACK <offset>`.
fn receive(replica: &Replica, mut from: Socket) {
    let (mut buffer, mut spans) = (vec![], vec![]);
    let mut decoder = Decoder::default();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        buffer.extend_from_slice(&piece[..read]);
        loop {
            spans.clear();
            match decoder.parse(&mut buffer, 0, &Limits::default(), &mut spans) {
                Parsed::Command { consumed } => {
                    let args: Vec<&[u8]> = spans.iter().map(|span| span.of(&buffer)).collect();
                    if let [_, ack, offset, ..] = args.as_slice()
                        && ack.eq_ignore_ascii_case(b"ack")
                        && let Some(offset) =
                            std::str::from_utf8(offset).ok().and_then(|t| t.parse().ok())
                    {
                        let mut heard =
                            replica.heard.lock().unwrap_or_else(PoisonError::into_inner);
                        *heard = Some(Instant::now());
                        replica.was_heard.notify_all();
                        drop(heard);
                        replica.note_executed(offset);
                    }
                    buffer.drain(..consumed);
                }
                Parsed::Incomplete { .. } if buffer.len() <= REQUEST_BYTES_MAX => break,
                Parsed::Incomplete { .. } | Parsed::Error(_) => return replica.cut(),
            }
        }
    }
    replica.cut();
}
