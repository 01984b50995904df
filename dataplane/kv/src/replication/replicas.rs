//! Replicas that speak the field's own protocol: a `redis-server` that follows this engine.
//!
//! | module | job |
//! |---|---|
//! | [`commands`] | records as commands |
//! | [`course`] | which bytes of a stream stand for which records |
//! | [`send`] | the thread that sends at the pace of its socket |
//!
//! Each gets an image of the keys (an RDB stream that ends in a mark), then commands made from the
//! records of the journal. It confirms what it has executed, not what is on its disk, so it counts for
//! no acknowledgement and no lease. The stream of one that goes away is remembered for a while: not its
//! bytes, but which records they were made of.

mod commands;
mod course;
mod send;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;
use orrery_journal::{Feed, Hold, Position};
use orrery_resp::{Decoder, Limits, Parsed};

pub(crate) use self::commands::say;
use self::course::Course;
pub(crate) use self::send::Wish;
use crate::replication::socket::Socket;

/// Replicas at the same time.
const REPLICAS_MAX: usize = 16;
/// As long as `repl-timeout` of Redis: a replica that loads its image neither reads nor speaks.
const PATIENCE: Duration = Duration::from_mins(1);
/// Something is sent at least so often.
const PING: Duration = Duration::from_secs(5);
/// One that confirmed within this time is in sync.
const FRESH: Duration = Duration::from_secs(3);
/// Streams of replicas that are away.
const AWAY_MAX: usize = 16;
/// So long is the stream of a replica remembered that is away, and has what it needs of the journal kept.
const AWAY: Duration = Duration::from_mins(10);
/// Longest wait for an old link of the same replica to let its stream go.
const LET_GO: Duration = Duration::from_secs(5);
/// Requests of a replica are a few dozen bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The stream of a replica.
#[derive(Debug)]
struct Line {
    /// Forty digits, which the replica names when it comes back.
    id: String,
    course: Course,
    /// Has the records kept that parts of the stream can be made from again.
    hold: Hold,
}

/// One replica.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Where it listens, as it said; else where it comes from.
    pub(crate) address: String,
    socket: TcpStream,
    /// None before its image is sent, and when it has left.
    line: Mutex<Option<Line>>,
    /// Bytes of the stream that it has executed.
    executed: AtomicU64,
    /// Position of the journal up to which it has executed everything.
    position: AtomicU64,
    awaited: Arc<AtomicBool>,
    waker: Arc<Waker>,
    feed: Feed,
    heard: Mutex<Option<Instant>>,
    was_heard: Condvar,
    gone: AtomicBool,
}

impl Replica {
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    fn cut(&self) {
        self.gone.store(true, Ordering::Release);
        self.was_heard.notify_all();
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.feed.wake();
    }

    fn heard(&self) -> MutexGuard<'_, Option<Instant>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it says that it has loaded its image. It takes the image for whole when what it
    /// has read ends in the mark: nothing may follow before that.
    fn wait_until_loaded(&self) {
        let mut heard = self.heard();
        while heard.is_none() && !self.is_gone() {
            let waited = self.was_heard.wait_timeout(heard, PING);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// It has loaded its image and says regularly how far it is.
    pub(crate) fn is_in_sync(&self) -> bool {
        self.heard().is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Position up to which it has executed everything; none before it has loaded its image.
    pub(crate) fn executed(&self) -> Option<u64> {
        let is_loaded = self.heard().is_some();
        is_loaded.then(|| self.position.load(Ordering::Acquire))
    }

    /// It was sent an image.
    fn begins(&self, line: Line) {
        self.position.store(line.course.end().position, Ordering::Release);
        *self.line() = Some(line);
    }

    /// It came back for the rest of a stream.
    fn takes_over(&self, line: Line) {
        *self.line() = Some(line);
        *self.heard() = Some(Instant::now());
    }

    /// The rest of that stream cannot be made: it gets an image.
    fn forgets(&self) {
        *self.line() = None;
        *self.heard() = None;
    }

    fn note(&self, note: impl FnOnce(&mut Course)) {
        if let Some(line) = &mut *self.line() {
            note(&mut line.course);
        }
    }

    fn note_executed(&self, bytes: u64) {
        self.executed.fetch_max(bytes, Ordering::AcqRel);
        if let Some(line) = &mut *self.line() {
            let needed = line.course.needs();
            if let Some(position) = line.course.executed(bytes) {
                self.position.fetch_max(position, Ordering::AcqRel);
            }
            if line.course.needs() > needed {
                line.hold.move_to(Position(line.course.needs()));
            }
        }
        if self.awaited.load(Ordering::Acquire) {
            // A poll that cannot be woken looks again at its next cron.
            let _ = self.waker.wake();
        }
    }

    /// Bytes of the stream that it has not executed yet.
    pub(crate) fn lag_bytes(&self) -> u64 {
        let sent = self.line().as_ref().map_or(0, |line| line.course.end().bytes);
        sent.saturating_sub(self.executed.load(Ordering::Acquire))
    }
}

/// How often replicas got an image, or only what they missed; as `INFO` counts them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syncs {
    pub(crate) full: u64,
    pub(crate) partial_ok: u64,
    pub(crate) partial_err: u64,
}

/// Who is served, and who was.
#[derive(Debug, Default)]
struct Book {
    links: Vec<Arc<Replica>>,
    /// Streams of replicas that are away, and since when.
    away: VecDeque<(Line, Instant)>,
    syncs: Syncs,
}

/// All replicas of an engine.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    book: Mutex<Book>,
    /// A link let its stream go.
    left: Condvar,
    /// A client waits for what they say.
    awaited: Arc<AtomicBool>,
}

impl Replicas {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_awaited(&self, on: bool) {
        if self.awaited.swap(on, Ordering::AcqRel) || !on {
            return;
        }
        // All of them read the same journal.
        if let Some(replica) = self.book().links.first() {
            replica.feed.wake();
        }
    }

    fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Acquire)
    }

    pub(crate) fn list(&self) -> Vec<Arc<Replica>> {
        self.book().links.clone()
    }

    pub(crate) fn syncs(&self) -> Syncs {
        self.book().syncs
    }

    pub(crate) fn reset_syncs(&self) {
        self.book().syncs = Syncs::default();
    }

    fn count(&self, has_asked: bool, is_partial: bool) {
        let mut book = self.book();
        if is_partial {
            book.syncs.partial_ok += 1;
        } else {
            book.syncs.full += 1;
            book.syncs.partial_err += u64::from(has_asked);
        }
    }

    /// Cuts all, and forgets their streams: none goes on from here.
    pub(crate) fn close(&self) {
        let mut book = self.book();
        book.away.clear();
        book.links.drain(..).for_each(|replica| replica.cut());
        drop(book);
        self.left.notify_all();
    }

    /// Forgets the streams of replicas that have been away for too long.
    pub(crate) fn forget_old(&self) {
        self.book().away.retain(|(_, since)| since.elapsed() < AWAY);
    }

    /// Begins to serve a replica whose handshake is done. `wish`: what it says it has.
    pub(crate) fn welcome(
        self: &Arc<Self>,
        socket: Socket,
        address: String,
        wish: Option<Wish>,
        feed: Feed,
        waker: Arc<Waker>,
    ) -> io::Result<()> {
        socket.tcp().set_nonblocking(false)?;
        socket.tcp().set_read_timeout(Some(PATIENCE))?;
        socket.tcp().set_write_timeout(Some(PATIENCE))?;
        let replica = Arc::new(Replica {
            address,
            socket: socket.tcp().try_clone()?,
            line: Mutex::default(),
            executed: AtomicU64::new(0),
            position: AtomicU64::new(0),
            awaited: Arc::clone(&self.awaited),
            waker,
            feed: feed.clone(),
            heard: Mutex::default(),
            was_heard: Condvar::new(),
            gone: AtomicBool::new(false),
        });
        {
            let mut book = self.book();
            if book.links.len() >= REPLICAS_MAX {
                return Err(io::Error::other("too many replicas"));
            }
            book.links.push(Arc::clone(&replica));
        }
        let (all, sending) = (Arc::clone(self), Arc::clone(&replica));
        let spawned = thread::Builder::new().name("replica-out".into()).spawn(move || {
            let ended = send::serve(&all, &sending, socket, wish.as_ref(), &feed);
            let may_go_on = matches!(ended, Ok(()) | Err(send::Ended::Socket(_)));
            let reason = ended.map_or_else(|error| error.to_string(), |()| "it was cut".into());
            tracing::info!(address = sending.address, reason, "a replica is gone");
            all.leave(&sending, may_go_on);
        });
        if let Err(error) = spawned {
            self.leave(&replica, false);
            return Err(error);
        }
        Ok(())
    }

    /// Ends a link. Its stream may go on later, unless it was forgotten with all others.
    fn leave(&self, replica: &Arc<Replica>, may_go_on: bool) {
        replica.cut();
        let may_go_on = may_go_on && replica.executed().is_some();
        let mut book = self.book();
        let line = replica.line().take().filter(|_| may_go_on);
        let before = book.links.len();
        book.links.retain(|other| !Arc::ptr_eq(other, replica));
        if book.links.len() < before
            && let Some(line) = line
        {
            if book.away.len() >= AWAY_MAX {
                book.away.pop_front();
            }
            book.away.push_back((line, Instant::now()));
        }
        drop(book);
        self.left.notify_all();
    }

    /// Gives the replica the stream it names; false when there is none. A link that still has it is
    /// cut, if it is an older one of this replica that has not noticed its end; to another replica a
    /// stream in use is none.
    fn hand_over(&self, wish: &Wish, replica: &Arc<Replica>) -> bool {
        let deadline = Instant::now() + LET_GO;
        let mut book = self.book();
        loop {
            if replica.is_gone() {
                return false;
            }
            let at = book.away.iter().position(|(line, _)| line.id == wish.id);
            if let Some((line, _)) = at.and_then(|at| book.away.remove(at)) {
                // Under the lock: there is no moment at which nobody has it.
                replica.takes_over(line);
                return true;
            }
            let is_it = |line: &Line| line.id == wish.id;
            let mut links = book.links.iter();
            let Some(older) = links.find(|link| link.line().as_ref().is_some_and(is_it)) else {
                return false;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if older.address != replica.address || left.is_zero() {
                return false;
            }
            older.cut();
            let waited = self.left.wait_timeout(book, left);
            book = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
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
                        *replica.heard() = Some(Instant::now());
                        replica.was_heard.notify_all();
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
