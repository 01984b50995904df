//! The dispatcher as its owner sees it.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use orrery_operand::errands::ErrandBook;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::Action;
use super::event_loop::{Command, EventLoop, OnOutcomes, Shared};
use super::figures::{Registry, TargetFigures};
use super::lanes::Lanes;
use super::options::Options;
use super::outside::Outside;
use super::target::Target;
use crate::run::{Call, Outcome, RunId};

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub run: RunId,
    pub attempt: u32,
    pub outcome: Outcome,
}

/// Sends calls to their targets, on threads of its own.
///
/// Every call that is handed over is settled once, with two exceptions: those that are here when the
/// dispatcher stops, which the next process is handed as resumed, and a run that is handed over
/// while it is here, of which the first counts.
#[derive(Debug)]
pub struct Dispatcher {
    commands: UnboundedSender<Command>,
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    outside: Outside,
    calls_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Dispatcher {
    /// Starts with `on_outcome` called for each attempt that is over, on a thread of the dispatcher:
    /// it must not block, nor wait for whoever hands over.
    pub fn start(
        options: Options,
        targets: Vec<Target>,
        on_outcome: impl Fn(RunId, u32, Outcome) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_batched(options, targets, move |settled| {
            for Settled { run, attempt, outcome } in settled {
                on_outcome(run, attempt, outcome);
            }
        })
    }

    /// Like `start`, with all that were settled in one turn given at once.
    pub fn start_batched(
        options: Options,
        targets: Vec<Target>,
        on_outcomes: impl Fn(Vec<Settled>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let registry = Arc::<Registry>::default();
        let shared = Arc::<Shared>::default();
        let outside = Outside::new();
        let (threads, calls_max) = (options.threads, options.calls_max);
        let in_flight_max = options.in_flight_max.max(1);
        let lease = Arc::clone(&options.lease);
        let lanes =
            Lanes::new(options, targets, Arc::clone(&registry)).map_err(io::Error::other)?;
        let (commands, received) = unbounded_channel();
        let on_outcomes: OnOutcomes = Box::new(on_outcomes);
        let runtime = runtime(threads)?;
        let event_loop =
            EventLoop::new(received, lanes, in_flight_max, lease, Arc::clone(&shared), on_outcomes);
        let thread = thread::Builder::new().name("dispatch".to_owned()).spawn(move || {
            runtime.block_on(event_loop.run());
            // A name server that does not answer holds a thread; nobody waits for it.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            commands,
            shared,
            registry,
            outside,
            calls_max,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes calls in. Never blocks and never refuses: the owner hands over what there is `room` for.
    pub fn hand_over(&self, calls: Vec<Call>) {
        let (errands, calls): (Vec<Call>, Vec<Call>) =
            calls.into_iter().partition(|call| matches!(&*call.action, Action::Errand(_)));
        for call in errands {
            if let Action::Errand(errand) = &*call.action {
                self.outside.open(call.run, errand.clone());
            }
        }
        if calls.is_empty() {
            return;
        }
        self.shared.held.fetch_add(calls.len(), Ordering::AcqRel);
        self.command(Command::Calls(calls.into_iter()));
    }

    /// How many more calls there is room for.
    pub fn room(&self) -> usize {
        self.calls_max.saturating_sub(self.shared.held.load(Ordering::Acquire))
    }

    /// Settles a run as cancelled, unless it is settled already. One in flight has its request
    /// dropped; the target may have run it. An errand is settled when the operator has ended it.
    pub fn cancel(&self, run: RunId) {
        if !self.outside.cancel(run) {
            self.command(Command::Cancel(run));
        }
    }

    /// What is to be done outside, for the operator.
    pub fn errands(&self) -> &Arc<ErrandBook> {
        self.outside.book()
    }

    /// An errand is settled, and that is durable.
    pub fn close_errand(&self, run: RunId, key: &str, attempt: u32) {
        self.outside.close(run, key, attempt);
    }

    /// Errands of a partition that are open. No end of this process waits for them.
    pub fn errands_of(&self, partition: u16) -> usize {
        self.outside.count_of(partition)
    }

    /// How each target does.
    pub fn figures(&self) -> Vec<TargetFigures> {
        self.registry.read()
    }

    /// How many calls the sink has swallowed.
    pub fn sunk(&self) -> u64 {
        self.shared.sunk.load(Ordering::Relaxed)
    }

    /// Sends nothing more, and gives what is in flight this long to end. What is not over then, and
    /// what is queued, is dropped without an outcome: the next process is handed it as resumed.
    /// Returns when that is done; those that stop it at the same time or later do not wait.
    pub fn stop(&self, patience: Duration) {
        self.command(Command::Stop(patience));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread of the dispatcher panicked");
        }
    }

    fn command(&self, command: Command) {
        // After a stop there is nobody to carry it out, and nothing that is left to do.
        let _ = self.commands.send(command);
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.command(Command::Stop(Duration::ZERO));
    }
}

fn runtime(threads: usize) -> io::Result<runtime::Runtime> {
    let mut builder = match threads {
        // All on the thread of the loop: no call wakes another thread.
        0 | 1 => runtime::Builder::new_current_thread(),
        _ => {
            let mut builder = runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.thread_name("dispatch").enable_all().build()
}
