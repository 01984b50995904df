//! The event loop of one shard: one thread, one poll, one machine, one journal.
//!
//! A turn: wait for sockets, run every ready connection's commands, append their effects to the
//! journal as one record, send what may be sent. Replies that depend on effects not yet on disk
//! wait in their connection until the journal has caught up. The decision for this loop is
//! `docs/decisions/0002-kv-event-loop.md`.
//!
//! Invariants: an effect is appended before any reply that depends on it can leave; replies of one
//! connection leave in the order of its commands; nothing here blocks except the poll.

mod accept;
pub(crate) mod archiving;
pub(crate) mod batch;
pub(crate) mod certificates;
pub(crate) mod clients;
pub(crate) mod clock;
pub(crate) mod commands;
pub(crate) mod confirmations;
pub(crate) mod connection;
pub(crate) mod cron;
pub(crate) mod dispatch;
pub(crate) mod fence;
pub(crate) mod group;
pub(crate) mod limits;
pub mod listener;
pub(crate) mod output;
pub(crate) mod redirect;
pub(crate) mod requests;
pub(crate) mod restore;
pub(crate) mod rights;
pub(crate) mod settings;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod turn;
pub mod users;
pub(crate) mod waiting;
mod watching;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use orrery_kit::fence::Fence;

use self::batch::Batch;
use self::clients::Clients;
use self::clock::Clock;
use self::group::{Bar, Group};
use self::limits::{CRON_MS, ClientLimits, HANDSHAKES_PER_TURN, READ_BYTES};
use self::listener::Listener;
use self::requests::Request;
use self::settings::Settings;
use self::stats::Stats;
use self::users::Users;
use self::users::denied::DeniedLog;
use self::users::file::UsersFile;
use self::waiting::Waiting;
use crate::adopt::Adoption;
use crate::cluster::Cluster;
use crate::machine::Machine;
use crate::metrics::Shared;
use crate::namespaces::Class;
use crate::persistence::declared::DeclaredSet;
use crate::persistence::log::{Log, Trouble};
use crate::persistence::snapshots::Snapshots;
use crate::replication::replicas::Replicas;
use crate::watch::Watchers;
use orrery_archiving::post::Posts;

const WAKER: Token = Token(0);
const FIRST_LISTENER: usize = 1;
/// Socket events taken from the kernel at once.
const EVENTS: usize = 1024;

/// `CLIENT PAUSE` in force.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    pub(crate) until_ms: u64,
    pub(crate) writes_only: bool,
}

/// How far the end of the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Serving.
    No,
    /// No new connections or commands; what was accepted becomes durable and is answered.
    /// `ends`: the process ends afterwards; else it only reports that it is drained.
    Draining { began_ms: u64, until_ms: u64, ends: bool },
    /// Drained, and waiting to be ended.
    Drained,
    /// The loop ends after this turn, and so does the process.
    Now,
    /// The loop ends after this turn, and another takes its place, with what is on disk then.
    Again,
}

/// What a shard is made from.
pub(crate) struct Parts {
    pub(crate) id: u32,
    pub(crate) databases: u16,
    pub(crate) default_class: Class,
    pub(crate) machine: Machine,
    pub(crate) log: Log,
    pub(crate) declared: DeclaredSet,
    pub(crate) snapshots: Snapshots,
    pub(crate) group: Option<Box<Group>>,
    pub(crate) cluster: Option<Box<Cluster>>,
    pub(crate) adoption: Option<Box<Adoption>>,
    pub(crate) settings: Settings,
    pub(crate) users: Users,
    pub(crate) users_file: Option<UsersFile>,
    pub(crate) fence: Option<Fence>,
    pub(crate) run_id: String,
    pub(crate) debug_enabled: bool,
    pub(crate) snapshot_bytes: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) posts: Arc<Posts>,
}

/// What a shard stands on, and leaves to the next one when it makes way for a copy of the data.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) poll: Poll,
    pub(crate) waker: Arc<Waker>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) requests: mpsc::Receiver<Request>,
}

