//! The one task that knows all calls: it takes them in, sends them as lanes allow, and settles them.
//!
//! Nothing here waits for a target. A call in flight is a task of its own that comes back with a
//! report; everything else is values in maps that nobody else touches.
//!
//! Invariants: a run is in `runs` exactly from its arrival to its outcome; it is in the queue of its
//! lane, and among the deadlines if it has one, exactly while it is queued.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use std::vec;

use foldhash::HashMap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep_until};

use super::Action;
use super::deadlines::{Clock, deadline, expired};
use super::dispatcher::Settled;
use super::flight::{self, Reported, Reporter};
use super::lane::Next;
use super::lanes::{LaneId, Lanes};
use super::queue::{Place, cost};
use crate::ownership::Lease;
use crate::run::{Call, Outcome, RunId};

/// Calls taken in, and reports looked at, before sockets have their turn.
const TURN: usize = 1_024;
/// How often deadlines are compared with the wall clock, which may be set.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

/// How often it is looked whether calls may leave again.
const LEASE_LOOK: Duration = Duration::from_millis(20);
/// Longest time to stop, so that no moment lies beyond what the clock counts.
const PATIENCE_MAX: Duration = Duration::from_hours(24);

/// What the owner of the dispatcher wants.
pub(super) enum Command {
    Calls(vec::IntoIter<Call>),
    Cancel(RunId),
    /// Sends nothing more, and ends when all is answered or the time is over.
    Stop(Duration),
}

/// What owner and loop share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Calls handed over and not settled.
    pub(super) held: AtomicUsize,
    /// Calls that were settled by the sink.
    pub(super) sunk: AtomicU64,
}

pub(super) type OnOutcomes = Box<dyn Fn(Vec<Settled>) + Send>;

pub(super) struct EventLoop {
    commands: UnboundedReceiver<Command>,
    reports: UnboundedReceiver<Reported>,
    reporter: UnboundedSender<Reported>,
    shared: Arc<Shared>,
    on_outcomes: OnOutcomes,
    lanes: Lanes,
    runs: HashMap<RunId, Entry>,
    /// Queued calls that are not to be sent after a moment.
    deadlines: BTreeSet<(i64, RunId)>,
    /// When lanes that wait may go on.
    wakes: BinaryHeap<Reverse<(Instant, LaneId)>>,
    /// Lanes that may have something to do.
    listed: Vec<LaneId>,
    /// Lanes that wait for one of all calls in flight to end, the longest waiting first.
    stalled: VecDeque<LaneId>,
    /// Commands that came and were not carried out yet, in order.
    backlog: VecDeque<Command>,
    reported: Vec<Reported>,
    settled: Vec<Settled>,
    sequence: u64,
    in_flight: usize,
    in_flight_max: usize,
    /// While it does not hold, nothing leaves.
    lease: Arc<Lease>,
    /// When that is looked at again.
    held_until: Option<Instant>,
    /// When a loop that is told to stop ends at the latest.
    end: Option<Instant>,
}

struct Entry {
    attempt: u32,
    sequence: u64,
    lane: LaneId,
    stage: Stage,
}

enum Stage {
    Queued(Box<(Call, Place)>),
    InFlight { task: AbortHandle, since: Instant },
}

impl EventLoop {
    pub(super) fn new(
        commands: UnboundedReceiver<Command>,
        lanes: Lanes,
        in_flight_max: usize,
        lease: Arc<Lease>,
        shared: Arc<Shared>,
        on_outcomes: OnOutcomes,
    ) -> Self {
        let (reporter, reports) = unbounded_channel();
        Self {
            commands,
            reports,
            reporter,
            shared,
            on_outcomes,
            lanes,
            runs: HashMap::default(),
            deadlines: BTreeSet::new(),
            wakes: BinaryHeap::new(),
            listed: Vec::new(),
            stalled: VecDeque::new(),
            backlog: VecDeque::new(),
            reported: Vec::new(),
            settled: Vec::new(),
            sequence: 0,
            in_flight: 0,
            in_flight_max,
            lease,
            held_until: None,
            end: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.gather().await;
            let clock = Clock::look();
            self.turn(clock);
            if self.end.is_some_and(|end| self.in_flight == 0 || clock.now >= end) {
                return;
            }
            if !self.backlog.is_empty() {
                yield_now().await;
            }
        }
    }

