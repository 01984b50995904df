//! An engine without sockets: what the event loop does with machine, log and snapshots in a turn.

use std::collections::BTreeMap;

use orrery_journal::Opened;
use orrery_resp::{Proto, Reply};
use serde_json::json;

use super::Run;
use super::books::Books;
use super::workload::{self, Command};
use crate::command_table;
use crate::machine::{Machine, MachineOptions, Session};
use crate::namespaces::Class;
use crate::persistence::declared::{Declared, DeclaredSet};
use crate::persistence::log::Log;
use crate::persistence::recovery::{self, Recovered};
use crate::persistence::snapshots::{Header, Snapshots, Target};
use crate::persistence::{PersistenceError, kind};

const DATABASES: u16 = 2;
/// Timers that may fire in a turn.
const EXPIRE_KEYS: usize = 200;

/// An answer that waits for its gate.
struct Owed {
    gate: u64,
    /// What must survive once the answer was seen: the change made, or the change read.
    promises: u64,
}

pub(super) struct Engine {
    pub(super) machine: Machine,
    pub(super) log: Log,
    pub(super) snapshots: Snapshots,
    pub(super) books: Books,
    declared: DeclaredSet,
    fenced_below: u64,
    /// Position of the last change of each key.
    changed: BTreeMap<String, u64>,
    /// Position of the last change of all keys.
    flushed: u64,
    owed: Vec<Owed>,
}

/// Session keys live for five seconds; cache keys are what they are.
fn namespaces() -> DeclaredSet {
    let object = |name: &str, spec| Declared {
        namespace: "default".into(),
        name: name.into(),
        generation: 1,
        spec,
    };
    let session = json!({
        "match": {"prefix": "s:"}, "class": "Session", "ttl": {"defaultSeconds": 5},
    });
    let cache = json!({"match": {"prefix": "c:"}, "class": "Cache"});
    DeclaredSet {
        of_shards: 0,
        set_hash: "1".into(),
        objects: vec![object("session", session), object("cache", cache)],
    }
}

impl Engine {
    pub(super) fn recover(opened: Opened, now_ms: i64) -> Result<Self, PersistenceError> {
        let mut machine =
            Machine::new(&MachineOptions { databases: DATABASES, ..MachineOptions::default() });
        let recovered = recovery::recover(opened, &mut machine, DATABASES, Class::Store)?;
        let Recovered { journal, declared, fenced_below, history, snapshot_position, .. } =
            recovered;
        let log = Log::new(journal, fenced_below, history);
        machine.begin(now_ms, log.next_position());
        Ok(Self {
            machine,
            log,
            snapshots: Snapshots::resume(snapshot_position, 0, 0),
            books: Books::default(),
            declared,
            fenced_below,
            changed: BTreeMap::new(),
            flushed: 0,
            owed: vec![],
        })
    }

    /// The namespaces are the first record: with any record there are namespaces.
    pub(super) fn check_declared(&self, last: u64) {
        let expected = if last > 0 { namespaces() } else { DeclaredSet::default() };
        assert_eq!(self.declared, expected, "the namespaces in force at {last}");
    }

    fn execute(&mut self, args: &[String]) -> (Vec<u8>, u64) {
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        let spec = command_table::by_name(args[0]).expect("the command is known");
        let mut reply = Reply::new(Proto::Resp2);
        let gate = self.machine.execute(&mut Session::default(), spec, &args, &mut reply).gate;
        (reply.take(), gate)
    }

    /// Takes the deadline that the machine gave a key into the books.
    fn note_deadline(&mut self, key: &str) {
        let (reply, _) = self.execute(&["pexpiretime".to_owned(), key.to_owned()]);
        let text = std::str::from_utf8(&reply).expect("digits").trim();
        let at: i64 = text.strip_prefix(':').expect("an integer").parse().expect("a number");
        match self.books.0.get_mut(key) {
            Some(book) => {
                assert_ne!(at, -2, "{key} is gone");
                book.deadline_ms = (at >= 0).then_some(at);
            }
            None => assert_eq!(at, -2, "{key} should be gone"),
        }
    }

    /// The last change that a look at this key shows.
    fn last_change(&self, key: &str) -> u64 {
        self.changed.get(key).copied().unwrap_or(0).max(self.flushed)
    }