/// What is left of a shard.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) seat: Seat,
    pub(crate) log: Log,
    pub(crate) group: Option<Box<Group>>,
    /// Another shard takes its place.
    pub(crate) goes_on: bool,
}

/// One shard and its thread.
pub(crate) struct Shard {
    pub(crate) id: u32,
    pub(crate) databases: u16,
    pub(crate) default_class: Class,
    pub(crate) machine: Machine,
    pub(crate) log: Log,
    pub(crate) declared: DeclaredSet,
    pub(crate) snapshots: Snapshots,
    pub(crate) clients: Clients,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) limits: ClientLimits,
    pub(crate) stats: Stats,
    pub(crate) users: Users,
    pub(crate) users_file: Option<UsersFile>,
    pub(crate) fence: Option<Fence>,
    pub(crate) denied: DeniedLog,
    pub(crate) run_id: String,
    pub(crate) debug_enabled: bool,
    pub(crate) active_expire: bool,
    pub(crate) pause: Option<Pause>,
    /// The group it belongs to, if it does.
    pub(crate) group: Option<Box<Group>>,
    /// Its part of the keys, if others have the rest.
    pub(crate) cluster: Option<Box<Cluster>>,
    /// A Redis that is being taken over.
    pub(crate) adoption: Option<Box<Adoption>>,
    /// Replicas that are no members of a group.
    pub(crate) replicas: Arc<Replicas>,
    /// Clients that watch changes.
    pub(crate) watchers: Watchers,
    /// What its role keeps clients from.
    pub(crate) bar: Bar,
    /// What stood in the way of writes when that was looked at last.
    pub(crate) trouble: Option<Trouble>,
    pub(crate) ending: Ending,
    /// Replies that depend on positions up to here may leave: everything there is on disk, and on
    /// that of as many followers as must have it.
    pub(crate) durable: u64,
    /// Connections whose output waits for the journal, in the order of positions.
    pub(crate) gated: VecDeque<(u64, usize, u64)>,
    /// Connections with something to run.
    pub(crate) ready: VecDeque<usize>,
    /// Connections whose output must not leave before the effects of this turn are appended.
    pub(crate) flush_list: Vec<usize>,
    /// Connections to close at the end of the turn.
    pub(crate) doomed: Vec<usize>,
    /// Connections held by a pause or a full journal.
    pub(crate) held: Vec<usize>,
    /// Connections that wait for a list.
    pub(crate) waiting: Waiting,
    /// TLS handshakes that may still go on in this turn.
    pub(crate) handshakes_left: usize,
    pub(crate) output_bytes_total: i64,
    pub(crate) snapshot_bytes: u64,
    pub(crate) read_buffer: Vec<u8>,
    pub(crate) batch: Batch,
    pub(crate) spare_buffers: Vec<Vec<u8>>,
    pub(crate) waker: Arc<Waker>,
    pub(crate) shared: Arc<Shared>,
    /// What it is to the archive.
    pub(crate) posts: Arc<Posts>,
    poll: Poll,
    listeners: Vec<Listener>,
    requests: mpsc::Receiver<Request>,
    cron_due_ms: u64,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A poll and the handle that wakes it from other threads.
pub(crate) fn poll_and_waker() -> io::Result<(Poll, Arc<Waker>)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    Ok((poll, waker))
}

