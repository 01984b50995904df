//! The loop of a partition: what is due and what was asked for becomes one record, and when that is on
//! disk, calls and answers go out.

mod calls;
mod house;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use orrery_journal::{JournalError, Position, Record};
use orrery_recurrence::Zones;
use orrery_wheel::Wheel;

use super::crew::Crew;
use super::links;
use super::recover::{RecoverError, Recovered, TURN, recover};
use super::requests::{Handle, Link, Mailbox, Release, Request};
use super::snapshots::Running;
use crate::archive::Archived;
use crate::machine::state::StateError;
use crate::machine::{Bounds, Following, Output, Packed, Plans, State, Timer, Turn, notice};

/// Timers that one turn looks at; those behind follow in the next.
const TIMERS_PER_TURN: usize = 2048;
/// Requests that one turn carries out.
const REQUESTS_PER_TURN: usize = 512;
/// Longest sleep of a loop: the wall clock may step while it sleeps.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// Pause before a record is offered again to a journal that had no room.
const ROOM_PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for records on their way, at the end of a process.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// Jobs that are done and that one look removes.
const SWEPT_MAX: usize = 10_000;
/// How often it is looked whether the last answer is there.
const END_POLL: Duration = Duration::from_millis(20);

/// What a partition works with.
#[derive(Debug, Clone)]
pub struct PartitionOptions {
    pub id: u16,
    pub folder: PathBuf,
    pub bounds: Bounds,
    /// How long the ledger is kept.
    pub history_seconds: i64,
    pub snapshot_after_bytes: u64,
    /// Where the rules of time zones come from.
    pub zones: Arc<Zones>,
    /// All partitions, this one included, by their numbers.
    pub peers: Arc<[Handle]>,
    /// Where it is archived.
    pub archived: Option<Archived>,
}

/// What waits for a record to be durable.
struct Held {
    position: Position,
    calls: Vec<u64>,
    releases: Vec<Release>,
    followings: Vec<Following>,
    triggers: Vec<u64>,
}