    /// Runs a command and checks its reply; what it promises is owed until its gate is open.
    fn run(&mut self, command: &Command) {
        let before = self.books.clone();
        let expected = self.books.run(&command.args);
        let (reply, gate) = self.execute(&command.args);
        assert_eq!(
            String::from_utf8_lossy(&reply),
            String::from_utf8_lossy(&expected),
            "{:?}",
            command.args
        );
        if let Some(key) = command.key() {
            self.note_deadline(key);
        }
        let position = self.log.next_position();
        let promises = match command.key() {
            _ if !command.is_durable() => 0,
            None => {
                self.flushed = position;
                if before.durable() == Books::default() { 0 } else { position }
            }
            Some(key) => {
                if self.books.0.get(key) != before.0.get(key) && command.is_write {
                    self.changed.insert(key.to_owned(), position);
                }
                self.last_change(key)
            }
        };
        self.owed.push(Owed { gate, promises });
    }
}

impl Run {
    /// A turn of the event loop.
    pub(super) fn turn(&mut self, engine: &mut Engine) {
        engine.log.refresh();
        let durable = engine.log.durable();
        engine.machine.durable(durable);
        self.ledger.reported(durable);
        self.release(engine, durable);

        engine.machine.begin(self.now_ms, engine.log.next_position());
        if engine.declared == DeclaredSet::default() {
            self.declare(engine);
        }
        for _ in 0..self.random.below(6) {
            self.serial += 1;
            let command = workload::command(&mut self.random, self.serial);
            if engine.log.is_stalled() {
                self.figures.stalled += 1;
            } else if command.is_write && !engine.log.is_writable() {
                self.figures.refused += 1;
            } else {
                engine.books.expire(self.now_ms);
                self.figures.overtaken += u64::from(engine.machine.snapshot_backlog_bytes() > 0);
                engine.run(&command);
            }
        }
        if engine.log.is_writable() && !engine.log.is_stalled() {
            engine.machine.expire(EXPIRE_KEYS);
        }
        self.snapshot(engine);
        self.append_effects(engine);
        engine.log.flush();
        for _ in 0..self.random.below(3) {
            engine.log.step_journal();
        }
        self.release(engine, durable);
    }

    /// Answers leave once their gate is open, in no order: each has its own connection.
    fn release(&mut self, engine: &mut Engine, durable: u64) {
        let ledger = &mut self.ledger;
        engine.owed.retain(|owed| {
            if owed.gate <= durable {
                ledger.promise(owed.promises);
            }
            owed.gate > durable
        });
    }

    fn declare(&mut self, engine: &mut Engine) {
        let set = namespaces();
        let json = serde_json::to_vec(&set).expect("it is text");
        let position = engine.log.append(kind::NAMESPACES, self.now_ms * 1000, &json);
        self.ledger.appended(position, self.now_ms, &engine.books);
        engine.machine.begin(self.now_ms, engine.log.next_position());
        engine.machine.set_namespaces(Class::Store, set.accepted(DATABASES));
        engine.declared = set;
    }

    fn append_effects(&mut self, engine: &mut Engine) {
        let effects = std::mem::take(engine.machine.effects());
        if effects.is_empty() {
            return;
        }
        engine.snapshots.count(effects.len());
        let position = engine.log.append(kind::EFFECTS, self.now_ms * 1000, &effects);
        engine.books.expire(self.now_ms);
        self.ledger.appended(position, self.now_ms, &engine.books);
        engine.machine.begin(self.now_ms, engine.log.next_position());
    }

    pub(super) fn begin_snapshot(&mut self, engine: &mut Engine) -> Result<u64, PersistenceError> {
        self.append_effects(engine);
        engine.log.flush();
        let json = serde_json::to_vec(&engine.declared).expect("it is text");
        let history = engine.log.history().to_text();
        let header = Header {
            wall_ms: self.now_ms,
            declared_json: &json,
            fenced_below: engine.fenced_below,
            history: &history,
        };
        let Engine { machine, log, snapshots, .. } = engine;
        snapshots.begin(machine, log, Target::Journal, header, 0, || {})
    }

    /// Begins a snapshot or goes on with the one that runs, a few keys at a time.
    fn snapshot(&mut self, engine: &mut Engine) {
        if !engine.snapshots.is_running() && self.random.chance(1, 8) {
            let begun = self.begin_snapshot(engine);
            self.figures.snapshots_failed += u64::from(begun.is_err());
        }
        if engine.snapshots.is_running() && self.random.chance(2, 3) {
            // All at once, it may be published before what this turn changed is even written.
            let few = 1 + self.random.below(6) as usize;
            let budget_keys = if self.random.chance(1, 4) { usize::MAX } else { few };
            engine.snapshots.step_in_order(budget_keys, &mut engine.machine, self.now_ms);
        }
        match engine.snapshots.take_result() {
            Some(Ok(())) => {
                self.figures.snapshots += 1;
                self.ledger.proven(engine.snapshots.position);
            }
            Some(Err(_)) => self.figures.snapshots_failed += 1,
            None => {}
        }
    }
}