impl Shard {
    pub(crate) fn new(seat: Seat, parts: Parts) -> io::Result<Self> {
        let Seat { poll, waker, mut listeners, requests } = seat;
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(FIRST_LISTENER + index))?;
        }
        let wake = Arc::clone(&waker);
        parts.log.journal().on_progress(Box::new(move || {
            // A poll that cannot be woken looks at the journal at its next cron.
            let _ = wake.wake();
        }));
        let (durable, trouble) = (parts.log.durable(), parts.log.trouble());
        let mut shard = Self {
            id: parts.id,
            databases: parts.databases,
            default_class: parts.default_class,
            machine: parts.machine,
            log: parts.log,
            declared: parts.declared,
            snapshots: parts.snapshots,
            clients: Clients::default(),
            clock: Clock::start(),
            limits: parts.settings.limits(),
            settings: parts.settings,
            stats: Stats::new(crate::command_table::COUNT + commands::extra::COUNT),
            users: parts.users,
            users_file: parts.users_file,
            fence: parts.fence,
            denied: DeniedLog::default(),
            run_id: parts.run_id,
            debug_enabled: parts.debug_enabled,
            active_expire: true,
            pause: None,
            group: parts.group,
            cluster: parts.cluster,
            adoption: parts.adoption,
            replicas: Arc::default(),
            watchers: Watchers::default(),
            bar: Bar::None,
            trouble,
            ending: Ending::No,
            durable,
            gated: VecDeque::new(),
            ready: VecDeque::new(),
            flush_list: vec![],
            doomed: vec![],
            held: vec![],
            waiting: Waiting::default(),
            handshakes_left: 0,
            output_bytes_total: 0,
            snapshot_bytes: parts.snapshot_bytes,
            read_buffer: vec![0; READ_BYTES],
            batch: Batch::default(),
            spare_buffers: vec![],
            waker,
            shared: parts.shared,
            posts: parts.posts,
            poll,
            listeners,
            requests,
            cron_due_ms: 0,
        };
        shard.apply_settings();
        shard.take_up_post();
        shard.resume_following();
        shard.set_bar();
        shard.publish();
        Ok(shard)
    }

    /// Serves until asked to end, or to make way for a copy; gives the journal back to be closed.
    pub(crate) fn serve_until_end(mut self) -> Left {
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_leaving() {
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "failed to wait for sockets");
                break;
            }
            self.clock.tick();
            self.turn(&events);
        }
        self.snapshots.abandon();
        self.replicas.close();
        self.watchers.close();
        self.let_listeners_go();
        let goes_on = self.ending == Ending::Again;
        let Self { poll, waker, listeners, requests, log, group, .. } = self;
        Left { seat: Seat { poll, waker, listeners, requests }, log, group, goes_on }
    }

    fn timeout(&self) -> Duration {
        let adopts = self.adoption.as_ref().is_some_and(|adoption| adoption.has_more());
        let step = self.snapshots.next_step();
        if !self.ready.is_empty()
            || step == Some(Duration::ZERO)
            || self.has_more_records()
            || adopts
        {
            return Duration::ZERO;
        }
        let mut due_ms = self.cron_due_ms;
        if let Some(pause) = self.pause {
            due_ms = due_ms.min(pause.until_ms);
        }
        if let Some(at_ms) = self.waiting.next_ms() {
            due_ms = due_ms.min(at_ms);
        }
        let wait =
            Duration::from_millis(due_ms.saturating_sub(self.clock.mono_ms).clamp(1, CRON_MS));
        step.map_or(wait, |step| wait.min(step))
    }

    fn turn(&mut self, events: &Events) {
        self.machine.begin(self.clock.wall_ms(), self.log.next_position());
        self.machine.hold_expiry(self.pause.is_some() || self.bar.is_set());
        let mut woken = false;
        for event in events {
            match event.token() {
                WAKER => woken = true,
                token => match Clients::slot(token) {
                    Some(slot) => self.on_socket(slot, event),
                    None => self.accept(token.0 - FIRST_LISTENER),
                },
            }
        }
        if self.group.is_some() {
            self.look_after_group();
        }
        self.look_after_adoption();
        self.on_progress();
        if woken {
            self.answer_requests();
        }
        self.serve_waiting();
        self.serve_confirmed();
        self.expire_waits();
        self.handshakes_left = HANDSHAKES_PER_TURN;
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { break };
            self.serve(slot);
        }
        if self.clock.mono_ms >= self.cron_due_ms {
            self.cron_due_ms = self.clock.mono_ms + CRON_MS;
            self.cron();
        }
        self.background();
        self.append_effects();
        self.log.flush();
        self.flush_outputs();
        self.close_doomed();
    }

    fn on_socket(&mut self, slot: usize, event: &mio::event::Event) {
        let Some(connection) = self.clients.get_mut(slot) else { return };
        connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        connection.read_closed |= event.is_read_closed() || event.is_error();
        let owes_bytes = connection.stream.owes_bytes();
        if event.is_writable() && (!connection.writable || owes_bytes) {
            connection.writable = true;
            if !connection.output.is_empty() || owes_bytes {
                self.flush_list.push(slot);
            }
        }
        let Some(connection) = self.clients.get_mut(slot) else { return };
        if connection.read_closed && connection.hold == connection::Hold::Wait {
            // Nobody is there to take what it waits for.
            connection.broken = true;
            self.doomed.push(slot);
        } else if connection.readable && !connection.is_ready {
            connection.is_ready = true;
            self.ready.push_back(slot);
        }
    }

    /// Appends what the commands of this turn changed, as one record.
    pub(crate) fn append_effects(&mut self) {
        let effects = self.machine.effects();
        if effects.is_empty() {
            return;
        }
        let effects = std::mem::take(effects);
        self.snapshots.count(effects.len());
        self.log.append(crate::persistence::kind::EFFECTS, self.clock.wall_us, &effects);
        let mut effects = effects;
        effects.clear();
        effects.shrink_to(limits::SPARE_BUFFER_BYTES);
        *self.machine.effects() = effects;
        self.machine.begin(self.clock.wall_ms(), self.log.next_position());
    }

    fn flush_outputs(&mut self) {
        let mut list = std::mem::take(&mut self.flush_list);
        for slot in list.drain(..) {
            let Some(mut connection) = self.clients.take(slot) else { continue };
            connection.flush_later = false;
            self.send(&mut connection);
            self.settle(slot, connection);
        }
        self.flush_list = list;
    }

    fn close_doomed(&mut self) {
        while let Some(slot) = self.doomed.pop() {
            let Some(connection) = self.clients.take(slot) else { continue };
            self.settle(slot, connection);
        }
    }

    /// Remembers that the output of a connection can go on when `position` is durable.
    pub(crate) fn wait_for(&mut self, position: u64, slot: usize, id: u64) {
        let at = self.gated.partition_point(|(other, _, _)| *other <= position);
        if at == 0 || self.gated[at - 1] != (position, slot, id) {
            self.gated.insert(at, (position, slot, id));
        }
    }

    /// Looks at the journal: releases replies that are durable now, and notices its failure.
    fn on_progress(&mut self) {
        let durable = self.releasable();
        let moved = durable > self.durable;
        if moved {
            self.durable = durable;
            self.machine.durable(durable);
        }
        let failsafe = self.failsafe();
        self.posts.set_safe(failsafe);
        self.watchers.set_safe(failsafe);
        self.log.refresh();
        // An append may have met the trouble first, and one trouble may follow another.
        if self.trouble != self.log.trouble() {
            self.writability_changed();
        }
        let is_behind = self.log.is_stalled() || self.is_snapshot_behind();
        if !is_behind && self.pause.is_none() && !self.held.is_empty() {
            self.release_held();
        }
        while let Some((position, slot, id)) = self.gated.front().copied() {
            if position > self.durable {
                break;
            }
            self.gated.pop_front();
            let Some(mut connection) = self.clients.take(slot) else { continue };
            if connection.id == id && !connection.broken {
                self.send(&mut connection);
                self.settle(slot, connection);
            } else {
                self.clients.put_back(slot, connection);
            }
        }
    }

    /// Lets connections go on that were held by a pause or a full journal.
    pub(crate) fn release_held(&mut self) {
        for slot in std::mem::take(&mut self.held) {
            let Some(connection) = self.clients.get_mut(slot) else { continue };
            if matches!(connection.hold, connection::Hold::Pause | connection::Hold::Journal) {
                connection.hold = connection::Hold::None;
                if !connection.is_ready {
                    connection.is_ready = true;
                    self.ready.push_back(slot);
                }
            }
        }
    }

    pub(crate) fn next_request(&self) -> Option<Request> {
        self.requests.try_recv().ok()
    }
}
