//! The thread that talks to the source.
//!
//! What the loop does not take stops it, and the socket stops the source; it goes on telling the
//! source that it lives meanwhile.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;
use orrery_kit::secrets::{SecretError, Secrets};
use orrery_resp::{Decoder, Limits, Parsed, ProtocolError, Span};

use super::connect::{ConnectError, STUCK, Tls, connect, said};
use super::{Command, Piece, Shared};
use crate::replication::dial;
use crate::replication::socket::Socket;

/// How often the thread looks up from a silent socket.
const LOOK: Duration = Duration::from_millis(200);
/// The source hears from this process at least so often.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);
/// A source that says nothing for so long is given up: it pings every ten seconds, and while it
/// prepares an image it sends empty lines.
const SILENCE: Duration = Duration::from_mins(1);
/// Pause between two attempts, doubled up to the other one.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Pause before everything is asked for again because it could not be taken.
const RETRY_ALL: Duration = Duration::from_secs(10);
/// Longest line of the handshake.
const LINE_BYTES_MAX: u64 = 4096;
const BUFFER_BYTES: usize = 256 << 10;
/// The most bytes of one argument, as in Redis.
const BULK_BYTES_MAX: i64 = 512 << 20;
/// The most arguments of one command, as in Redis.
const ARGS_MAX: i64 = 1 << 20;

