//! One connection to the primary, from the handshake to its end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use orrery_journal::CarrierError;

use super::{Dropped, Event, Runner, Shared};
use crate::replication::USER;
use crate::replication::copy::{CopyError, Copying};
use crate::replication::dial;
use crate::replication::socket::Socket;
use crate::replication::wire::{self, CAPABILITY, CONSENT, Message, Record, WireError};

const CONNECT: Duration = Duration::from_secs(2);
/// A primary that says nothing for so long is given up: it says something five times a second.
const SILENCE: Duration = Duration::from_secs(3);
const STUCK: Duration = Duration::from_secs(3);
/// The primary hears from this process at least so often.
const CONFIRM: Duration = Duration::from_millis(250);
/// Longest line of the handshake.
const LINE_BYTES_MAX: u64 = 1024;
/// Records are handed over in batches of about this size.
const BATCH_BYTES: usize = 1 << 20;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("failed to connect: {0}")]
    Connect(io::Error),
    #[error("failed to talk to the primary: {0}")]
    Io(#[from] io::Error),
    #[error("the primary refused: {0}")]
    Refused(String),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the primary has epoch {found}, wanted is {wanted}")]
    Epoch { found: u64, wanted: u64 },
    #[error("the primary sent what does not belong here: {0}")]
    Unexpected(&'static str),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    #[error(
        "{here} records are here and {carried} are carried: the engine of the journal has lost some, \
         or is another one"
    )]
    Ahead { here: u64, carried: u64 },
    #[error("the link is not wanted any more")]
    Dropped,
}

impl From<Dropped> for SessionError {
    fn from(_: Dropped) -> Self {
        Self::Dropped
    }
}

/// Runs a connection; `Ok` when a copy is whole and this link has done its part.
pub(super) fn run(runner: &mut Runner) -> Result<(), SessionError> {
    let socket = connect(&runner.plan.address)?;
    let shared = Arc::clone(&runner.shared);
    {
        let mut held = shared.socket.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(socket.try_clone()?);
    }
    if shared.is_stopped() {
        return Err(SessionError::Dropped);
    }
    let mut socket = match &runner.plan.identity {
        Some(identity) => {
            Socket::connect_to_peer(socket, identity).map_err(SessionError::Connect)?
        }
        None => Socket::plain(socket),
    };
    let mut from = BufReader::with_capacity(256 << 10, socket.try_clone()?);
    shake_hands(runner, &mut socket, &mut from)?;
    let Message::Start { epoch, copy } = wire::read(&mut from)? else {
        return Err(SessionError::Unexpected("no start"));
    };
    if epoch < runner.plan.epoch {
        return Err(SessionError::Epoch { found: epoch, wanted: runner.plan.epoch });
    }
    shared.heard_ms.store(shared.now_ms(), Ordering::Release);
    shared.stamp.store(0, Ordering::Release);
    let copy = copy.map(|plan| Copying::begin(&runner.plan, plan, epoch)).transpose()?;
    // What is here while a copy is made is no part of that history.
    let is_confirming = copy.is_none();
    let ended = Arc::new(AtomicBool::new(false));
    let confirmer = {
        let (shared, ended) = (Arc::clone(&shared), Arc::clone(&ended));
        thread::Builder::new()
            .name("confirm".into())
            .spawn(move || confirm(&shared, socket, &ended, is_confirming))?
    };
    let result = match copy {
        None => follow(runner, &mut from, epoch),
        Some(copy) => take_copy(runner, &mut from, copy),
    };
    ended.store(true, Ordering::Release);
    shared.hang_up();
    shared.durable_moved.notify_all();
    if confirmer.join().is_err() {
        tracing::error!("the confirming thread panicked");
    }
    result
}

fn connect(address: &str) -> Result<TcpStream, SessionError> {
    let socket = dial::connect(address, CONNECT).map_err(SessionError::Connect)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.set_write_timeout(Some(STUCK))?;
    Ok(socket)
}

