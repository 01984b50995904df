//! The life of one `orrery up`: take the folder, clear what a crashed one left, carry the files out,
//! follow their changes, answer other commands, and end in order.
//!
//! Must not: print; everything to be told goes to the caller. It runs on one thread, the main one:
//! children are tethered to the thread that starts them.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use crate::control::{Call, Request, Server};
use crate::folder::{Folder, FolderError};
use crate::kinds::{Kinds, Release};
use crate::lock::{Lock, LockError};
use crate::objects::{Change, Objects, ObjectsError};
use crate::ports::{PortBook, PortError};
use crate::process::record::{Record, end_orphans};
use crate::process::supervisor::Shared;
use crate::snapshot::{Event, Snapshot};
use crate::spec::source::Fingerprint;
use crate::spec::{Problem, Sources, load};
use crate::world::World;

/// Between two looks at the files. An edit is read when two looks in a row are the same.
const LOOK: Duration = Duration::from_millis(150);

/// What to run, and with what.
#[derive(Debug)]
pub struct Options {
    pub data: PathBuf,
    pub sources: Vec<PathBuf>,
    /// The program to start for each process: this one.
    pub program: PathBuf,
    pub release: Release,
}

/// What is told while it runs.
#[derive(Debug)]
pub enum News<'a> {
    /// The folder is taken and the files are read.
    Started {
        folder: &'a Folder,
    },
    /// Processes of a crashed run were ended.
    Orphans(&'a [Record]),
    /// The files were accepted.
    Accepted(&'a [Change]),
    /// The files are wrong; what was accepted before goes on.
    Refused(&'a [Problem]),
    Event(&'a Event),
    /// Everything is where it should be.
    Settled(&'a Snapshot),
    /// The end was asked for.
    Stopping,
}

/// Why it did not start, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Ports(#[from] PortError),
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The first set of files is wrong; nothing was started.
    #[error("{} in the files; nothing was started", count(problems.len()))]
    Wrong { problems: Vec<Problem> },
    #[error("failed to listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("failed to set up: {0}")]
    Runtime(std::io::Error),
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

/// Runs until it is asked to end. To be called on the main thread.
pub fn run(options: Options, kinds: Kinds, tell: &mut dyn FnMut(News<'_>)) -> Result<(), UpError> {
    let folder = Folder::create(&options.data)?;
    let _lock = Lock::take(&folder)?;
    let orphans = end_orphans(&folder)?;
    if !orphans.is_empty() {
        tell(News::Orphans(&orphans));
    }
    let ports = RefCell::new(PortBook::open(&folder)?);
    let objects = Objects::read(&folder)?;
    let shared = Rc::new(Shared { folder, ports, program: options.program });
    let kinds = Rc::new(kinds);
    let (release, sources) = (options.release, Sources::new(options.sources));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(UpError::Runtime)?;
    let life = async {
        let world = World::new(Rc::clone(&shared), Rc::clone(&kinds), release.clone(), objects);
        let mut up = Up {
            seen: sources.fingerprint(),
            sources,
            shared,
            kinds,
            release,
            world,
            problems: Vec::new(),
            announced: false,
        };
        up.live(tell).await
    };
    runtime.block_on(LocalSet::new().run_until(life))
}

struct Up {
    sources: Sources,
    shared: Rc<Shared>,
    kinds: Rc<Kinds>,
    release: Release,
    world: World,
    /// The files as they looked when they were read last.
    seen: Fingerprint,
    problems: Vec<Problem>,
    /// Whether the present set was told to be settled.
    announced: bool,
}

impl Up {
    async fn live(&mut self, tell: &mut dyn FnMut(News<'_>)) -> Result<(), UpError> {
        let mut signals = Signals::new()?;
        tell(News::Started { folder: &self.shared.folder });
        let changes = match self.read() {
            Ok(manifest) => self.world.accept(manifest, Timestamp::now())?,
            Err(problems) => return Err(UpError::Wrong { problems }),
        };
        tell(News::Accepted(&changes));
        let (server, mut calls) = Server::start(&self.shared.folder)?;
        self.work(&mut signals, &mut calls, tell).await;
        tell(News::Stopping);
        self.end(&mut signals, &mut calls, tell).await;
        // Who asked for the end waits for the answer.
        drop(calls);
        server.finish().await;
        Ok(())
    }

    fn read(&self) -> Result<crate::spec::Manifest, Vec<Problem>> {
        let files = self.sources.read()?;
        load(&files, &self.kinds, &self.release, &self.world.objects().by_key())
    }

    /// Until the end is asked for.
    async fn work(
        &mut self,
        signals: &mut Signals,
        calls: &mut mpsc::Receiver<Call>,
        tell: &mut dyn FnMut(News<'_>),
    ) {
        let wake = self.world.wake();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pending: Option<Fingerprint> = None;
        loop {
            for event in self.world.round(Timestamp::now()) {
                tell(News::Event(&event));
            }
            if !self.announced && self.world.is_settled() {
                self.announced = true;
                tell(News::Settled(&self.snapshot()));
            }
            tokio::select! {
                () = signals.any() => return,
                () = wake.notified() => {}
                _ = look.tick() => self.look(&mut pending, tell),
                Some(call) = calls.recv() => {
                    // The other side may have gone.
                    let _ = call.answer.send(self.snapshot());
                    if call.request == Request::Down {
                        return;
                    }
                }
            }
        }
    }

    /// Reads the files when they changed and have come to rest.
    fn look(&mut self, pending: &mut Option<Fingerprint>, tell: &mut dyn FnMut(News<'_>)) {
        let now = self.sources.fingerprint();
        if now == self.seen {
            *pending = None;
            return;
        }
        if pending.as_ref() != Some(&now) {
            *pending = Some(now);
            return;
        }
        *pending = None;
        self.seen = now;
        match self.read() {
            Ok(manifest) => {
                let had_problems = !std::mem::take(&mut self.problems).is_empty();
                match self.world.accept(manifest, Timestamp::now()) {
                    Ok(changes) if changes.is_empty() && !had_problems => {}
                    Ok(changes) => {
                        tell(News::Accepted(&changes));
                        self.announced = false;
                    }
                    Err(error) => tracing::error!(%error, "failed to remember the objects"),
                }
            }
            Err(problems) => {
                tell(News::Refused(&problems));
                self.problems = problems;
            }
        }
    }

    /// Stops every process; a second signal ends them by force.
    async fn end(
        &mut self,
        signals: &mut Signals,
        calls: &mut mpsc::Receiver<Call>,
        tell: &mut dyn FnMut(News<'_>),
    ) {
        let wake = self.world.wake();
        self.world.stop_all(false);
        // A process that ended tells so by its task; this is the net below.
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            let (ended, news) = self.world.has_ended(Timestamp::now());
            for event in news {
                tell(News::Event(&event));
            }
            if ended {
                return;
            }
            tokio::select! {
                () = signals.any() => self.world.stop_all(true),
                () = wake.notified() => {}
                _ = look.tick() => {}
                Some(call) = calls.recv() => drop(call.answer.send(self.snapshot())),
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: self.release.version.clone(),
            pid: std::process::id(),
            data: self.shared.folder.root().to_owned(),
            sources: self.sources.paths().to_vec(),
            objects: self.world.objects_with_status(),
            processes: self.world.processes(),
            problems: self.problems.clone(),
            events: self.world.events(),
            settled: self.world.is_settled(),
        }
    }
}

/// Both ways to ask for the end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, UpError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(UpError::Signals)?,
            terminate: signal(SignalKind::terminate()).map_err(UpError::Signals)?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
