//! What the management thread asks of the event loop, and how the loop answers.
//!
//! Requests come through a bounded channel and are carried out between two turns, so they see and
//! leave a consistent machine. An answer that promises durability is given when it is durable.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orrery_operand::OperandError;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::v1::ObjectResult;
use tokio::sync::oneshot;

use super::group::roles::Renewal;
use super::group::{Bar, Role};
use super::waiting::WaitEnd;
use super::{Ending, Shard};
use crate::persistence::declared::{Declared, DeclaredSet};
use crate::persistence::kind;
use crate::persistence::snapshots::{Event, Target};
use crate::replication::link::Primary;
use crate::watch::Ask;

/// Requests that may wait for the loop.
pub(crate) const QUEUE: usize = 64;
const DRAIN_SECONDS: u32 = 30;

/// Who hears how far a snapshot is.
#[derive(Debug)]
pub(crate) enum Hearer {
    Nobody,
    /// To whom it is all of the work.
    Whole(ProgressSender),
    /// To whom it is the first half.
    Half(ProgressSender),
}

impl Hearer {
    fn step(&self, done: u64, total: u64) {
        match self {
            Self::Nobody => {}
            Self::Whole(on) => on.step("writing keys", done, total),
            Self::Half(on) => {
                let percent = (done * 100).checked_div(total).unwrap_or(100).min(100);
                on.step("writing keys", percent / 2, 100);
            }
        }
    }
}

type Answer<T> = oneshot::Sender<Result<T, OperandError>>;

/// One request.
#[derive(Debug)]
pub(crate) enum Request {
    Declare {
        set: DeclaredSet,
        answer: Answer<Declaration>,
    },
    Promote {
        epoch: u64,
        answer: Answer<Granted>,
    },
    Fence {
        epoch: u64,
        answer: Answer<Granted>,
    },
    Follow {
        epoch: u64,
        primary: Primary,
        answer: Answer<Granted>,
    },
    Renew {
        renewal: Renewal,
        answer: Answer<u64>,
    },
    Drain {
        seconds: u32,
        answer: Answer<Finished>,
    },
    Snapshot {
        target: Target,
        on: Hearer,
        answer: Answer<Finished>,
    },
    Restore {
        folder: PathBuf,
        on: ProgressSender,
        answer: Answer<Finished>,
    },
    /// Somebody wants to watch changes.
    Watch(Box<Ask>),
    /// The process was asked to end.
    Shutdown,
}

/// Highest epoch known and the position everything up to which is on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Granted {
    pub(crate) epoch: u64,
    pub(crate) durable: u64,
    /// Position that must be durable before the caller hears of it.
    pub(crate) wait_for: u64,
    /// It is not carried out yet: to be asked again.
    pub(crate) is_under_way: bool,
}

/// Results of a declared set, and the position that makes it durable.
#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) results: Vec<ObjectResult>,
    pub(crate) wait_for: u64,
}

impl Shard {
    pub(crate) fn answer_requests(&mut self) {
        while let Some(request) = self.next_request() {
            // Whoever asked may have gone away meanwhile: an answer nobody takes is dropped.
            match request {
                Request::Declare { set, answer } => _ = answer.send(self.declare(set)),
                Request::Promote { epoch, answer } => _ = answer.send(self.promote(epoch)),
                Request::Fence { epoch, answer } => _ = answer.send(self.fence(epoch)),
                Request::Follow { epoch, primary, answer } => {
                    _ = answer.send(self.follow(epoch, primary));
                }
                Request::Renew { renewal, answer } => _ = answer.send(self.renew(renewal)),
                Request::Drain { seconds, answer } => {
                    self.drain(if seconds == 0 { DRAIN_SECONDS } else { seconds }, false);
                    _ = answer.send(Ok(Finished {
                        position: self.log.appended(),
                        ..Finished::default()
                    }));
                }
                Request::Snapshot { target, on, answer } => self.snapshot_to(target, on, answer),
                Request::Restore { folder, on, answer } => {
                    _ = answer.send(self.restore_from(&folder, &on));
                }
                Request::Watch(ask) => {
                    let granted = self.watch(&ask);
                    _ = ask.answer.send(granted);
                }
                Request::Shutdown => self.drain(DRAIN_SECONDS, true),
            }
        }
        self.publish();
    }

    /// Stops taking work and finishes what was accepted; then the process waits, or ends.
    pub(crate) fn drain(&mut self, seconds: u32, ends: bool) {
        let until_ms = self.clock.mono_ms + u64::from(seconds) * 1000;
        match &mut self.ending {
            Ending::No => {
                tracing::info!(clients = self.clients.len(), "draining");
                self.stop_listening();
                let began_ms = self.clock.mono_ms;
                self.ending = Ending::Draining { began_ms, until_ms, ends };
                self.set_bar();
            }
            Ending::Draining { ends: ends_already, .. } => *ends_already |= ends,
            // Its followers are still to be told.
            Ending::Drained if ends => {
                let began_ms = self.clock.mono_ms;
                self.ending = Ending::Draining { began_ms, until_ms, ends };
            }
            Ending::Drained | Ending::Now | Ending::Again => {}
        }
    }