/// The handshake of the field: PING, AUTH, REPLCONF, PSYNC.
fn shake_hands(
    runner: &Runner,
    socket: &mut Socket,
    from: &mut impl BufRead,
) -> Result<(), SessionError> {
    let plan = &runner.plan;
    let mut ask = |args: &[&[u8]]| -> Result<String, SessionError> {
        let mut request = Vec::new();
        dial::write_command(args, &mut request);
        socket.write_all(&request)?;
        let mut line = vec![];
        (&mut *from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(SessionError::Unexpected("no line"));
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    };
    let consent = |line: String, wanted: &str| {
        if line == wanted { Ok(()) } else { Err(SessionError::Refused(line.trim().to_owned())) }
    };
    let pong = ask(&[b"PING"])?;
    if !pong.starts_with("-NOAUTH") {
        consent(pong, "+PONG\r\n")?;
    }
    if let Some(token) = &plan.token {
        consent(ask(&[b"AUTH", USER, token.reveal().as_bytes()])?, "+OK\r\n")?;
    }
    let capabilities: [&[u8]; 5] =
        [b"REPLCONF", b"capa", CAPABILITY.as_bytes(), b"name", plan.name.as_bytes()];
    consent(ask(&capabilities)?, "+OK\r\n")?;
    let history = wire::history(plan.epoch, plan.position_epoch, plan.shard);
    let position = plan.position.to_string();
    consent(ask(&[b"PSYNC", history.as_bytes(), position.as_bytes()])?, CONSENT)
}

/// Notes what a heartbeat says.
fn take_heartbeat(shared: &Shared, stamp: u64, durable: u64) {
    shared.heard_ms.store(shared.now_ms(), Ordering::Release);
    shared.stamp.store(stamp, Ordering::Release);
    shared.primary_position.store(durable, Ordering::Release);
}

/// Hands records over as they come.
fn follow(
    runner: &mut Runner,
    from: &mut BufReader<Socket>,
    epoch: u64,
) -> Result<(), SessionError> {
    let shared = Arc::clone(&runner.shared);
    shared.copy_percent.store(100, Ordering::Release);
    let mut is_announced = false;
    let (mut batch, mut batch_bytes) = (vec![], 0);
    loop {
        match wire::read(from)? {
            Message::Record(record) => {
                if record.position != runner.plan.position + 1 {
                    return Err(SessionError::Unexpected("a record out of its place"));
                }
                runner.plan.position = record.position;
                runner.plan.position_epoch = record.epoch;
                batch_bytes += record.body.len() + size_of::<Record>();
                batch.push(record);
            }
            Message::Heartbeat { stamp, durable, .. } => {
                take_heartbeat(&shared, stamp, durable);
                if !is_announced {
                    is_announced = true;
                    shared.up.store(true, Ordering::Release);
                    runner.send(Event::Up { epoch })?;
                }
            }
            Message::Goodbye { epoch, position } => {
                runner.send(Event::Records(std::mem::take(&mut batch)))?;
                runner.send(Event::Goodbye { epoch, position })?;
            }
            _ => return Err(SessionError::Unexpected("no record")),
        }
        // What came waits neither for the rest of what has begun to come nor is it lost with that.
        let would_wait = !wire::is_whole(from.buffer());
        if !batch.is_empty() && (would_wait || batch_bytes >= BATCH_BYTES) {
            batch_bytes = 0;
            runner.send(Event::Records(std::mem::take(&mut batch)))?;
        }
    }
}

/// Takes a full copy to its end.
fn take_copy(
    runner: &mut Runner,
    from: &mut BufReader<Socket>,
    mut copy: Copying,
) -> Result<(), SessionError> {
    let shared = Arc::clone(&runner.shared);
    shared.copy_percent.store(0, Ordering::Release);
    shared.up.store(true, Ordering::Release);
    runner.send(Event::Copying)?;
    while !copy.is_whole() {
        match wire::read(from)? {
            Message::Heartbeat { stamp, durable, .. } => take_heartbeat(&shared, stamp, durable),
            Message::Piece(content) => copy.take_piece(&content)?,
            Message::ImageEnd => copy.end_image()?,
            Message::Record(record) => copy.take_record(&record)?,
            _ => return Err(SessionError::Unexpected("no part of a copy")),
        }
        shared.copy_percent.store(copy.percent(), Ordering::Release);
        if shared.is_stopped() {
            return Err(SessionError::Dropped);
        }
    }
    copy.finish()?;
    runner.send(Event::Copied)?;
    Ok(())
}

/// Confirms what is on disk, as it becomes so and a few times a second, until the connection ends.
fn confirm(shared: &Shared, mut socket: Socket, ended: &AtomicBool, is_confirming: bool) {
    let mut bytes = vec![];
    let mut confirmed = 0;
    while !ended.load(Ordering::Acquire) {
        let durable = {
            let held = shared.durable.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = shared.durable_moved.wait_timeout_while(held, CONFIRM, |durable| {
                *durable == confirmed && !ended.load(Ordering::Acquire)
            });
            *waited.unwrap_or_else(PoisonError::into_inner).0
        };
        confirmed = durable;
        bytes.clear();
        wire::put(
            &mut bytes,
            &Message::Confirm {
                // The stamp before the epoch: an epoch heard of in between must show.
                stamp: shared.stamp.load(Ordering::SeqCst),
                durable: if is_confirming { durable } else { 0 },
                known: shared.known.load(Ordering::SeqCst),
            },
        );
        if socket.write_all(&bytes).is_err() {
            // The reading side notices as well.
            shared.hang_up();
            return;
        }
    }
}
