//! Snapshots while clients are served: the machine gives a few keys per turn, a thread writes them.
//!
//! The image is the state at the position where the snapshot began; the machine serialises a key
//! before its first change after that. Bytes go through a bounded pipe to the writing thread, which
//! makes the result durable. One snapshot at a time.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::{Position, SnapshotWriter};

use super::PersistenceError;
use super::image::Sink;
use super::log::Log;
use crate::machine::Machine;
use crate::rdb;

/// Bytes on their way to the writing thread; above this no step is taken.
const PIPE_BYTES_MAX: usize = 8 << 20;
/// Keys per step.
const STEP_KEYS: usize = 256;
/// While clients send commands, so many times the time of a step passes before the next one: the
/// journal's own thread and the kernel's work for sockets need the processor as well.
const REST: u32 = 2;
/// Name of the image inside the folder of [`Target::Folder`].
pub(crate) const FILE_NAME: &str = "dump.rdb";

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into the journal, which is trimmed up to it.
    Journal,
    /// Into a file of this folder.
    Folder(PathBuf),
}

/// What a finished snapshot has to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) position: u64,
    pub(crate) keys: u64,
    pub(crate) location: String,
}

/// Called once at the end, and with progress before (keys done, keys in all).
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Progress { done: u64, total: u64 },
    Done(Result<Finished, String>),
}

type Watcher = Box<dyn Fn(Event) + Send>;

/// What goes through the pipe. A pipe that closes without its end belongs to a snapshot that was
/// given up: only the loop knows whether it had seen all keys, the bytes do not tell.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// The pipe's end on the event loop's side.
#[derive(Debug)]
struct Pipe {
    to: mpsc::Sender<Piece>,
    in_flight: Arc<AtomicUsize>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_flight.fetch_add(bytes.len(), Ordering::AcqRel);
        // The thread is gone when writing failed; its result says why.
        self.to.send(Piece::Bytes(bytes.to_vec())).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pipe {
    /// The stream is whole.
    fn end(self) -> io::Result<()> {
        self.to.send(Piece::End).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct Running {
    /// `None` once the last key is written.
    writer: Option<rdb::Writer<Pipe>>,
    in_flight: Arc<AtomicUsize>,
    result: mpsc::Receiver<Result<String, String>>,
    thread: thread::JoinHandle<()>,
    position: u64,
    target: Target,
    started_ms: u64,
    keys_total: u64,
    keys: u64,
    watcher: Option<Watcher>,
}

/// The snapshots of one shard.
#[derive(Default)]
pub(crate) struct Snapshots {
    running: Option<Running>,
    /// How the last one ended, until somebody takes note.
    ended: Option<Result<(), String>>,
    /// Position of the newest image in the journal.
    pub(crate) position: u64,
    /// Bytes of effects appended since then.
    pub(crate) bytes_since: u64,
    pub(crate) records: u64,
    pub(crate) last_success_ms: i64,
    pub(crate) last_failed: bool,
    pub(crate) last_seconds: i64,
    pub(crate) finished: u64,
    /// No step is taken before.
    rest_until: Option<Instant>,
    /// Commands there had been at the last step.
    commands: u64,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots").field("position", &self.position).finish_non_exhaustive()
    }
}

/// What a snapshot says about itself in its header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    pub(crate) wall_ms: i64,
    pub(crate) declared_json: &'a [u8],
    pub(crate) fenced_below: u64,
    /// Which positions have which epoch, as text.
    pub(crate) history: &'a str,
}

impl Snapshots {
    /// Goes on after recovery: the newest image, and what was replayed behind it.
    pub(crate) fn resume(position: u64, bytes_since: u64, records: u64) -> Self {
        Self { position, bytes_since, records, ..Self::default() }
    }

    /// How a snapshot ended, once after its end.
    pub(crate) fn take_result(&mut self) -> Option<Result<(), String>> {
        self.ended.take()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// How long until the next step can be taken; none: it waits for something else.
    pub(crate) fn next_step(&self) -> Option<Duration> {
        let running = self.running.as_ref()?;
        let is_due =
            running.writer.is_some() && running.in_flight.load(Ordering::Acquire) < PIPE_BYTES_MAX;
        let rest = self.rest_until.map(|until| until.saturating_duration_since(Instant::now()));
        is_due.then(|| rest.unwrap_or_default())
    }

    pub(crate) fn keys_done(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.keys)
    }

    pub(crate) fn records_since(&self) -> u64 {
        self.records
    }