    /// Waits until there is something to do.
    async fn gather(&mut self) {
        if self.backlog.is_empty() {
            let wake = self.next_wake();
            let mut commands = Vec::new();
            let woken = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = self.reports.recv_many(&mut self.reported, TURN) => {}
                count = self.commands.recv_many(&mut commands, TURN), if self.end.is_none() => {
                    if count == 0 {
                        commands.push(Command::Stop(Duration::ZERO));
                    }
                }
                () = woken => {}
            }
            self.backlog.extend(commands);
        }
        while self.reported.len() < TURN
            && let Ok(reported) = self.reports.try_recv()
        {
            self.reported.push(reported);
        }
        while self.backlog.len() < TURN
            && let Ok(command) = self.commands.try_recv()
        {
            self.backlog.push_back(command);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let lane = self.wakes.peek().map(|Reverse((at, _))| *at);
        let deadline = self.deadlines.first().map(|(expires_ms, _)| {
            let clock = Clock::look();
            let left = expires_ms.saturating_sub(clock.now_ms).saturating_add(1).max(0) as u64;
            clock.now + Duration::from_millis(left).min(CLOCK_LOOK)
        });
        [lane, deadline, self.end, self.held_until].into_iter().flatten().min()
    }

    fn turn(&mut self, clock: Clock) {
        for reported in std::mem::take(&mut self.reported) {
            self.report(reported, clock);
        }
        self.carry_out(clock);
        self.expire(clock);
        while let Some(Reverse((at, lane))) = self.wakes.peek().copied()
            && at <= clock.now
        {
            self.wakes.pop();
            self.woken(lane, at);
        }
        self.pump_all(clock);
        if !self.settled.is_empty() {
            let settled = std::mem::take(&mut self.settled);
            self.shared.held.fetch_sub(settled.len(), Ordering::AcqRel);
            (self.on_outcomes)(settled);
        }
    }

    /// Sends what lanes allow, unless another process may own what is here.
    fn pump_all(&mut self, clock: Clock) {
        self.held_until = None;
        if !self.lease.holds() {
            let waits = !self.listed.is_empty() || !self.stalled.is_empty();
            self.held_until = waits.then(|| clock.now + LEASE_LOOK);
            return;
        }
        // Who waited for room goes before who just made some. A lane whose calls were cancelled
        // meanwhile takes none.
        while self.in_flight < self.in_flight_max
            && let Some(lane) = self.stalled.pop_front()
        {
            if let Some(lane) = self.lanes.get(lane) {
                lane.is_stalled = false;
            }
            self.pump(lane, clock);
        }
        for lane in std::mem::take(&mut self.listed) {
            self.pump(lane, clock);
        }
    }

    /// Carries commands out in their order, as many calls as one turn has.
    fn carry_out(&mut self, clock: Clock) {
        let mut room = TURN;
        while let Some(command) = self.backlog.front_mut() {
            match command {
                Command::Calls(calls) => {
                    if room == 0 {
                        return;
                    }
                    if let Some(call) = calls.next() {
                        room -= 1;
                        self.arrive(call, clock);
                        continue;
                    }
                }
                Command::Cancel(run) => {
                    let run = *run;
                    self.cancel(run);
                }
                Command::Stop(patience) => {
                    let end = clock.now + (*patience).min(PATIENCE_MAX);
                    self.end = Some(self.end.map_or(end, |before| before.min(end)));
                }
            }
            self.backlog.pop_front();
        }
    }