/// A partition in its thread.
pub struct Partition {
    pub(super) options: PartitionOptions,
    pub(super) crew: Crew,
    pub(super) recovered: Recovered,
    plans: Plans,
    wheel: Wheel<Packed>,
    pub(super) mailbox: Mailbox,
    /// Requests that came while nothing could be written down, before those in the mailbox.
    pub(super) kept: VecDeque<Request>,
    held: VecDeque<Held>,
    /// Runs that an owner before launched and may still be sending, and until when.
    inherited: Option<(Instant, Vec<u64>)>,
    snapshot: Option<Running>,
    /// A snapshot of this position is wanted, and not before then.
    snapshot_wanted: u64,
    snapshot_from: Instant,
    forgotten_ms: i64,
    is_full: bool,
    /// It was asked to end: nothing new is launched, and answers are awaited until then.
    pub(super) ends_at: Option<Instant>,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Why a partition ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Poisoned {
    #[error("the journal failed: {0}")]
    Journal(#[from] JournalError),
    #[error("the ledger failed: {0}")]
    Ledger(#[from] crate::ledger::LedgerError),
    #[error("a decision could not be carried out: {0}")]
    State(#[from] StateError),
}

impl Partition {
    /// Recovers a partition from a folder of its own; [`Self::run`] makes it work.
    pub fn open(
        options: PartitionOptions,
        crew: Crew,
        handle: (Handle, Mailbox),
    ) -> Result<Self, RecoverError> {
        let recovered = recover(&options.folder, options.id)?;
        Ok(Self::new(options, crew, handle, recovered, None))
    }

    /// Goes on with what was recovered. Runs that were launched before are handed over again, at once or
    /// when nobody else sends them any more.
    pub(crate) fn new(
        options: PartitionOptions,
        crew: Crew,
        (handle, mailbox): (Handle, Mailbox),
        recovered: Recovered,
        others_until: Option<Instant>,
    ) -> Self {
        recovered.journal.on_progress(Box::new(move || handle.wake()));
        if let Some(archived) = &options.archived {
            archived.begin(&recovered.journal, recovered.snapshot_position);
        }
        // Before any partition works, so that none ends a run that it does not know the followers of.
        links::tell_again(options.id, &options.peers, &recovered.state);
        Self {
            plans: Plans::of(&recovered.state),
            wheel: Wheel::new(crew.env.wall_us() / 1000),
            options,
            crew,
            recovered,
            mailbox,
            kept: VecDeque::new(),
            held: VecDeque::new(),
            inherited: others_until.map(|until| (until, vec![])),
            snapshot: None,
            snapshot_wanted: 0,
            snapshot_from: Instant::now(),
            forgotten_ms: 0,
            is_full: false,
            ends_at: None,
        }
    }

    /// The way to a partition that is yet to be opened.
    pub fn handle(id: u16) -> (Handle, Mailbox) {
        Handle::new(id)
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.crew.env.wall_us() / 1000
    }

    /// Works until it is asked to end.
    pub fn run(mut self) -> Result<(), Poisoned> {
        if self.crew.shared.is_fenced() {
            self.crew.shared.serves(self.options.id);
            self.stand_still()?;
        }
        if self.ends_at.is_none() {
            self.resume()?;
            self.crew.shared.serves(self.options.id);
        }
        while self.goes_on() {
            self.turn()?;
        }
        let (until, last) = (Instant::now() + END_PATIENCE, self.recovered.journal.last());
        self.recovered.journal.flush();
        self.recovered.journal.wait_durable_until(last, until)?;
        self.release();
        if let Some(snapshot) = self.snapshot.take()
            && let Err(error) = snapshot.result()
        {
            tracing::warn!(partition = self.options.id, %error, "no snapshot at the end");
        }
        self.recovered.ledger.sync()?;
        if let Some(archived) = &self.options.archived {
            archived.end(last.0);
        }
        self.recovered.journal.close()?;
        Ok(())
    }

    /// After a start: runs that were launched are asked about, and every job gets its timer.
    fn resume(&mut self) -> Result<(), Poisoned> {
        let state = &self.recovered.state;
        let mut calls = vec![];
        for (number, run) in state.runs() {
            match run.retry_at_ms {
                Some(at_ms) => self.wheel.insert(at_ms, Timer::Retry { run: number }.into()),
                None => calls.push(number),
            }
            let job = state.job(run.job);
            let within = job.and_then(|job| job.definition.policies.finish_within_seconds);
            if let Some(within) = within.filter(|_| !run.overdue) {
                let at_ms = run.due_ms().saturating_add(within.saturating_mul(1000));
                self.wheel.insert(at_ms, Timer::Finish { run: number }.into());
            }
        }
        calls.sort_unstable();
        let notices: Vec<u64> = state.notices().map(|(run, _)| notice::number_of(run)).collect();
        self.hand_over(&notices, true);
        match &mut self.inherited {
            Some((_, runs)) => *runs = calls,
            None => self.hand_over(&calls, true),
        }
        let ids: Vec<u64> = state_ids(&self.recovered.state);
        for ids in ids.chunks(TIMERS_PER_TURN) {
            self.decide(self.now_ms(), |turn| {
                ids.iter().try_for_each(|id| turn.due(*id))?;
                Ok(vec![])
            })?;
        }
        self.look_at_zones()?;
        self.tell(true);
        Ok(())
    }

    /// Waits for something to do, and does it.
    fn turn(&mut self) -> Result<(), Poisoned> {
        let mut requests = vec![];
        while requests.len() < REQUESTS_PER_TURN
            && let Some(request) = self.kept.pop_front()
        {
            requests.push(request);
        }
        let patience = if requests.is_empty() { self.sleep() } else { Duration::ZERO };
        match self.mailbox.receiver.recv_timeout(patience) {
            Ok(request) => requests.push(request),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.ends_at = Some(Instant::now()),
        }
        while requests.len() < REQUESTS_PER_TURN {
            match self.mailbox.receiver.try_recv() {
                Ok(request) => requests.push(request),
                Err(_) => break,
            }
        }
        let mut due = vec![];
        let now_ms = self.now_ms();
        if self.ends_at.is_none() {
            self.wheel.advance(now_ms, TIMERS_PER_TURN, &mut |_, timer| due.push(timer.into()));
        }
        let is_counted = |r: &&Request| matches!(r, Request::Act { .. } | Request::Look(_));
        let counted = requests.iter().filter(is_counted).count();
        self.mailbox.waiting.fetch_sub(counted, Ordering::AcqRel);
        let awake = Arc::clone(&self.mailbox.awake);
        let (mut looks, mut newest, mut ends) = (vec![], vec![], None);
        let (peers, is_ending) = (Arc::clone(&self.options.peers), self.ends_at.is_some());
        self.decide(now_ms, |turn| {
            for timer in due {
                turn.timer(timer)?;
            }
            let mut releases = vec![];
            for request in requests {
                match request {
                    Request::Outcome { run, attempt, outcome } => {
                        turn.outcome(run, attempt, &outcome)?;
                    }
                    Request::Act { act, .. } => releases.push(act(turn)?),
                    Request::Look(look) => looks.push(look),
                    // Whoever told it tells it again after the next start.
                    Request::Link(Link::Ended { .. }) if is_ending => {}
                    Request::Link(link) => releases.extend(links::carry_out(turn, link, &peers)?),
                    Request::Newest { snapshot, answer } => newest.push((snapshot, answer)),
                    Request::Wake => awake.store(false, Ordering::Release),
                    Request::End(patience) => ends = Some(patience),
                }
            }
            Ok(releases)
        })?;
        if let Some(patience) = ends {
            let at = Instant::now() + patience;
            self.ends_at = Some(self.ends_at.map_or(at, |before| before.min(at)));
        }
        if !looks.is_empty() {
            let view = self.recovered.ledger.view();
            for look in looks {
                look(&self.recovered.state, &view);
            }
        }
        for (snapshot, answer) in newest {
            self.say_newest(snapshot, answer);
        }
        self.release();
        self.inherit();
        self.keep_house()?;
        Ok(())
    }

    /// A turn at `now_ms`: what `work` decides is written down under that very time, so that a replay
    /// sees the same, and what it gives is called when that is durable.
    pub(super) fn decide(
        &mut self,
        now_ms: i64,
        work: impl FnOnce(&mut Turn<'_>) -> Result<Vec<Release>, StateError>,
    ) -> Result<(), Poisoned> {
        let mut turn =
            Turn::new(&mut self.recovered.state, &mut self.plans, self.options.bounds, now_ms);
        let releases = work(&mut turn)?;
        let output = std::mem::take(&mut turn.output);
        self.follow(now_ms, output, releases)
    }

    pub(super) fn state(&self) -> &State {
        &self.recovered.state
    }

    pub(super) fn zones(&self) -> &Zones {
        &self.options.zones
    }

    /// Whether there is anything to do but to end.
    fn goes_on(&self) -> bool {
        // Errands wait for the next process, which has them again under the same keys.
        let errands = self.crew.dispatcher.errands_of(self.options.id);
        let is_awaited = self.recovered.state.running() > errands;
        let awaits = |at: Instant| is_awaited && Instant::now() < at;
        self.ends_at.is_none_or(awaits)
    }

    /// How long nothing is due.
    fn sleep(&self) -> Duration {
        if self.ends_at.is_some() {
            return END_POLL;
        }
        let now_ms = self.now_ms();
        let next = self.wheel.next_deadline_ms().unwrap_or(i64::MAX);
        let left = u64::try_from(next.saturating_sub(now_ms)).unwrap_or(0);
        Duration::from_millis(left).min(SLEEP_MAX)
    }

    /// Writes down what a turn decided, and keeps what has to wait for the disk.
    fn follow(
        &mut self,
        now_ms: i64,
        output: Output,
        releases: Vec<Release>,
    ) -> Result<(), Poisoned> {
        for (at_ms, timer) in output.timers {
            self.wheel.insert(at_ms, timer.into());
        }
        let partition = self.options.id;
        for number in &output.cancels {
            self.cancel(*number);
        }
        self.crew.shared.count(partition, &output.lateness_ms, &output.ended, output.overdue.len());
        for run in &output.untold {
            tracing::warn!(partition, run, "nobody was told of an overdue run");
        }
        self.recovered.ledger.append(&output.ledger)?;
        if !output.record.is_empty() {
            self.append(now_ms, &output.record)?;
            self.tell(output.is_shown);
        }
        let position = self.recovered.journal.last();
        let Output { calls, triggers, followings, .. } = output;
        let holds = !calls.is_empty() || !triggers.is_empty() || !followings.is_empty();
        if holds || !releases.is_empty() {
            self.held.push_back(Held { position, calls, releases, followings, triggers });
        }
        self.recovered.journal.flush();
        Ok(())
    }

    /// Gives the record to the journal, and waits where that has no room: nothing more may be decided
    /// before it is taken.
    fn append(&mut self, now_ms: i64, record: &[u8]) -> Result<(), Poisoned> {
        let time_us = now_ms.saturating_mul(1000);
        loop {
            let record = Record { stream: 0, kind: TURN, time_us, body: record };
            match self.recovered.journal.append(record) {
                Ok(_) => break,
                Err(JournalError::QueueFull { .. }) => {
                    self.recovered.journal.flush();
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(JournalError::DiskFull { .. } | JournalError::Away { .. }) => {
                    if !std::mem::replace(&mut self.is_full, true) {
                        tracing::error!(
                            partition = self.options.id,
                            "the journal takes no records"
                        );
                        self.crew.shared.is_full(self.options.id, true);
                    }
                    self.refuse_all();
                    std::thread::sleep(ROOM_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !self.recovered.journal.is_away() && std::mem::take(&mut self.is_full) {
            tracing::info!(partition = self.options.id, "the journal takes records again");
            self.crew.shared.is_full(self.options.id, false);
        }
        self.recovered.bytes_since += record.len() as u64;
        self.recovered.last_ms = self.recovered.last_ms.max(now_ms);
        Ok(())
    }

    /// Lets go what has become durable.
    fn release(&mut self) {
        let durable = self.recovered.journal.durable();
        while self.held.front().is_some_and(|held| held.position <= durable) {
            let Some(held) = self.held.pop_front() else { return };
            let state = &self.recovered.state;
            links::tell(
                self.options.id,
                &self.options.peers,
                state,
                held.followings,
                &held.triggers,
            );
            self.hand_over(&held.calls, false);
            held.releases.into_iter().for_each(|release| release());
        }
    }

    /// Figures for those who look from outside, and whether something changed that statuses show.
    fn tell(&self, is_shown: bool) {
        let state = &self.recovered.state;
        self.crew.shared.tell(
            self.options.id,
            crate::engine::Figures {
                jobs: state.len() as u64,
                declared: state.declared() as u64,
                running: state.running() as u64,
                parked: self.plans.parked() as u64,
                durable: self.recovered.journal.durable().0,
            },
            is_shown,
        );
    }
}

fn state_ids(state: &State) -> Vec<u64> {
    state.jobs().map(|job| job.id).collect()
}