    /// Counts a record, for the decision when the next snapshot is due.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.bytes_since += bytes as u64;
        self.records += 1;
    }

    /// Begins an image of the state after the last appended record. `wake` is called from the
    /// writing thread when the loop should look again.
    pub(crate) fn begin(
        &mut self,
        machine: &mut Machine,
        log: &Log,
        target: Target,
        header: Header<'_>,
        now_ms: u64,
        wake: impl Fn() + Send + 'static,
    ) -> Result<u64, PersistenceError> {
        if self.running.is_some() {
            return Err(PersistenceError::Busy);
        }
        let position = log.appended();
        let into = match &target {
            Target::Journal => Into::Journal(log.journal().snapshot_writer(Position(position))?),
            Target::Folder(folder) => Into::file(folder)?,
        };
        let (to, from) = mpsc::channel();
        let (done, result) = mpsc::channel();
        let in_flight = Arc::new(AtomicUsize::new(0));
        let pipe = Pipe { to, in_flight: Arc::clone(&in_flight) };
        let drained = Arc::clone(&in_flight);
        let thread = thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || {
                let written = write_all(into, &from, &drained, &wake);
                // The loop is gone when nobody waits for the result.
                let _ = done.send(written);
                wake();
            })
            .map_err(|source| PersistenceError::Write { path: "a thread".into(), source })?;
        machine.snapshot_begin();
        let begun = begin_stream(pipe, position, header);
        let writer = begun.map_err(|source| {
            machine.snapshot_abort();
            PersistenceError::Write { path: "the snapshot".into(), source }
        })?;
        self.running = Some(Running {
            writer: Some(writer),
            in_flight,
            result,
            thread,
            position,
            target,
            started_ms: now_ms,
            keys_total: machine.databases().iter().map(|db| db.len() as u64).sum(),
            keys: 0,
            watcher: None,
        });
        (self.bytes_since, self.records) = (0, 0);
        Ok(position)
    }

    /// Who wants to hear of the snapshot that runs now.
    pub(crate) fn watch(&mut self, watcher: Watcher) {
        if let Some(running) = &mut self.running {
            running.watcher = Some(watcher);
        }
    }

    /// Does a bounded part of the work, if it is time for it. `commands`: how many there have been.
    pub(crate) fn step(&mut self, machine: &mut Machine, now_ms: u64, wall_ms: i64, commands: u64) {
        if self.running.is_none() {
            return;
        }
        let began = Instant::now();
        if self.rest_until.is_some_and(|until| began < until) {
            return;
        }
        self.step_keys(STEP_KEYS, machine, now_ms, wall_ms);
        let is_busy = std::mem::replace(&mut self.commands, commands) != commands;
        let ended = Instant::now();
        self.rest_until = is_busy.then(|| ended + (ended - began) * REST);
    }

    fn step_keys(&mut self, budget_keys: usize, machine: &mut Machine, now_ms: u64, wall_ms: i64) {
        let Some(running) = &mut self.running else { return };
        let result = match running.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("the writing thread ended".to_owned())),
        };
        if let Some(result) = result {
            if running.writer.take().is_some() {
                machine.snapshot_abort();
            }
            self.finish(result, now_ms, wall_ms);
            return;
        }
        let Some(writer) = &mut running.writer else { return };
        if running.in_flight.load(Ordering::Acquire) >= PIPE_BYTES_MAX {
            return;
        }
        let mut sink = Sink { writer, failed: None };
        let is_done = machine.snapshot_step(budget_keys, &mut sink);
        if sink.failed.is_some() {
            // The thread has given up: its result is there at the next look.
            machine.snapshot_abort();
            running.writer = None;
            return;
        }
        running.keys = writer.keys();
        if let Some(watcher) = &running.watcher {
            watcher(Event::Progress { done: running.keys, total: running.keys_total });
        }
        if is_done && let Some(writer) = running.writer.take() {
            // A failure is the thread's to report: its result follows.
            let _ = writer.finish().and_then(Pipe::end);
        }
    }

    /// As [`Self::step`], and returns only when the writing thread has done its part: so that
    /// simulations have one order of events.
    #[cfg(test)]
    pub(crate) fn step_in_order(
        &mut self,
        budget_keys: usize,
        machine: &mut Machine,
        wall_ms: i64,
    ) {
        self.step_keys(budget_keys, machine, 0, wall_ms);
        let Some(running) = &self.running else { return };
        let is_idle = || running.writer.is_some() && running.in_flight.load(Ordering::Acquire) == 0;
        while !is_idle() && !running.thread.is_finished() {
            thread::yield_now();
        }
    }

    /// Gives a running snapshot up and waits for its thread.
    pub(crate) fn abandon(&mut self) {
        let Some(Running { writer, thread, .. }) = self.running.take() else { return };
        drop(writer);
        if thread.join().is_err() {
            tracing::error!("the thread that writes snapshots panicked");
        }
    }

    fn finish(&mut self, result: Result<String, String>, now_ms: u64, wall_ms: i64) {
        let Some(running) = self.running.take() else { return };
        // Its result was the last thing it had to do, so this does not wait.
        if running.thread.join().is_err() {
            tracing::error!("the thread that writes snapshots panicked");
        }
        let is_own = running.target == Target::Journal;
        match &result {
            Ok(location) => {
                tracing::info!(position = running.position, keys = running.keys, %location, "snapshot written");
                if is_own {
                    self.position = running.position;
                }
                self.last_success_ms = wall_ms;
                self.finished += 1;
            }
            Err(error) => tracing::warn!(position = running.position, %error, "snapshot failed"),
        }
        self.last_failed = result.is_err();
        self.ended = Some(result.as_ref().map(|_| ()).map_err(Clone::clone));
        self.last_seconds = (now_ms.saturating_sub(running.started_ms) / 1000) as i64;
        if let Some(watcher) = running.watcher {
            let finished = result.map(|location| Finished {
                position: running.position,
                keys: running.keys,
                location,
            });
            watcher(Event::Done(finished));
        }
    }
}