    fn declare(&mut self, set: DeclaredSet) -> Result<Declaration, OperandError> {
        let rules = set.rules(self.databases);
        // A follower gets it as a record of its primary: here it is only judged.
        let is_own = self.group.as_ref().is_none_or(|group| group.role != Role::Follower);
        let is_new = is_own && set.set_hash != self.declared.set_hash;
        let mut objects = vec![];
        if is_new {
            self.check_writable()?;
            let json = serde_json::to_vec(&set).map_err(|error| {
                OperandError::Invalid(format!("failed to keep the set: {error}"))
            })?;
            // The effects of this turn were made under the old rules: they go first.
            self.append_effects();
            self.log.append(kind::NAMESPACES, self.clock.wall_us, &json);
            self.machine.begin(self.clock.wall_ms(), self.log.next_position());
            self.machine
                .set_namespaces(self.default_class, rules.iter().flatten().cloned().collect());
            self.declared = set;
        } else {
            objects = set.objects;
        }
        let judged = if is_own { &self.declared.objects } else { &objects };
        let results = rules.iter().zip(judged).map(|(rules, object)| {
            let (accepted, reason, message) = match rules {
                Ok(_) => (true, String::new(), String::new()),
                Err(refused) => (false, refused.reason.to_owned(), refused.message.clone()),
            };
            let figures = self.namespace_figures(object);
            ObjectResult {
                namespace: object.namespace.clone(),
                name: object.name.clone(),
                generation: object.generation,
                accepted,
                reason,
                message,
                figures,
                state: Vec::new(),
            }
        });
        let results = results.collect();
        Ok(Declaration { results, wait_for: self.log.appended() })
    }

    fn namespace_figures(&self, object: &Declared) -> BTreeMap<String, i64> {
        let spaces = self.machine.namespaces();
        let Some(space) = spaces.iter().find(|space| space.rules.name == object.name) else {
            return BTreeMap::new();
        };
        let mut figures = BTreeMap::from([
            ("used_memory_bytes".to_owned(), space.used_bytes as i64),
            ("keys".to_owned(), space.keys as i64),
        ]);
        if let Some(limit) = space.rules.memory_bytes_max {
            let percent = space.used_bytes.saturating_mul(100) / limit.max(1);
            figures.insert("used_memory_percent".to_owned(), percent as i64);
        }
        figures
    }

    fn check_writable(&self) -> Result<(), OperandError> {
        if self.ending != Ending::No {
            return Err(OperandError::Unavailable("draining".into()));
        }
        match self.refuse_writes() {
            // The set is a record like any other, and that of the operator: it can wait for
            // followers, unlike clients. A source that is taken over has none.
            None => Ok(()),
            Some(_)
                if (self.bar == Bar::Replicas || self.adoption.is_some())
                    && self.log.is_writable() =>
            {
                Ok(())
            }
            Some(why) => Err(OperandError::Unavailable(why.to_owned())),
        }
    }

    fn promote(&mut self, epoch: u64) -> Result<Granted, OperandError> {
        if self.group.is_some() {
            return self.promote_in_group(epoch);
        }
        if epoch < self.log.fenced_below() || epoch <= self.log.epoch() {
            let holder = self.log.fenced_below().max(self.log.epoch());
            return Err(OperandError::Fenced { holder });
        }
        self.append_effects();
        self.log.promote(epoch).map_err(|error| OperandError::Unknown(error.to_string()))?;
        self.begin_archiving(epoch);
        Ok(self.granted())
    }

    fn fence(&mut self, epoch: u64) -> Result<Granted, OperandError> {
        if self.group.is_some() {
            return self.fence_in_group(epoch);
        }
        if epoch > self.log.fenced_below() && epoch > self.log.epoch() {
            self.append_effects();
            self.log.append(kind::FENCE, self.clock.wall_us, &epoch.to_le_bytes());
            self.machine.begin(self.clock.wall_ms(), self.log.next_position());
            self.log.fence(epoch);
            self.writability_changed();
            // What they wait for is written elsewhere from now on.
            self.end_all_waits(WaitEnd::RoleChanged);
        }
        Ok(self.granted())
    }

    pub(crate) fn granted(&self) -> Granted {
        let alone = || self.log.epoch().max(self.log.fenced_below());
        let epoch = self.group.as_ref().map_or_else(alone, |group| group.grants.held().known);
        let (durable, wait_for) = (self.log.durable(), self.log.appended());
        Granted { epoch, durable, wait_for, is_under_way: false }
    }

    fn snapshot_to(&mut self, target: Target, on: Hearer, answer: Answer<Finished>) {
        let started = self.begin_snapshot_to(target);
        if let Err(error) = started {
            _ = answer.send(Err(OperandError::Unavailable(error.to_string())));
            return;
        }
        let answer = std::sync::Mutex::new(Some(answer));
        self.snapshots.watch(Box::new(move |event| match event {
            Event::Progress { done, total } => on.step(done, total),
            Event::Done(result) => {
                let taken = answer.lock().ok().and_then(|mut answer| answer.take());
                let result = result.map_err(OperandError::Unavailable).map(|done| Finished {
                    position: done.position,
                    location: format!("file://{}", done.location),
                    units: done.keys,
                    epoch: 0,
                });
                if let Some(answer) = taken {
                    _ = answer.send(result);
                }
            }
        }));
    }
}
