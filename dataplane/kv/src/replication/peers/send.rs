//! The sending thread of one link: a full copy if there must be one, then record after record.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orrery_journal::{Feed, JournalError, Position, SnapshotReader, Tail};

use super::{Asked, Peer, Peers};
use crate::replication::socket::Socket;
use crate::replication::wire::{self, CopyPlan, Message, PIECE_BYTES};
use orrery_archiving::History;

/// The follower hears from the primary at least so often.
const HEARTBEAT: Duration = Duration::from_millis(200);
/// Messages are gathered up to this size before they are sent.
const BATCH_BYTES: usize = 256 << 10;
/// A snapshot that is replaced while the copy begins is tried again so often.
const SNAPSHOT_TRIES: usize = 5;

/// Why a link ended.
#[derive(Debug)]
pub(super) enum Ended {
    Socket(io::Error),
    Journal(JournalError),
    Cut,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => write!(f, "failed to send: {error}"),
            Self::Journal(error) => write!(f, "failed to read the journal: {error}"),
            Self::Cut => f.write_str("it was cut"),
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl From<JournalError> for Ended {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// Where a link begins: with the records behind what the follower has, or with an image.
struct Begin {
    tail: Tail,
    plan: Option<CopyPlan>,
    image: Option<SnapshotReader>,
}

fn begin(feed: &Feed, history: &History, asked: &Asked) -> Result<Begin, Ended> {
    let Asked { position, epoch, .. } = *asked;
    let durable = feed.durable().0;
    let agrees = position <= durable && history.epoch_at(position) == epoch;
    let newest = feed.snapshot()?.map_or(0, |snapshot| snapshot.position().0);
    // Who has nothing is better served by an image than by every record there ever was.
    if agrees && (position > 0 || newest == 0) {
        match feed.tail(Position(position)) {
            Ok(tail) => return Ok(Begin { tail, plan: None, image: None }),
            Err(JournalError::Trimmed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut tries = 0;
    loop {
        let image = feed.snapshot()?;
        let at = image.as_ref().map_or(0, |image| image.position().0);
        tries += 1;
        let tail = match feed.tail(Position(at)) {
            Err(JournalError::Trimmed { .. }) if tries < SNAPSHOT_TRIES => continue,
            tail => tail?,
        };
        let plan = CopyPlan {
            at,
            at_epoch: history.epoch_at(at),
            target: feed.durable().0,
            common: history.common(position, epoch).min(durable),
            image_bytes: image.as_ref().map_or(Ok(0), SnapshotReader::file_bytes)?,
        };
        return Ok(Begin { tail, plan: Some(plan), image });
    }
}

/// What has been gathered for the socket.
struct Out<'a> {
    socket: Socket,
    bytes: Vec<u8>,
    peers: &'a Peers,
    peer: &'a Peer,
    feed: &'a Feed,
    beat_due: Instant,
}

impl Out<'_> {
    fn flush(&mut self) -> Result<(), Ended> {
        if self.peer.gone.load(Ordering::Acquire) {
            return Err(Ended::Cut);
        }
        self.socket.write_all(&self.bytes)?;
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_BYTES * 2);
        Ok(())
    }

    fn put(&mut self, message: &Message) {
        wire::put(&mut self.bytes, message);
    }

    /// Says that this process lives, if it is time to.
    fn beat(&mut self) -> Result<(), Ended> {
        if Instant::now() < self.beat_due {
            return Ok(());
        }
        self.beat_due = Instant::now() + HEARTBEAT;
        let stamp = self.peers.now_ms();
        let epoch = self.peers.epoch.load(Ordering::Acquire);
        self.put(&Message::Heartbeat { stamp, epoch, durable: self.feed.durable().0 });
        self.flush()
    }
}

/// Sends until the link ends; gives the reason.
pub(super) fn run(
    peers: &Peers,
    peer: &Peer,
    socket: Socket,
    asked: &Asked,
    feed: &Feed,
    history: &History,
) -> Ended {
    let mut out = Out { socket, bytes: vec![], peers, peer, feed, beat_due: Instant::now() };
    match send(&mut out, asked, history) {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

/// The link has no end of its own.
enum Never {}

fn send(out: &mut Out<'_>, asked: &Asked, history: &History) -> Result<Never, Ended> {
    out.bytes.extend_from_slice(wire::CONSENT.as_bytes());
    let Begin { mut tail, plan, image } = begin(out.feed, history, asked)?;
    let epoch = out.peers.epoch.load(Ordering::Acquire);
    out.put(&Message::Start { epoch, copy: plan });
    tracing::info!(
        follower = asked.name,
        address = asked.address,
        position = asked.position,
        copy = plan.is_some(),
        "a follower is served"
    );
    if let Some(image) = image {
        send_image(out, image)?;
    }
    if plan.is_some() {
        out.put(&Message::ImageEnd);
    }
    loop {
        out.beat()?;
        if let Some(entry) = tail.next(out.beat_due)? {
            wire::put_record(&mut out.bytes, &entry);
        }
        let is_last = tail.last() >= out.feed.durable();
        if is_last || out.bytes.len() >= BATCH_BYTES {
            out.flush()?;
        }
        say_goodbye(out, tail.last().0)?;
    }
}

fn send_image(out: &mut Out<'_>, mut image: SnapshotReader) -> Result<(), Ended> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match image.read(&mut piece[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        wire::put_piece(&mut out.bytes, &piece[..filled]);
        out.flush()?;
        out.beat()?;
    }
}

fn say_goodbye(out: &mut Out<'_>, sent: u64) -> Result<(), Ended> {
    let Some(position) = out.peers.last.load(Ordering::Acquire).checked_sub(1) else {
        return Ok(());
    };
    let has_all = sent >= position && out.peer.confirmed() >= position;
    if has_all && !out.peer.told_goodbye.load(Ordering::Acquire) {
        let epoch = out.peers.epoch.load(Ordering::Acquire);
        out.put(&Message::Goodbye { epoch, position });
        out.flush()?;
        out.peer.told_goodbye.store(true, Ordering::Release);
        out.peers.wake();
    }
    Ok(())
}