/// Why a connection to the source ended.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("the Secret has no key `address`")]
    NoAddress,
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("failed to talk to the source: {}", said(.0))]
    Io(#[from] io::Error),
    #[error("failed to keep the image of the source: {0}")]
    Image(io::Error),
    #[error("the source refused {asked}: {said}")]
    Refused { asked: &'static str, said: String },
    #[error("the source sent what is no command: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the source sent what does not belong here: {0}")]
    Unexpected(&'static str),
    #[error("the source was silent for {} s", SILENCE.as_secs())]
    Silent,
    /// The loop could not go on with it, and said why.
    #[error("what it sent could not be taken")]
    GivenUp,
    #[error("the take-over ended")]
    Stopped,
}

pub(super) struct Source {
    pub(super) secrets: Secrets,
    pub(super) tls: Option<Tls>,
    pub(super) image: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) to: SyncSender<Piece>,
    pub(super) waker: Arc<Waker>,
}

/// Where in which history this process is.
#[derive(Debug, Clone)]
struct Place {
    id: String,
    offset: u64,
}

impl Source {
    pub(super) fn run(self) {
        let mut wait = RETRY_MIN;
        let mut place = None;
        while !self.shared.is_stopped() {
            let started = Instant::now();
            let ended = self.follow(&mut place);
            self.shared.up.store(false, Ordering::Release);
            let Err(error) = ended else { return };
            match error {
                SourceError::Stopped => return,
                SourceError::GivenUp => wait = RETRY_ALL,
                _ if started.elapsed() > RETRY_MAX => wait = RETRY_MIN,
                _ => wait = (wait * 2).min(RETRY_MAX),
            }
            if matches!(error, SourceError::GivenUp) {
                place = None;
            } else {
                tracing::warn!(%error, "the take-over does not go on");
                self.shared.set_trouble(&error.to_string());
            }
            self.wake();
            let until = Instant::now() + wait;
            while Instant::now() < until && !self.shared.is_stopped() {
                thread::sleep(LOOK.min(wait));
            }
        }
    }

    /// Follows until something ends it.
    fn follow(&self, place: &mut Option<Place>) -> Result<(), SourceError> {
        let address = self.secrets.get("address")?.ok_or(SourceError::NoAddress)?;
        let address = address.reveal().to_owned();
        {
            let mut shown = self.shared.address.lock().unwrap_or_else(PoisonError::into_inner);
            shown.clone_from(&address);
        }
        let socket = connect(&address, self.tls.as_ref())?;
        socket.tcp().set_read_timeout(Some(LOOK))?;
        let mut link =
            Link { from: BufReader::with_capacity(BUFFER_BYTES, socket), heard: Instant::now() };
        self.log_in(&mut link)?;
        link.ask("PING", &[b"PING"])?;
        link.ask("REPLCONF", &[b"REPLCONF", b"capa", b"psync2"])?;
        let (id, next) = match place {
            Some(place) => (place.id.clone(), (place.offset + 1).to_string()),
            None => ("?".to_owned(), "-1".to_owned()),
        };
        link.send(&[b"PSYNC", id.as_bytes(), next.as_bytes()])?;
        let answer = self.line(&mut link)?;
        let words: Vec<&str> = answer.split(' ').collect();
        let mut at = match (words.as_slice(), place.take()) {
            (["+CONTINUE"], Some(same)) => same,
            (["+CONTINUE", id], Some(same)) => Place { id: (*id).to_owned(), ..same },
            (["+FULLRESYNC", id, offset], _) => {
                let offset = offset.parse();
                let offset =
                    offset.map_err(|_| SourceError::Unexpected("an offset is no number"))?;
                self.take_image(&mut link, offset)?;
                Place { id: (*id).to_owned(), offset }
            }
            _ => return Err(SourceError::Refused { asked: "PSYNC", said: answer }),
        };
        self.shared.up.store(true, Ordering::Release);
        self.wake();
        let ended = self.take_commands(&mut link, &mut at);
        // What was handed over is not asked for again.
        *place = Some(at);
        ended
    }

    fn log_in(&self, link: &mut Link) -> Result<(), SourceError> {
        let Some(password) = self.secrets.get("password")? else { return Ok(()) };
        let password = password.reveal().as_bytes();
        match self.secrets.get("username")? {
            Some(user) => link.ask("AUTH", &[b"AUTH", user.reveal().as_bytes(), password]),
            None => link.ask("AUTH", &[b"AUTH", password]),
        }
    }

    /// The next line that is not empty. Empty ones come while the source prepares an image.
    fn line(&self, link: &mut Link) -> Result<String, SourceError> {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                self.check(link)?;
                let left = LINE_BYTES_MAX - line.len() as u64;
                match (&mut link.from).take(left).read_until(b'\n', &mut line) {
                    Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    Ok(_) => link.heard = Instant::now(),
                    Err(error) if is_pause(&error) => {}
                    Err(error) => return Err(error.into()),
                }
                if line.len() as u64 == LINE_BYTES_MAX {
                    return Err(SourceError::Unexpected("a line without an end"));
                }
            }
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            if !text.is_empty() {
                return Ok(text);
            }
        }
    }

    /// Writes the image to a file and hands it over.
    fn take_image(&self, link: &mut Link, offset: u64) -> Result<(), SourceError> {
        self.shared.copy_percent.store(0, Ordering::Release);
        let line = self.line(link)?;
        let total: u64 = line
            .strip_prefix('$')
            .and_then(|digits| digits.parse().ok())
            .ok_or(SourceError::Unexpected("an image without a length"))?;
        let mut file = File::create(&self.image).map_err(SourceError::Image)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut done = 0;
        while done < total {
            let wanted = usize::try_from(total - done).unwrap_or(usize::MAX).min(BUFFER_BYTES);
            let Some(read) = self.read(link, &mut buffer[..wanted])? else { continue };
            file.write_all(&buffer[..read]).map_err(SourceError::Image)?;
            done += read as u64;
            self.shared.copy_percent.store(done * 99 / total.max(1), Ordering::Release);
        }
        self.shared.begin_again.store(false, Ordering::Release);
        self.shared.received.store(offset, Ordering::Release);
        self.hand_over(link, Piece::Image { path: self.image.clone(), offset })
    }

    /// Reads commands until something ends it; `at` is behind the last one that was handed over.
    fn take_commands(&self, link: &mut Link, at: &mut Place) -> Result<(), SourceError> {
        let limits =
            Limits { args_max: ARGS_MAX, bulk_bytes_max: BULK_BYTES_MAX, authenticated: true };
        let (mut decoder, mut spans) = (Decoder::default(), Vec::new());
        let (mut buffer, mut piece) = (Vec::new(), vec![0; BUFFER_BYTES]);
        let mut acknowledged = Instant::now();
        loop {
            let Some(read) = self.read(link, &mut piece)? else {
                self.acknowledge(link, &mut acknowledged, false)?;
                continue;
            };
            buffer.extend_from_slice(&piece[..read]);
            let (mut from, mut commands, mut is_asked) = (0, Vec::new(), false);
            let mut offset = at.offset;
            loop {
                spans.clear();
                match decoder.parse(&mut buffer, from, &limits, &mut spans) {
                    Parsed::Command { consumed } => {
                        from += consumed;
                        offset += consumed as u64;
                        let args = spans.iter().map(|span: &Span| span.of(&buffer).to_vec());
                        let args: Vec<Vec<u8>> = args.collect();
                        is_asked |= is_question(&args);
                        if !args.is_empty() {
                            commands.push(Command { args, end: offset });
                        }
                    }
                    Parsed::Incomplete { .. } => break,
                    Parsed::Error(error) => return Err(error.into()),
                }
            }
            buffer.drain(..from);
            self.shared.received.store(offset + buffer.len() as u64, Ordering::Release);
            if !commands.is_empty() {
                self.hand_over(link, Piece::Commands(commands))?;
            }
            at.offset = offset;
            self.acknowledge(link, &mut acknowledged, is_asked)?;
        }
    }

    /// Says what is on disk here, once a second or when asked.
    fn acknowledge(
        &self,
        link: &mut Link,
        last: &mut Instant,
        is_asked: bool,
    ) -> Result<(), SourceError> {
        if !is_asked && last.elapsed() < ACKNOWLEDGE {
            return Ok(());
        }
        *last = Instant::now();
        let durable = self.shared.durable.load(Ordering::Acquire).to_string();
        link.send(&[b"REPLCONF", b"ACK", durable.as_bytes()])
    }

    /// Gives a piece to the loop, however long it takes.
    fn hand_over(&self, link: &mut Link, mut piece: Piece) -> Result<(), SourceError> {
        let mut acknowledged = Instant::now();
        loop {
            piece = match self.to.try_send(piece) {
                Ok(()) => {
                    self.wake();
                    link.heard = Instant::now();
                    return Ok(());
                }
                Err(TrySendError::Disconnected(_)) => return Err(SourceError::Stopped),
                Err(TrySendError::Full(piece)) => piece,
            };
            thread::sleep(Duration::from_millis(2));
            self.check(link)?;
            link.heard = Instant::now();
            self.acknowledge(link, &mut acknowledged, false)?;
        }
    }

    /// Bytes that came; `None` when none did for a moment.
    fn read(&self, link: &mut Link, to: &mut [u8]) -> Result<Option<usize>, SourceError> {
        self.check(link)?;
        match link.from.read(to) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(read) => {
                link.heard = Instant::now();
                self.shared.heard_ms.store(self.shared.now_ms(), Ordering::Release);
                Ok(Some(read))
            }
            Err(error) if is_pause(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn check(&self, link: &Link) -> Result<(), SourceError> {
        if self.shared.is_stopped() {
            return Err(SourceError::Stopped);
        }
        if self.shared.begin_again.swap(false, Ordering::AcqRel) {
            return Err(SourceError::GivenUp);
        }
        if link.heard.elapsed() > SILENCE {
            return Err(SourceError::Silent);
        }
        Ok(())
    }

    fn wake(&self) {
        // A poll that cannot be woken looks at its next cron.
        let _ = self.waker.wake();
    }
}

/// A connection to the source.
struct Link {
    from: BufReader<Socket>,
    heard: Instant,
}

impl Link {
    fn send(&mut self, args: &[&[u8]]) -> Result<(), SourceError> {
        let mut text = Vec::new();
        dial::write_command(args, &mut text);
        self.from.get_mut().write_all(&text)?;
        Ok(())
    }

    /// Sends a command of the handshake and reads its one-line answer. What was sent is not part
    /// of any error: it may be a password.
    fn ask(&mut self, asked: &'static str, args: &[&[u8]]) -> Result<(), SourceError> {
        self.send(args)?;
        let mut line = String::new();
        let deadline = Instant::now() + STUCK;
        while !line.ends_with('\n') {
            match (&mut self.from).take(LINE_BYTES_MAX).read_line(&mut line) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) if is_pause(&error) && Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
            if line.len() as u64 >= LINE_BYTES_MAX {
                return Err(SourceError::Unexpected("a line without an end"));
            }
        }
        self.heard = Instant::now();
        if line.starts_with('+') {
            return Ok(());
        }
        Err(SourceError::Refused { asked, said: line.trim().to_owned() })
    }
}

/// A read that only timed out.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// `REPLCONF GETACK *`: the source wants to know at once.
fn is_question(args: &[Vec<u8>]) -> bool {
    matches!(args, [word, what, ..]
        if word.eq_ignore_ascii_case(b"replconf") && what.eq_ignore_ascii_case(b"getack"))
}