    fn arrive(&mut self, call: Call, clock: Clock) {
        if self.end.is_some() {
            return;
        }
        let (run, attempt) = (call.run, call.attempt);
        let is_late = deadline(&call).is_some_and(|expires_ms| expires_ms < clock.now_ms);
        let Some(executor) = call.action.executor() else {
            return self.settle_here(&call, is_late);
        };
        let to = executor.destination();
        let bytes = to.bytes;
        let lane = self.lanes.find(to.target);
        if self.runs.contains_key(&run) {
            debug_assert!(false, "a run is handed over again only once it is settled");
            tracing::error!(?run, attempt, "a run was handed over twice; the first one counts");
            self.shared.held.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let lane = match lane {
            Ok(lane) => lane,
            Err(outcome) => return self.settle(run, attempt, outcome),
        };
        if is_late {
            self.lanes.note_idle(lane);
            return self.settle_in(lane, run, attempt, expired(&call));
        }
        self.sequence += 1;
        let place = Place {
            priority: call.priority,
            tenant: Arc::clone(&call.tenant),
            planned_ms: call.planned_ms,
            sequence: self.sequence,
        };
        if let Some(expires_ms) = deadline(&call) {
            self.deadlines.insert((expires_ms, run));
        }
        if let Some(state) = self.lanes.get(lane) {
            state.push(&place, run, cost(bytes));
        }
        let stage = Stage::Queued(Box::new((call, place)));
        self.runs.insert(run, Entry { attempt, sequence: self.sequence, lane, stage });
        self.list(lane);
    }

    /// Settles what goes nowhere.
    fn settle_here(&mut self, call: &Call, is_late: bool) {
        let outcome = match &*call.action {
            Action::Sink if is_late => expired(call),
            Action::Sink => {
                self.shared.sunk.fetch_add(1, Ordering::Relaxed);
                Outcome::Succeeded { note: String::new() }
            }
            Action::Http(_) | Action::Grpc(_) | Action::Pooled(_) | Action::Errand(_) => {
                debug_assert!(false, "errands are not handed to this loop");
                Outcome::Refused { note: "an errand has no target".to_owned() }
            }
        };
        self.settle(call.run, call.attempt, outcome);
    }

    fn cancel(&mut self, run: RunId) {
        let Some(entry) = self.runs.remove(&run) else {
            return;
        };
        match entry.stage {
            Stage::Queued(queued) => self.unqueue(entry.lane, run, &queued),
            Stage::InFlight { task, .. } => {
                task.abort();
                self.land(entry.lane);
            }
        }
        self.settle_in(entry.lane, run, entry.attempt, Outcome::Cancelled);
    }

    fn expire(&mut self, clock: Clock) {
        while let Some((expires_ms, run)) = self.deadlines.first().copied()
            && expires_ms < clock.now_ms
        {
            self.deadlines.pop_first();
            let Some(entry) = self.runs.remove(&run) else {
                debug_assert!(false, "deadlines are those of queued runs");
                continue;
            };
            let Stage::Queued(queued) = entry.stage else {
                debug_assert!(false, "deadlines are those of queued runs");
                continue;
            };
            self.unqueue(entry.lane, run, &queued);
            self.settle_in(entry.lane, run, entry.attempt, expired(&queued.0));
        }
    }

    /// Takes a call that was not sent out of its lane.
    fn unqueue(&mut self, lane: LaneId, run: RunId, queued: &(Call, Place)) {
        if let Some(expires_ms) = deadline(&queued.0) {
            self.deadlines.remove(&(expires_ms, run));
        }
        if let Some(state) = self.lanes.get(lane) {
            state.remove(&queued.1);
        }
        self.list(lane);
    }

    /// A call is not in flight any more.
    fn land(&mut self, lane: LaneId) {
        self.in_flight -= 1;
        if let Some(state) = self.lanes.get(lane) {
            state.ended();
        }
        self.list(lane);
    }

    fn report(&mut self, reported: Reported, clock: Clock) {
        let Reported { run, sequence, report } = reported;
        // Another attempt may have come under the name of one that was cancelled.
        if self.runs.get(&run).is_none_or(|entry| entry.sequence != sequence) {
            return;
        }
        let Some(entry) = self.runs.remove(&run) else {
            return;
        };
        let Stage::InFlight { since, .. } = entry.stage else {
            debug_assert!(false, "only what is in flight is reported");
            return;
        };
        self.land(entry.lane);
        if let Some(state) = self.lanes.get(entry.lane) {
            state.gauges.took(clock.now.saturating_duration_since(since));
            if let Some(pause) = report.pause {
                state.pause(pause, clock.now);
            }
        }
        self.settle_in(entry.lane, run, entry.attempt, report.outcome);
    }

    /// Has a lane looked at in this turn, after a call came or went.
    fn list(&mut self, id: LaneId) {
        self.lanes.note_idle(id);
        if let Some(lane) = self.lanes.get(id)
            && !lane.is_listed
        {
            lane.is_listed = true;
            self.listed.push(id);
        }
    }

    fn woken(&mut self, id: LaneId, at: Instant) {
        if let Some(lane) = self.lanes.get(id)
            && lane.wake == Some(at)
        {
            lane.wake = None;
            self.list(id);
        }
    }

    /// Sends what a lane allows.
    fn pump(&mut self, id: LaneId, clock: Clock) {
        if let Some(lane) = self.lanes.get(id) {
            lane.is_listed = false;
        }
        while self.end.is_none()
            && let Some(lane) = self.lanes.get(id)
        {
            if self.in_flight >= self.in_flight_max {
                if lane.has_queued() && !lane.is_stalled {
                    lane.is_stalled = true;
                    self.stalled.push_back(id);
                }
                break;
            }
            match lane.next(clock.now, clock.now_ms as u64) {
                Next::Send(run) => self.send(id, run, clock),
                Next::Wait(at) => {
                    if lane.wake.is_none_or(|wake| wake > at) {
                        lane.wake = Some(at);
                        self.wakes.push(Reverse((at, id)));
                    }
                    break;
                }
                Next::Rest => break,
            }
        }
    }

    /// Sends a call that its lane gave.
    fn send(&mut self, id: LaneId, run: RunId, clock: Clock) {
        self.in_flight += 1;
        let Some(Entry { attempt, sequence, stage: Stage::Queued(queued), .. }) =
            self.runs.remove(&run)
        else {
            debug_assert!(false, "what a lane gives is queued");
            return self.land(id);
        };
        let (call, _) = *queued;
        if let Some(expires_ms) = deadline(&call) {
            self.deadlines.remove(&(expires_ms, run));
        }
        let Some(lane) = self.lanes.get(id) else {
            debug_assert!(false, "a lane that gives a call is here");
            return self.land(id);
        };
        let credentials = match lane.keeper.credentials(clock.now) {
            Ok(credentials) => credentials,
            Err(note) => {
                self.land(id);
                return self.settle_in(id, run, attempt, Outcome::Failed { note });
            }
        };
        let reach = Arc::clone(&lane.reach);
        let reporter = Reporter::new(self.reporter.clone(), run, sequence);
        let task = flight::start(call, reach, credentials, reporter, clock.now);
        let stage = Stage::InFlight { task, since: clock.now };
        self.runs.insert(run, Entry { attempt, sequence, lane: id, stage });
    }

    fn settle(&mut self, run: RunId, attempt: u32, outcome: Outcome) {
        self.settled.push(Settled { run, attempt, outcome });
    }

    fn settle_in(&mut self, lane: LaneId, run: RunId, attempt: u32, outcome: Outcome) {
        if let Some(lane) = self.lanes.get(lane) {
            lane.gauges.count(&outcome);
        }
        self.settle(run, attempt, outcome);
    }
}
