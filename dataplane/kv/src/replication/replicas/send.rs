//! What one replica is sent: an image and what is written from then on, or only what it missed.
//!
//! The bytes of a stream are made from durable records alone, the same each time, so a stream goes on
//! wherever the journal still has the records behind that place. A stream never goes on in another
//! process, nor after another one was primary: it is forgotten then.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use orrery_journal::{Feed, JournalError, Position, SnapshotReader, Tail};

use super::commands::Stream;
use super::course::{Course, MadeOf, Mark};
use super::{Line, PATIENCE, PING, Replica, Replicas, receive};
use crate::persistence::kind;
use crate::rdb;
use crate::replication::socket::Socket;

/// Gathered before it is sent.
const BATCH_BYTES: usize = 256 << 10;
/// A snapshot that is replaced while the copy begins is tried again so often.
const SNAPSHOT_TRIES: usize = 5;

/// What a replica says it has: a stream, and how many of its bytes it executed.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) id: String,
    pub(crate) executed: u64,
}

/// Why a replica is not served any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("failed to send: {0}")]
    Socket(#[from] io::Error),
    #[error("failed to read the journal: {0}")]
    Journal(#[from] JournalError),
    #[error("failed to read a record: {0}")]
    Record(#[from] crate::effects::CorruptEffect),
    #[error("a part of its stream came out differently when it was made again")]
    Differs,
}

/// Serves a replica until it is cut or fails.
pub(super) fn serve(
    all: &Replicas,
    replica: &Arc<Replica>,
    mut socket: Socket,
    wish: Option<&Wish>,
    feed: &Feed,
) -> Result<(), Ended> {
    let resumed = wish.and_then(|wish| Some((wish, resume(all, replica, wish, feed)?)));
    all.count(wish.is_some(), resumed.is_some());
    if let Some((wish, (begin, marks, mut tail))) = resumed {
        let Wish { id, executed } = wish;
        tracing::info!(address = replica.address, executed, "a replica goes on");
        write!(socket, "+CONTINUE {id}\r\n")?;
        listen(replica, &socket)?;
        let stream = Stream { bytes: vec![], db: begin.db };
        let skip = executed - begin.bytes;
        let mut out = Out { replica, socket, stream, noted: 0, skip };
        out.make_again(&mut tail, begin.bytes, &marks)?;
        return out.go_on(all, &mut tail, feed);
    }
    replica.forgets();
    let (image, mut tail) = image_and_tail(feed)?;
    let id = forty_digits();
    tracing::info!(address = replica.address, position = tail.last().0, "a replica gets an image");
    send_image(&mut socket, &id, image)?;
    let position = tail.last();
    replica.begins(Line { id, course: Course::begin(position.0), hold: feed.hold(position) });
    listen(replica, &socket)?;
    replica.wait_until_loaded();
    let mut out = Out { replica, socket, stream: Stream::default(), noted: 0, skip: 0 };
    out.go_on(all, &mut tail, feed)
}

/// Where to begin so that the rest of the stream it names is made again, and the marks up to its end.
fn resume(
    all: &Replicas,
    replica: &Arc<Replica>,
    wish: &Wish,
    feed: &Feed,
) -> Option<(Mark, Vec<Mark>, Tail)> {
    if !all.hand_over(wish, replica) {
        return None;
    }
    let (begin, marks) = replica.line().as_ref()?.course.again(wish.executed)?;
    let tail = feed.tail(Position(begin.position)).ok()?;
    replica.note_executed(wish.executed);
    Some((begin, marks, tail))
}

fn listen(replica: &Arc<Replica>, socket: &Socket) -> io::Result<()> {
    let (receiving, from) = (Arc::clone(replica), socket.try_clone()?);
    thread::Builder::new().name("replica-in".into()).spawn(move || receive(&receiving, from))?;
    Ok(())
}

fn image_and_tail(feed: &Feed) -> Result<(Option<SnapshotReader>, Tail), Ended> {
    let mut tries = 0;
    loop {
        let image = feed.snapshot()?;
        let at = image.as_ref().map_or(Position(0), SnapshotReader::position);
        tries += 1;
        match feed.tail(at) {
            Err(JournalError::Trimmed { .. }) if tries < SNAPSHOT_TRIES => {}
            tail => return Ok((image, tail?)),
        }
    }
}

fn send_image(socket: &mut Socket, id: &str, image: Option<SnapshotReader>) -> Result<(), Ended> {
    let mark = forty_digits();
    write!(socket, "+FULLRESYNC {id} 0\r\n$EOF:{mark}\r\n")?;
    match image {
        Some(mut image) => _ = io::copy(&mut image, socket)?,
        None => socket.write_all(&rdb::Writer::new(vec![])?.finish()?)?,
    }
    Ok(socket.write_all(mark.as_bytes())?)
}

/// Forty digits that nobody can have put into a value, or guess.
fn forty_digits() -> String {
    // The standard library seeds its hash maps from the system's random source.
    let random = || RandomState::new().hash_one(0);
    let digits = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    digits[..40].to_owned()
}

/// What has been gathered for the socket.
struct Out<'a> {
    replica: &'a Replica,
    socket: Socket,
    stream: Stream,
    /// How much of what was gathered is in the course of the stream.
    noted: usize,
    /// The replica has the next so many bytes already.
    skip: u64,
}

impl Out<'_> {
    fn flush(&mut self) -> io::Result<()> {
        let len = self.stream.bytes.len() as u64;
        let had = self.skip.min(len);
        self.skip -= had;
        self.socket.write_all(&self.stream.bytes[had as usize..])?;
        self.stream.bytes.clear();
        self.stream.bytes.shrink_to(BATCH_BYTES * 2);
        self.noted = 0;
        Ok(())
    }

    /// What was gathered since the last time reaches `position`. Before it is sent: whatever the
    /// replica may have got is known.
    fn note(&mut self, position: u64, made_of: MadeOf) {
        let count = (self.stream.bytes.len() - self.noted) as u64;
        self.noted = self.stream.bytes.len();
        self.replica.note(|course| course.note(count, position, self.stream.db, made_of));
    }

    /// Makes the bytes up to each of the marks again, from `made` bytes on, and sends those that the
    /// replica does not have.
    fn make_again(&mut self, tail: &mut Tail, mut made: u64, marks: &[Mark]) -> Result<(), Ended> {
        for mark in marks {
            let mut before = self.stream.bytes.len();
            match mark.made_of {
                MadeOf::Ping => self.stream.ping(),
                MadeOf::Question => self.stream.ask(),
                MadeOf::Records => {}
            }
            while tail.last().0 < mark.position {
                // It was durable before it was sent the first time.
                let entry = tail.next(Instant::now() + PATIENCE)?.ok_or(Ended::Differs)?;
                if entry.kind == kind::EFFECTS {
                    self.stream.put(entry.body)?;
                }
                if self.stream.bytes.len() >= BATCH_BYTES {
                    made += (self.stream.bytes.len() - before) as u64;
                    self.flush()?;
                    before = 0;
                }
            }
            made += (self.stream.bytes.len() - before) as u64;
            if (made, self.stream.db) != (mark.bytes, mark.db) {
                return Err(Ended::Differs);
            }
        }
        Ok(self.flush()?)
    }

    /// Sends what becomes durable, until the replica is cut.
    fn go_on(&mut self, all: &Replicas, tail: &mut Tail, feed: &Feed) -> Result<(), Ended> {
        let mut ping_due = Instant::now();
        // Up to where it was asked how far it is.
        let mut asked = None;
        loop {
            let is_asked = asked == Some(tail.last().0);
            let is_called = || self.replica.is_gone() || (!is_asked && all.is_awaited());
            let entry = tail.next_unless(ping_due, is_called)?;
            if self.replica.is_gone() {
                return Ok(());
            }
            match entry {
                Some(entry) if entry.kind == kind::EFFECTS => self.stream.put(entry.body)?,
                Some(_) | None => {}
            }
            let last = tail.last();
            if last < feed.durable() && self.stream.bytes.len() < BATCH_BYTES {
                continue;
            }
            self.note(last.0, MadeOf::Records);
            if Instant::now() >= ping_due && self.stream.bytes.is_empty() {
                self.stream.ping();
                self.note(last.0, MadeOf::Ping);
            }
            if all.is_awaited() && asked != Some(last.0) {
                self.stream.ask();
                self.note(last.0, MadeOf::Question);
                asked = Some(last.0);
            }
            if !self.stream.bytes.is_empty() {
                ping_due = Instant::now() + PING;
                self.flush()?;
            }
        }
    }
}