fn begin_stream(pipe: Pipe, position: u64, header: Header<'_>) -> io::Result<rdb::Writer<Pipe>> {
    let mut writer = rdb::Writer::new(pipe)?;
    writer.aux("redis-ver", b"7.0.15")?;
    writer.aux("redis-bits", b"64")?;
    writer.aux("ctime", (header.wall_ms / 1000).to_string().as_bytes())?;
    writer.aux("orrery-ver", env!("CARGO_PKG_VERSION").as_bytes())?;
    writer.aux("orrery-position", position.to_string().as_bytes())?;
    writer.aux("orrery-fenced-below", header.fenced_below.to_string().as_bytes())?;
    writer.aux("orrery-history", header.history.as_bytes())?;
    writer.aux("orrery-namespaces", header.declared_json)?;
    Ok(writer)
}

/// What the writing thread writes to.
enum Into {
    Journal(SnapshotWriter),
    File { file: File, temporary: PathBuf, path: PathBuf },
}

impl Into {
    fn file(folder: &Path) -> Result<Self, PersistenceError> {
        let path = folder.join(FILE_NAME);
        let temporary = folder.join(format!("{FILE_NAME}.tmp"));
        let open = || {
            std::fs::create_dir_all(folder)?;
            File::create(&temporary)
        };
        let file = open().map_err(|source| PersistenceError::Write {
            path: temporary.display().to_string(),
            source,
        })?;
        Ok(Self::File { file, temporary, path })
    }

    fn finish(self) -> Result<String, String> {
        match self {
            Self::Journal(writer) => {
                writer.finish().map(|_| "journal".to_owned()).map_err(|error| error.to_string())
            }
            Self::File { file, temporary, path } => {
                let publish = || {
                    file.sync_all()?;
                    std::fs::rename(&temporary, &path)?;
                    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
                };
                let failed = |error| format!("failed to write {}: {error}", path.display());
                publish().map(|()| path.display().to_string()).map_err(failed)
            }
        }
    }
}

impl Write for Into {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Journal(writer) => writer.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writing thread: everything from the pipe, then the finish. A loop that ended half-way leaves
/// nothing behind that looks whole.
fn write_all(
    mut into: Into,
    from: &mpsc::Receiver<Piece>,
    in_flight: &AtomicUsize,
    wake: &(impl Fn() + Send),
) -> Result<String, String> {
    for piece in from {
        let Piece::Bytes(chunk) = piece else { return into.finish() };
        into.write_all(&chunk).map_err(|error| format!("failed to write: {error}"))?;
        let before = in_flight.fetch_sub(chunk.len(), Ordering::AcqRel);
        if before >= PIPE_BYTES_MAX && before - chunk.len() < PIPE_BYTES_MAX {
            wake();
        }
    }
    Err("abandoned before its end".to_owned())
}
