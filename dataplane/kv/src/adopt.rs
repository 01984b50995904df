//! Taking over a Redis: this engine follows it by the field's own replication protocol until it is
//! told to go on alone.
//!
//! | module | job |
//! |---|---|
//! | [`connect`] | a socket to the source, over TLS where it speaks that |
//! | [`source`] | a thread that connects, asks for everything and reads what is written from then on |
//! | [`apply`] | the event loop's part: runs what came in, and says how far it is |
//!
//! The first copy is an RDB image, which is read to its end before anything here is touched; behind
//! it come commands, which run here as they ran there. Deadlines are the source's business: nothing
//! expires here before it says so. What this engine has no type or command for ends the take-over
//! with the name of the key, and leaves the source as it is.
//!
//! While the image is loaded, a mark lies in the data folder. A process that finds it and is not to
//! follow any more refuses to serve the half of an image.
//!
//! Protocol: `replication.c` of Redis 7.0 (SYNC with PSYNC, REPLCONF ACK).

mod apply;
mod connect;
mod source;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use mio::Waker;
use orrery_kit::secrets::Secrets;
use orrery_operand::v1::Link;

pub(crate) use self::connect::Tls;
use crate::machine::Session;

/// Pieces that may wait for the loop.
const PIECES_MAX: usize = 64;
/// The mark of an image that is being loaded.
const MARK: &str = "adopting";
/// The image as it came.
const IMAGE: &str = "adopt.rdb";

/// What the loop gets from the thread.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Everything the source had at this offset of its stream.
    Image { path: PathBuf, offset: u64 },
    /// Commands in their order.
    Commands(Vec<Command>),
}

/// A command of the source.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) args: Vec<Vec<u8>>,
    /// Offset of the stream behind it.
    pub(crate) end: u64,
}

/// What both sides look at.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    up: AtomicBool,
    address: Mutex<String>,
    /// Offset up to which the stream was received.
    received: AtomicU64,
    /// Offset up to which it is on disk here.
    durable: AtomicU64,
    copy_percent: AtomicU64,
    heard_ms: AtomicU64,
    /// Why it does not go on; empty while it does.
    trouble: Mutex<String>,
    /// The loop gave the running copy up: it is to begin again.
    begin_again: AtomicBool,
    start: Instant,
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, text: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut trouble);
    }
}

/// A take-over under way; its thread ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Adoption {
    shared: Arc<Shared>,
    from: Receiver<Piece>,
    data: PathBuf,
    session: Session,
    /// Commands of a transaction that has not ended yet.
    multi: Option<Vec<Command>>,
    /// Everything of the first image is here, and what came behind it up to now.
    is_complete: bool,
    /// After trouble nothing counts but the next image.
    wants_image: bool,
    /// Offset of what ran last.
    applied: u64,
    /// An offset, and the position that makes it durable.
    pending: Option<(u64, u64)>,
    has_more: bool,
}

impl Adoption {
    /// Follows the source that the Secret in `folder` names. `tls`: it speaks TLS.
    pub(crate) fn start(
        folder: &Path,
        tls: Option<Tls>,
        data: &Path,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            up: AtomicBool::new(false),
            address: Mutex::default(),
            received: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            copy_percent: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            trouble: Mutex::default(),
            begin_again: AtomicBool::new(false),
            start: Instant::now(),
        });
        let (to, from) = sync_channel(PIECES_MAX);
        let source = source::Source {
            secrets: Secrets::new(Some(folder)),
            tls,
            image: data.join(IMAGE),
            shared: Arc::clone(&shared),
            to,
            waker,
        };
        thread::Builder::new().name("adopt".into()).spawn(move || source.run())?;
        Ok(Self {
            shared,
            from,
            data: data.to_owned(),
            session: Session::default(),
            multi: None,
            is_complete: false,
            wants_image: true,
            applied: 0,
            pending: None,
            has_more: false,
        })
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    /// The link as `Report` shows it; positions are offsets of the source's stream.
    pub(crate) fn link(&self) -> Link {
        let shared = &self.shared;
        let address = shared.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let heard_ms = shared.heard_ms.load(Ordering::Acquire);
        Link {
            address,
            up: shared.up.load(Ordering::Acquire),
            primary_position: shared.received.load(Ordering::Acquire),
            copy_percent: shared.copy_percent.load(Ordering::Acquire) as u32,
            silent_milliseconds: shared.now_ms().saturating_sub(heard_ms),
        }
    }

    /// Bytes of the source's stream that are not on disk here yet.
    pub(crate) fn lag_bytes(&self) -> u64 {
        let received = self.shared.received.load(Ordering::Acquire);
        received.saturating_sub(self.shared.durable.load(Ordering::Acquire))
    }

    /// Why it does not go on; empty while it does.
    pub(crate) fn trouble(&self) -> String {
        self.shared.trouble()
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// Whether an image was being loaded when the last process ended.
pub(crate) fn is_half_loaded(data: &Path) -> bool {
    data.join(MARK).exists()
}

fn set_mark(data: &Path) -> io::Result<()> {
    File::create(data.join(MARK))?.sync_all()?;
    File::open(data)?.sync_all()
}

fn remove_mark(data: &Path) -> io::Result<()> {
    fs::remove_file(data.join(MARK))?;
    File::open(data)?.sync_all()
}
