//! How other threads reach a partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ledger::LedgerView;
use crate::machine::state::StateError;
use crate::machine::{Following, State, Trigger, Turn};
use crate::run::Outcome;

/// Requests that may wait for a partition.
const WAITING_MAX: usize = 10_000;

/// Longest wait for answers of targets, at the end of a process. What is not answered then is asked
/// about, or sent again with the same key, by the next one.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Why a partition does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too many requests wait already.
    #[error("too many requests wait already: try again")]
    Busy,
    /// The journal takes no records: the disk is full, or what carries it does not answer.
    #[error(
        "the journal takes no records now, its volume is full or its engine is away: try again"
    )]
    Full,
    /// The spec says that nothing may be changed.
    #[error("this service is fenced: its spec.operation is Fence")]
    Fenced,
    /// The partition has ended, or will. What was asked for may have been done.
    #[error("the process ends; whether the change was made is not known")]
    Ended,
    /// A change could not be carried out; nothing of it was.
    #[error("{0}")]
    Failed(String),
}

/// Called once what it is about is on disk.
pub type Release = Box<dyn FnOnce() + Send>;
/// Changes something within a turn, and gives what is to be called when that is durable.
pub type Act = Box<dyn FnOnce(&mut Turn<'_>) -> Result<Release, StateError> + Send>;
/// Looks at something.
pub type Look = Box<dyn FnOnce(&State, &LedgerView) + Send>;
/// What a request comes to.
pub type Answer<T> = Result<T, Unavailable>;

/// What a partition can be asked for.
pub enum Request {
    Act {
        act: Act,
        refuse: Box<dyn FnOnce(Unavailable) + Send>,
    },
    Look(Look),
    Outcome {
        run: u64,
        attempt: u32,
        outcome: Outcome,
    },
    /// Something of another partition about jobs that follow others.
    Link(Link),
    /// What is written, and with `snapshot` one of all of it.
    Newest {
        snapshot: bool,
        answer: oneshot::Sender<Newest>,
    },
    /// The journal got on.
    Wake,
    /// It ends, at the latest after so long.
    End(Duration),
}

/// How far a partition has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// The last position of its journal; it may be on its way to the disk.
    pub position: u64,
    /// The latest time of a record since the process began, in milliseconds.
    pub last_ms: i64,
}

/// What partitions tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// These jobs follow others from now on, or no longer; the others belong to the partition asked.
    Follow(Vec<Following>),
    /// These are all jobs of partition `of` that follow others of the partition asked.
    FollowOnly { of: u16, all: Vec<Following> },
    /// Runs of partition `source` ended, which jobs of the partition asked follow, in their order.
    Ended { source: u16, triggers: Vec<Trigger> },
    /// What was told under these sequences is on disk there.
    Delivered(Vec<u64>),
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Act { .. } => "Act",
            Self::Look(_) => "Look",
            Self::Outcome { .. } => "Outcome",
            Self::Link(_) => "Link",
            Self::Newest { .. } => "Newest",
            Self::Wake => "Wake",
            Self::End(_) => "End",
        })
    }
}

/// The way to a partition.
#[derive(Debug, Clone)]
pub struct Handle {
    pub partition: u16,
    sender: mpsc::Sender<Request>,
    waiting: Arc<AtomicUsize>,
    awake: Arc<AtomicBool>,
}

/// The partition's end of it.
#[derive(Debug)]
pub struct Mailbox {
    sender: mpsc::Sender<Request>,
    pub(super) receiver: mpsc::Receiver<Request>,
    pub(super) waiting: Arc<AtomicUsize>,
    pub(super) awake: Arc<AtomicBool>,
}

impl Mailbox {
    /// Adds outcomes of runs that nothing was sent for; they come behind what waits.
    pub(super) fn add(&self, request: Request) {
        // This end of the channel lives as long as the other one.
        _ = self.sender.send(request);
    }
}

impl Handle {
    pub(super) fn new(partition: u16) -> (Self, Mailbox) {
        let (sender, receiver) = mpsc::channel();
        let (waiting, awake) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mailbox = Mailbox {
            sender: sender.clone(),
            receiver,
            waiting: Arc::clone(&waiting),
            awake: Arc::clone(&awake),
        };
        (Self { partition, sender, waiting, awake }, mailbox)
    }

    /// Carries out `act` within a turn; its value is given when everything it did is durable.
    pub async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Turn<'_>) -> Result<T, StateError> + Send + 'static,
    ) -> Answer<T> {
        if self.waiting.load(Ordering::Acquire) >= WAITING_MAX {
            return Err(Unavailable::Busy);
        }
        let (to, from) = oneshot::channel();
        // One of the two is called, so that the sender is shared without a lock being contended.
        let to = Arc::new(std::sync::Mutex::new(Some(to)));
        let send = move |to: &std::sync::Mutex<Option<oneshot::Sender<Answer<T>>>>, answer| {
            let to = to.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            // Whoever asked may be gone.
            to.map(|to| to.send(answer).is_ok());
        };
        let refused = Arc::clone(&to);
        let act: Act = Box::new(move |turn| {
            let value = act(turn)?;
            Ok(Box::new(move || send(&to, Ok(value))))
        });
        let refuse = Box::new(move |why| send(&refused, Err(why)));
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.send(Request::Act { act, refuse })?;
        from.await.map_err(|_| Unavailable::Ended)?
    }

    /// Looks at the state; what is seen may not be durable yet.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State, &LedgerView) -> T + Send + 'static,
    ) -> Answer<T> {
        if self.waiting.load(Ordering::Acquire) >= WAITING_MAX {
            return Err(Unavailable::Busy);
        }
        let (to, from) = oneshot::channel();
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.send(Request::Look(Box::new(move |state, ledger| {
            // Whoever asked may be gone.
            _ = to.send(look(state, ledger));
        })))?;
        from.await.map_err(|_| Unavailable::Ended)
    }

    /// How far it has written.
    pub(crate) async fn newest(&self) -> Answer<Newest> {
        self.ask_newest(false).await
    }

    /// Has it write a snapshot of all that it has written, and does not wait for it.
    pub(crate) async fn snapshot(&self) -> Answer<Newest> {
        self.ask_newest(true).await
    }

    async fn ask_newest(&self, snapshot: bool) -> Answer<Newest> {
        let (answer, from) = oneshot::channel();
        self.send(Request::Newest { snapshot, answer })?;
        from.await.map_err(|_| Unavailable::Ended)
    }

    /// Asks it for a snapshot.
    pub(crate) fn want_snapshot(&self) {
        let (answer, _) = oneshot::channel();
        // A partition that has ended is not asked again.
        _ = self.send(Request::Newest { snapshot: true, answer });
    }

    /// What became of an attempt.
    pub fn outcome(&self, run: u64, attempt: u32, outcome: Outcome) {
        // A partition that has ended asks again when it is back.
        _ = self.send(Request::Outcome { run, attempt, outcome });
    }

    /// Tells it of jobs that follow others.
    pub(super) fn link(&self, link: Link) {
        // A partition that has ended is told again when it is back.
        _ = self.send(Request::Link(link));
    }

    /// Asks it to end in order.
    pub fn end(&self) {
        self.end_within(ANSWER_PATIENCE);
    }

    /// Asks it to launch nothing more, and to end when targets have answered, or after so long.
    pub fn end_within(&self, patience: Duration) {
        // It may have ended by itself.
        _ = self.send(Request::End(patience));
    }

    /// Makes it look at its journal; many calls are one request.
    pub(super) fn wake(&self) {
        if !self.awake.swap(true, Ordering::AcqRel) {
            _ = self.send(Request::Wake);
        }
    }

    fn send(&self, request: Request) -> Answer<()> {
        self.sender.send(request).map_err(|_| Unavailable::Ended)
    }
}
